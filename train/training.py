"""`train`: from a folder of photos to a run folder with a trained, evaluated model."""

from __future__ import annotations

import dataclasses
import logging
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import keras

from pocketlens import __version__
from pocketlens.card import BINARY, DEFAULT_THRESHOLDS, ModelCard
from pocketlens.evaluation.metrics import Evaluation
from pocketlens.files import replacing, write_bytes
from pocketlens.quiet import quiet
from pocketlens.runtime.runs import LOGS_NAME, MODEL_NAME, REPORT_NAME, write_card, write_split
from pocketlens.train.augmentation_sheet import SHEET_NAME, augmentation_sheet
from pocketlens.train.batches import EpochPictures
from pocketlens.train.callbacks import History
from pocketlens.train.checkpoints import Checkpoints, read_checkpoint
from pocketlens.train.data_check import check_data
from pocketlens.train.data_page import write_data_report
from pocketlens.train.data_report import log_check
from pocketlens.train.devices import all_gpus
from pocketlens.train.measuring import calibrate, measure
from pocketlens.train.networks import build
from pocketlens.train.phases import Trainer
from pocketlens.train.pixel_cache import load_pixels
from pocketlens.train.plan import describe_plan, refuse_other_plan
from pocketlens.train.report import write_report
from pocketlens.train.settings import Settings
from pocketlens.train.unfinished import refuse_run, unfinished_run

LOGGER = logging.getLogger("pocketlens")


@dataclass(frozen=True)
class Training:
    """What `train` has made."""

    folder: Path
    card: ModelCard
    test: Evaluation


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
            part, for pictures that a program can make without end. The same number of an epoch
            must give the same pictures for `resume` to be exact.

    Raises:
        UsageError, OutputExistsError: an argument cannot be.
        DataError: the photos cannot be trained on.
        WeightsError: the pretrained weights cannot be had.
        OutputError: the run cannot be written; the last checkpoint stays for `resume`.
    """
    settings = settings or Settings()
    refuse_run(out, overwrite=overwrite, resume=resume)
    check = check_data(photos, settings.task, settings.positive)
    if strict:
        check.refuse_bad()
    split = check.split(settings.seed)
    log_check(check)
    if settings.task == BINARY:
        negative, positive = split.labels
        LOGGER.info("Looking for %r among %r (--positive chooses).", positive, negative)
    plan = describe_plan(settings, split)
    size_wh = (settings.image_size, settings.image_size)
    with unfinished_run(out, overwrite=overwrite, resume=resume) as unfinished:
        found = read_checkpoint(unfinished.checkpoint)
        if found:
            refuse_other_plan(found.plan, plan)
        keras.utils.set_random_seed(settings.seed)
        with all_gpus():
            network = build(len(split.labels), settings)
        parts = load_pixels(split, size_wh, settings.resize_mode)
        counts = ", ".join(f"{name} {len(part.labels)}" for name, part in parts.items())
        LOGGER.info("%d classes; photos: %s", len(split.labels), counts)
        folder = unfinished.run
        LOGGER.info("Watch it with: tensorboard --logdir %s", folder / LOGS_NAME)
        history = History(folder)
        checkpoints = Checkpoints(unfinished.checkpoint, network, history, plan, found)
        if resume:
            LOGGER.info("Going on after %d finished epochs.", len(history.epochs))
        trainer = Trainer(
            network, settings, parts, history, checkpoints, unfinished.scratch, pictures
        )
        trainer.train()
        calibration = calibrate(network, parts["val"], settings)
        with replacing(folder / MODEL_NAME) as path, quiet():
            network.save(path)
        measured = measure(network, parts, split.labels, settings, calibration)
        card = ModelCard(
            name=out.absolute().name,
            labels=split.labels,
            task=settings.task,
            input_size_wh=size_wh,
            resize_mode=settings.resize_mode,
            threshold=DEFAULT_THRESHOLDS[settings.task],
            data_hash=split.data_hash,
            metrics=measured.metrics,
            training=_described(settings, len(parts["train"].labels)),
            versions={
                "pocketlens": __version__,
                "python": platform.python_version(),
                **{name: version(name) for name in ("tensorflow", "keras", "numpy")},
            },
        )
        write_card(folder, card)
        readable = {name: part.photos for name, part in parts.items()}
        write_split(folder, out, split.root, split.labels, readable)
        write_data_report(folder / REPORT_NAME, check)
        if trainer.augmentation:
            sheet = augmentation_sheet(
                parts["train"], split.labels, trainer.augmentation, settings.seed
            )
            write_bytes(folder / REPORT_NAME / SHEET_NAME, sheet)
        write_report(folder / REPORT_NAME, card, measured.test, history.epochs, readable)
    return Training(out, card, measured.test.result)


def _described(settings: Settings, photos: int) -> dict[str, object]:
    """Return the settings for the card, with a weights file by its name only."""
    values = dataclasses.asdict(settings)
    values["weights"] = Path(settings.weights).name
    values["fine_tune_epochs"] = settings.main_epochs(photos)
    return values
