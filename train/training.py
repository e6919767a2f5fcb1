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
from pocketlens.card import ModelCard
from pocketlens.files import refuse_folder, staged_folder
from pocketlens.runtime.runs import MODEL_NAME, REPORT_NAME, write_card, write_split
from pocketlens.train.batches import EpochPictures
from pocketlens.train.callbacks import save_model
from pocketlens.train.data_check import check_data
from pocketlens.train.data_page import write_data_report
from pocketlens.train.data_report import log_check
from pocketlens.train.evaluation import Evaluation
from pocketlens.train.measuring import calibrate, measure
from pocketlens.train.networks import build
from pocketlens.train.phases import Trainer
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
    """Train a classifier on a folder of photos per class.

    Args:
        photos: a folder per class, or `train/ val/ test/` folders with one each.
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
    check = check_data(photos)
    if strict:
        check.refuse_bad()
    split = check.split(settings.seed)
    log_check(check)
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
        calibration = calibrate(network, parts["val"], settings)
        save_model(network, folder / MODEL_NAME)
        measured = measure(network, parts, split.labels, settings, calibration)
        card = ModelCard(
            name=out.absolute().name,
            labels=split.labels,
            task=settings.task,
            input_size_wh=size_wh,
            resize_mode=settings.resize_mode,
            data_hash=split.data_hash,
            metrics=measured.metrics,
            training=_described(settings),
            versions={
                "pocketlens": __version__,
                "python": platform.python_version(),
                **{name: version(name) for name in ("tensorflow", "keras", "numpy")},
            },
        )
        write_card(folder, card)
        readable = {name: part.photos for name, part in parts.items()}
        write_split(folder, photos, split.labels, readable)
        write_data_report(folder / REPORT_NAME, check)
        write_report(folder / REPORT_NAME, card, measured.test, trainer.history.epochs, readable)
    return Training(out, card, measured.test.result)


def _described(settings: Settings) -> dict[str, object]:
    """Return the settings for the card, with a weights file by its name only."""
    values = dataclasses.asdict(settings)
    values["weights"] = Path(settings.weights).name
    values["fine_tune_epochs"] = settings.main_epochs
    return values
