"""`train`: from a folder of photos to a run folder with a trained, evaluated model."""

from __future__ import annotations

import dataclasses
import logging
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pocketlens import __version__
from pocketlens.card import DEFAULT_THRESHOLDS, ModelCard
from pocketlens.choices import BINARY, MULTICLASS
from pocketlens.errors import UsageError
from pocketlens.evaluation.answers import to_answers
from pocketlens.evaluation.calibration import divide_logits, fit_temperature, reliability, tempered
from pocketlens.evaluation.metrics import Evaluation, evaluate
from pocketlens.evaluation.models import ModelEvaluation
from pocketlens.evaluation.seen import sketch
from pocketlens.evaluation.sets import fit_sets, measure_sets, sets_doubt
from pocketlens.evaluation.unknown import (
    Refusals,
    Strangers,
    count_novel,
    known_part,
    lacks_strangers,
    synthetic_strangers,
)
from pocketlens.files import one_call, replacing
from pocketlens.quiet import quiet
from pocketlens.report.html import counted
from pocketlens.runtime.photos import Photo
from pocketlens.runtime.runs import (
    MODEL_NAME,
    REPORT_NAME,
    write_card,
    write_split,
)
from pocketlens.runtime.shift import fit_shift
from pocketlens.train.batches import EpochPictures
from pocketlens.train.callbacks import History, Outcome
from pocketlens.train.checkpoints import Checkpoint, Checkpoints, read_checkpoint
from pocketlens.train.data_check import check_data
from pocketlens.train.data_report import log_check, write_data_report
from pocketlens.train.devices import FLOAT32, all_gpus, precision
from pocketlens.train.found_photos import refuse_inside
from pocketlens.train.lineage import SeenPhotos, earlier_runs, read_earlier, read_seen
from pocketlens.train.networks import HEAD_NAME, build
from pocketlens.train.phases import Trainer, predict_scores
from pocketlens.train.pixel_cache import SplitPixels, load_pixels
from pocketlens.train.report import Augmented, Measured, augmented_photos, write_report
from pocketlens.train.settings import FINE_TUNE, GRID, HEAD, SCRATCH, Settings
from pocketlens.train.splits import DividedPhotos
from pocketlens.train.start import Start, choose_start
from pocketlens.train.unfinished import refuse_run, unfinished_run
from pocketlens.train.unknown import add_novelty, add_unknown, counter_class

_NAMED_AT_MOST = 3


def describe_plan(settings: Settings, divided: DividedPhotos) -> dict[str, Any]:
    """Return what decides how a training goes, as JSON values: settings, photos, versions."""
    chosen = asdict(settings)
    # They count by the splits that they lead to, which are below.
    del chosen["splits_of"]
    return {
        "settings": chosen,
        "versions": {"pocketlens": __version__, "keras": version("keras")},
        "data_hash": divided.data_hash,
        "photos": {
            os.path.relpath(photo.path, divided.root): [split, divided.digests[photo.path]]
            for split, photos in divided.splits.items()
            for photo in photos
        },
    }


def refuse_other_plan(found: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """Raise UsageError, naming what differs, if an unfinished run is about something else."""
    different = [
        f"{name.replace('_', ' ')} {new} (so far {found[group].get(name)})"
        for group in ("settings", "versions")
        for name, new in plan[group].items()
        if found[group].get(name) != new
    ]
    # Another seed divides the same photos in another way.
    if not different and found["data_hash"] != plan["data_hash"]:
        different += _photos(found["photos"], plan["photos"]) or ["other labels of the photos"]
    if different:
        raise UsageError(
            "Expected the settings and photos of the unfinished run, as --resume asks. Received: "
            f"{', '.join(different)}. Use the same again, or start over with --overwrite."
        )


def _photos(found: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    common = found.keys() & new.keys()
    cases = {
        "new": new.keys() - found.keys(),
        "missing": found.keys() - new.keys(),
        "changed": {name for name in common if found[name] != new[name]},
    }
    return [
        f"{len(names)} {what} photo{'s' * (len(names) > 1)} ({_few(sorted(names))})"
        for what, names in cases.items()
        if names
    ]


def _few(names: list[str]) -> str:
    return ", ".join(names[:_NAMED_AT_MOST]) + (", …" if len(names) > _NAMED_AT_MOST else "")


@dataclass(frozen=True)
class Calibration:
    """A temperature, and the network's scores for the validation split without it."""

    temperature: float
    scores: NDArray[np.float32]


def calibrate(network: keras.Model, validation: SplitPixels, settings: Settings) -> Calibration:
    """Fit a temperature on the validation split and put it into the network's head."""
    scores = predict_scores(network, validation, settings.batch_size)
    temperature = fit_temperature(scores, validation.labels, settings.task)
    divide_logits(network.get_layer(HEAD_NAME), temperature)
    return Calibration(temperature, scores)


def measure(
    network: keras.Model,
    splits: Mapping[str, SplitPixels],
    card: ModelCard,
    calibration: Calibration,
    batch_size: int,
) -> Measured:
    """Evaluate a calibrated network on the validation split, and the test split where there is one.

    The metrics say for each its `accuracy`, `macro_f1`, `ece`, `ece_uncalibrated` (without the
    temperature) and `count`; with a label for unknown photos those of the known ones, and with it
    or a novelty `known_kept` and what is accepted of strangers: synthetic images where the split
    has no counter-examples. The label sets and the shift reference are fitted on the validation
    split.
    """
    temperature, task = calibration.temperature, card.task
    metrics: dict[str, Any] = {"temperature": round(temperature, 4)}
    shown: dict[str, ModelEvaluation] = {}
    sets: dict[str, float] = {}
    shift: dict[str, Any] = {}
    synthetic: Strangers | None = None
    for name, split in splits.items():
        if name == "train":
            continue
        novelty = None
        if name == "val" and not card.unknown and card.novelty is None:
            after = tempered(calibration.scores, temperature, task)
        else:
            after, novelty = _outputs(network, split, card, batch_size)
        strangers = None
        if lacks_strangers(split.labels, card):
            strangers = synthetic = synthetic or _synthetic(network, card, batch_size)
        paths = [photo.path for photo in split.photos]
        known = known_part(after, split.labels, card, paths, strangers)
        refusals = known.refusals if novelty is None else count_novel(novelty, paths, strangers)
        before = tempered(known.scores, 1 / temperature, task)
        if name == "val" and not card.unknown:
            before = calibration.scores
        answers = to_answers(known.scores, known.truth, known.labels, task)
        uncalibrated = reliability(to_answers(before, known.truth, known.labels, task))
        result = evaluate(answers)
        photos = tuple(split.photos[row] for row in known.rows)
        # Label sets are of all that the model may say.
        right = split.labels[known.rows]
        whole = to_answers(after[known.rows], right, card.labels, task)
        shown[name] = ModelEvaluation(
            answers,
            result,
            photos,
            temperature,
            uncalibrated,
            refusals=refusals,
            # On the photos that they are fitted on, label sets would keep their promise anyway.
            sets=measure_sets(whole, sets),
        )
        if name == "val" and task == MULTICLASS:
            sets = fit_sets(whole.scores, right)
        if name == "val":
            pictures = (split.pixels[row] for row in known.rows)
            shift = fit_shift(pictures, after[known.rows], card.unknown_index)
        metrics |= {
            f"{name}_accuracy": round(result.accuracy, 4),
            f"{name}_macro_f1": round(result.macro_f1, 4),
            f"{name}_ece": round(result.ece, 4),
            f"{name}_ece_uncalibrated": round(uncalibrated.ece, 4),
            f"{name}_count": result.count,
        }
        if refusals is not None:
            metrics |= {f"{name}_{key}": value for key, value in refusals.figures.items()}
    return Measured(metrics, shown["val"], shown.get("test"), sets, shift)


def _synthetic(network: keras.Model, card: ModelCard, batch_size: int) -> Strangers:
    pixels, names = zip(*synthetic_strangers(card), strict=True)
    photos = tuple(Photo(name, ()) for name in names)
    split = SplitPixels(np.stack(pixels), np.zeros(len(names), np.int64), photos)
    scores, novelty = _outputs(network, split, card, batch_size)
    return Strangers(scores, names, synthetic=True, novelty=novelty)


def _outputs(
    network: keras.Model, split: SplitPixels, card: ModelCard, batch_size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return the scores for a split, and the novelty (N,) of a network that has one."""
    given = predict_scores(network, split, batch_size)
    if card.novelty is None:
        return given, None
    scores, novelty = given
    return scores, novelty[:, 0]


LOGGER = logging.getLogger("pocketlens")


@dataclass(frozen=True)
class Training:
    """What `train` has made.

    `val` are the figures on the validation photos, by which epochs and temperature were chosen,
    `test` those on the test photos, None without a test split. `unknown` says why it is not known
    whether the weights that training started from had seen test photos, "" where they had not.
    `refusals` are those of the same photos as `result`, for a model with a label for unknown ones
    or a novelty. `start` says which weights training started from, where it had the choice.
    """

    folder: Path
    card: ModelCard
    val: Evaluation
    test: Evaluation | None
    unknown: str = ""
    refusals: Refusals | None = None
    start: str = ""

    @property
    def result(self) -> Evaluation:
        """The figures that count: those of the test photos, without these of validation."""
        return self.test or self.val


@one_call()
def train(
    photos: Path,
    out: Path,
    settings: Settings | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    strict: bool = False,
    pictures: EpochPictures | None = None,
) -> Training:
    """Train a classifier on labelled photos.

    Args:
        photos: a folder per class, `train/ val/ test/` folders with one each, or a table (see
            `runtime.tables`).
        out: the run folder to make; it is there when everything in it is.
        settings: how to train.
        overwrite: replace an earlier run; without `resume`, an unfinished one as well.
        resume: go on from the last finished epoch of an unfinished run, or from the beginning
            where there is none. Photos and settings must be the same.
        strict: refuse photos of which a file cannot be used or one has two labels.
        pictures: gives new training pictures for each epoch instead of the photos of the training
            split, for pictures that a program can make without end. The same number of an epoch
            must give the same pictures for `resume` to be exact.

    Raises:
        UsageError, OutputExistsError: an argument cannot be.
        DataError: the photos cannot be trained on.
        WeightsError: the pretrained weights cannot be had.
        OutputError: the run cannot be written; the last checkpoint stays for `resume`.
    """
    settings = settings or Settings()
    refuse_run(out, overwrite=overwrite, resume=resume)
    refuse_inside(out, photos)
    if settings.splits_of is None:
        runs = tuple(map(str, earlier_runs(photos)))
        settings = dataclasses.replace(settings, splits_of=runs)
    earlier = _earlier(settings)
    check = check_data(photos, settings.task, settings.positive, earlier)
    if strict:
        check.refuse_bad()
    divided = check.divide(settings.seed, test=settings.test)
    log_check(check)
    _log_kept(divided, earlier)
    for note in divided.notes:
        LOGGER.warning("%s", note)
    if settings.task == BINARY:
        negative, positive = divided.labels
        LOGGER.info("Positive label: %r, negative: %r (--positive chooses).", positive, negative)
    wants_label = settings.wants_unknown and settings.task == MULTICLASS
    counter = counter_class(divided.labels) if wants_label else None
    if counter is not None:
        LOGGER.info(
            "Photos labelled %r are counter-examples and count as no class (--unknown off makes it "
            "an ordinary class).",
            divided.labels[counter],
        )
    plan = describe_plan(settings, divided)
    size_wh = (settings.image_size, settings.image_size)
    with unfinished_run(out, overwrite=overwrite, resume=resume) as unfinished:
        found = read_checkpoint(unfinished.checkpoint)
        if found:
            refuse_other_plan(found.plan, plan)
        splits = load_pixels(divided, size_wh, settings.resize_mode)
        start = _start(settings, len(divided.labels), splits, unfinished.scratch, found)
        plan["start"] = start.to_json()
        # From here on all is as if these weights had been asked for.
        settings = dataclasses.replace(settings, weights=start.weights)
        seen = read_seen(settings.weights)
        keras.utils.set_random_seed(settings.seed)
        with all_gpus():
            network = build(len(divided.labels), settings)
        counts = ", ".join(f"{name} {len(split.labels)}" for name, split in splits.items())
        LOGGER.info("%s; photos: %s", counted(len(divided.labels), "class", "classes"), counts)
        folder = unfinished.run
        # The folder above holds the logs while the run is made as well as when it is complete.
        LOGGER.info("Watch it with: tensorboard --logdir %s", out.parent)
        history = History(folder, settings.planned_epochs(len(splits["train"].labels)))
        checkpoints = Checkpoints(unfinished.checkpoint, network, history, plan, found)
        if resume and not history.epochs:
            LOGGER.info("No epoch was finished before, so training starts from the beginning.")
        elif resume:
            done = counted(len(history.epochs), "finished epoch")
            LOGGER.info("Resuming after %s.", done)
        trainer = Trainer(
            network, settings, splits, history, checkpoints, unfinished.scratch, pictures
        )
        trainer.train()
        calibration = calibrate(network, splits["val"], settings)
        labels, unknown = divided.labels, ""
        whole = network
        if wants_label:
            added = add_unknown(
                network, labels, splits["train"], splits["val"], settings.known_kept
            )
            whole = network = added.network
            labels, unknown = added.labels, added.label
        elif settings.wants_unknown:
            whole = add_novelty(network, splits["train"], splits["val"], settings.known_kept)
        with replacing(folder / MODEL_NAME) as path, quiet():
            whole.save(path)
        readable = {name: split.photos for name, split in splits.items()}
        known = seen.and_those_of(readable, check.contents)
        card = ModelCard(
            name=out.absolute().name,
            labels=labels,
            task=settings.task,
            input_size_wh=size_wh,
            resize_mode=settings.resize_mode,
            threshold=DEFAULT_THRESHOLDS[settings.task],
            data_hash=divided.data_hash,
            training=_described(settings, start, len(splits["train"].labels), history.outcomes()),
            versions={
                "pocketlens": __version__,
                "python": platform.python_version(),
                **{name: version(name) for name in ("tensorflow", "keras", "numpy")},
            },
            seen=sketch(digest for digest, split in known.splits.items() if split != "test"),
            unknown=unknown,
            novelty=None if whole is network else 1,
        )
        measured = measure(whole, splits, card, calibration, settings.batch_size)
        card = dataclasses.replace(
            card, metrics=measured.metrics, sets=measured.sets, shift=measured.shift
        )
        doubt = sets_doubt(measured.val.result.count) if settings.task == MULTICLASS else ""
        if doubt:
            LOGGER.info("%s", doubt)
        write_card(folder, card)
        others = earlier.without(known)
        write_split(
            folder,
            out,
            divided.root,
            divided.labels,
            readable,
            known.to_json(),
            others.to_json() if others.splits or others.unknown else None,
        )
        write_data_report(folder / REPORT_NAME, check)
        augmented: Sequence[Augmented] = ()
        if trainer.augmentation:
            augmented = augmented_photos(
                splits["train"], divided.labels, trainer.augmentation, settings.seed
            )
        page = folder / REPORT_NAME
        write_report(
            page, card, measured, history, readable, seen, augmented, divided.notes, start.text
        )
    test = measured.test.result if measured.test else None
    refusals = (measured.test or measured.val).refusals
    return Training(out, card, measured.val.result, test, seen.unknown, refusals, start.text)


def _earlier(settings: Settings) -> SeenPhotos:
    """Return what earlier runs had; say of which nobody knows whether they keep their split."""
    runs = [*(settings.splits_of or ()), *filter(None, [settings.from_run])]
    earlier = read_earlier(runs)
    if earlier.unknown:
        LOGGER.warning("Some photos may not keep their split: %s.", earlier.unknown)
    return read_earlier([*runs, settings.weights])


def _log_kept(divided: DividedPhotos, earlier: SeenPhotos) -> None:
    digests = [
        divided.digests[photo.path] for photos in divided.splits.values() for photo in photos
    ]
    kept = sum(digest in earlier.splits for digest in digests)
    if kept:
        LOGGER.info(
            "%d of %s had a split in earlier runs and keep it.", kept, counted(len(digests))
        )


def _start(
    settings: Settings,
    classes: int,
    splits: Mapping[str, SplitPixels],
    scratch: Path,
    found: Checkpoint | None,
) -> Start:
    """Return what to start from; a training that goes on goes on from what was chosen then."""
    if found is not None and "start" in found.plan:
        return Start.from_json(found.plan["start"])
    return choose_start(settings, classes, splits, scratch)


def _described(
    settings: Settings, start: Start, photos: int, outcomes: Sequence[Outcome]
) -> dict[str, object]:
    """Return what a training was done with: the settings, and the defaults that it took.

    Weights and runs are named without their folders. `weights` are those that training started
    from; `weights_loss` and `other_weights_loss` are the validation losses of a head on them and on
    those that were compared, `other_weights`. `kept_*_epochs` says how many epochs of each phase
    are in the weights: none where the phase made them no better.
    """
    values = dataclasses.asdict(settings)
    values["weights"] = Path(settings.weights).name
    values["from_run"] = settings.from_run and Path(settings.from_run).name
    values["splits_of"] = ", ".join(Path(run).name for run in settings.splits_of or ()) or None
    if start.tried:
        best, other = start.tried
        values["weights_loss"] = round(best.val_loss, 4)
        values["other_weights"] = Path(other.weights).name
        values["other_weights_loss"] = round(other.val_loss, 4)
    values["mixed_precision"] = precision(settings.mixed_precision) != FLOAT32
    planned = settings.planned_epochs(photos)
    kept = {entry.phase: entry.kept or 0 for entry in outcomes}
    main = FINE_TUNE if settings.pretrained else SCRATCH
    options = {HEAD: ("head_", "head_"), main: ("fine_tune_", ""), GRID: ("grid_", "grid_")}
    for (phase, (epochs, rate)), first in zip(options.items(), settings.rates, strict=True):
        values[f"{epochs}epochs"] = planned.get(phase, 0)
        values[f"{rate}learning_rate"] = float(f"{first:.6g}") if phase in planned else None
        if phase in planned:
            values[f"kept_{epochs}epochs"] = kept[phase]
    return values
