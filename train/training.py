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
from pocketlens.files import refuse_folder, staged_folder
from pocketlens.runtime.runs import MODEL_NAME, REPORT_NAME, write_card, write_split
from pocketlens.train.batches import EpochPictures
from pocketlens.train.callbacks import save_model
from pocketlens.train.data_check import check_data
from pocketlens.train.data_page import write_data_report
from pocketlens.train.data_report import log_check
from pocketlens.train.evaluation import Evaluation, evaluate
from pocketlens.train.networks import build
from pocketlens.train.phases import Trainer, predict_scores
from pocketlens.train.pixel_cache import load_pixels
from pocketlens.train.report import write_report
from pocketlens.train.settings import Settings

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
    strict: bool = False,
    pictures: EpochPictures | None = None,
) -> Training:
    """Train a classifier on labelled photos.

    Args:
        photos: a folder per class, `train/ val/ test/` folders with one each, or a table (see
            `runtime.tables`).
        out: the run folder to make; it is there when everything in it is.
        settings: how to train.
        overwrite: replace an earlier run.
        strict: refuse photos of which a file cannot be used or one has two labels.
        pictures: gives new training pictures for each epoch instead of the photos of the training
            part, for pictures that a program can make without end.

    Raises:
        UsageError, OutputExistsError: an argument cannot be.
        DataError: the photos cannot be trained on.
        WeightsError: the pretrained weights cannot be had.
    """
    settings = settings or Settings()
    refuse_folder(out, overwrite=overwrite, marker=MODEL_NAME)
    check = check_data(photos, settings.task, settings.positive)
    if strict:
        check.refuse_bad()
    split = check.split(settings.seed)
    log_check(check)
    if settings.task == BINARY:
        negative, positive = split.labels
        LOGGER.info("Looking for %r among %r (--positive chooses).", positive, negative)
    size_wh = (settings.image_size, settings.image_size)
    keras.utils.set_random_seed(settings.seed)
    network = build(len(split.labels), settings)
    parts = load_pixels(split, size_wh, settings.resize_mode)
    counts = ", ".join(f"{name} {len(part.labels)}" for name, part in parts.items())
    LOGGER.info("%d classes; photos: %s", len(split.labels), counts)
    with staged_folder(out, overwrite=overwrite, marker=MODEL_NAME) as folder:
        LOGGER.info("Watch it with: tensorboard --logdir %s", folder / "logs")
        trainer = Trainer(network, settings, parts, folder, pictures)
        trainer.train()
        save_model(network, folder / MODEL_NAME)
        evaluations = {
            name: evaluate(
                predict_scores(network, parts[name], settings.batch_size),
                parts[name].labels,
                split.labels,
                settings.task,
            )
            for name in ("val", "test")
        }
        card = ModelCard(
            name=out.absolute().name,
            labels=split.labels,
            task=settings.task,
            input_size_wh=size_wh,
            resize_mode=settings.resize_mode,
            threshold=DEFAULT_THRESHOLDS[settings.task],
            data_hash=split.data_hash,
            metrics={
                f"{name}_{what}": round(getattr(evaluation, what), 4)
                for name, evaluation in evaluations.items()
                for what in ("accuracy", "macro_f1", "count")
            },
            training=_described(settings),
            versions={
                "pocketlens": __version__,
                "python": platform.python_version(),
                **{name: version(name) for name in ("tensorflow", "keras", "numpy")},
            },
        )
        write_card(folder, card)
        readable = {name: part.photos for name, part in parts.items()}
        write_split(folder, split.root, split.labels, readable)
        write_data_report(folder / REPORT_NAME, check)
        write_report(
            folder / REPORT_NAME, card, evaluations["test"], trainer.history.epochs, readable
        )
    return Training(out, card, evaluations["test"])


def _described(settings: Settings) -> dict[str, object]:
    """Return the settings for the card, with a weights file by its name only."""
    values = dataclasses.asdict(settings)
    values["weights"] = Path(settings.weights).name
    values["fine_tune_epochs"] = settings.main_epochs
    return values
