"""A model measured on labelled photos, whatever kind of file it is in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import MULTICLASS
from pocketlens.errors import DataError, ModelFileError, PictureError, UsageError
from pocketlens.evaluation.answers import Answers, to_answers, truth
from pocketlens.evaluation.metrics import Evaluation, evaluate_answers
from pocketlens.evaluation.scorers import Scorer, open_scorer
from pocketlens.files import staged_folder
from pocketlens.progress import track
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.photos import LabelledPhotos, Photo, read_pixels, report_skipped
from pocketlens.runtime.pictures import Pixels, decode, resize
from pocketlens.runtime.runs import evaluation_photos
from pocketlens.train.evaluation_page import Shown
from pocketlens.train.report import JSON_NAME, refuse_report, write_evaluation_report

LOGGER = logging.getLogger("pocketlens")

_BATCH = 32
# Rounding of an 8-bit output may take a score a little beyond 0-1.
_MARGIN = 0.01

T = TypeVar("T")


@dataclass(frozen=True)
class ModelEvaluation:
    """How good a model file is on photos. `skipped` counts those that could not be read.

    `photos` are the others, in the order of `answers`.
    """

    model: Path
    labels: tuple[str, ...]
    result: Evaluation
    skipped: int
    answers: Answers
    photos: tuple[Photo, ...]
    temperature: float | None = None

    @property
    def shown(self) -> Shown:
        """What a page about it needs."""
        paths = [photo.path for photo in self.photos]
        return Shown(self.answers, self.result, paths, self.temperature)


def evaluate_model(
    model: Path,
    data: str | Path | LabelledPhotos,
    hints: ModelHints | None = None,
    *,
    report: Path | None = None,
    feature_photo: Path | None = None,
    overwrite: bool = False,
) -> ModelEvaluation:
    """Measure a model on labelled photos.

    Args:
        model: a run folder, a `.keras` file or a `.tflite` file.
        data: a folder per class, a table, or a run folder, of which the held-back test photos are
            taken.
        hints: what a third-party model does not say of itself.
        report: a folder to write the page, its pictures and JSON into.
        feature_photo: a photo whose feature maps the page shows; Keras models only.
        overwrite: replace an earlier report.

    Raises:
        UsageError, OutputExistsError: an argument cannot be.
        ModelFileError: the model cannot be used.
        LabelsError: a class of the photos is none of the model's.
        DataError: no photo can be read, or not the one for the feature maps.
    """
    if report is not None:
        refuse_report(report, overwrite=overwrite)
    elif feature_photo is not None:
        raise UsageError(
            "Expected --report DIR with --feature-maps. Received: none. Say where the page goes."
        )
    scorer = open_scorer(model, hints)
    if feature_photo is not None and scorer.network is None:
        raise UsageError(
            f"Expected a run or a .keras file for --feature-maps. Received: {model}, whose layers "
            "cannot be looked into. Give the run that it was made from."
        )
    # Before the photos, so that one that cannot be read is not found out at the end.
    seen = _pixels_of(feature_photo, scorer) if feature_photo is not None else None
    evaluation = _evaluate(
        model, scorer, evaluation_photos(data).with_labels(scorer.labels, scorer.task)
    )
    if report is not None:
        maps = None
        if feature_photo is not None and seen is not None:
            from pocketlens.train.feature_maps import feature_maps

            maps = (feature_photo.name, seen, feature_maps(scorer.network, seen))
        with staged_folder(report, overwrite=overwrite, marker=JSON_NAME) as folder:
            write_evaluation_report(folder, model, evaluation.shown, evaluation.skipped, maps)
    return evaluation


def _evaluate(model: Path, scorer: Scorer, photos: LabelledPhotos) -> ModelEvaluation:
    skipped: list[PictureError] = []
    readable: list[Photo] = []
    scores: list[NDArray[np.float32]] = []
    samples = _readable(photos.photos, scorer, skipped)
    for batch in _batches(track(samples, "Evaluating", len(photos.photos))):
        scores.append(scorer.score([pixels for _, pixels in batch]))
        readable.extend(photo for photo, _ in batch)
    report_skipped(skipped, len(photos.photos))
    if not readable:
        raise DataError(f"Expected readable photos. Received: none among {len(photos.photos)}.")
    answers = to_answers(
        _as_shares(np.concatenate(scores), scorer.task, model),
        truth([photo.label_indices for photo in readable], len(scorer.labels), scorer.task),
        scorer.labels,
        scorer.task,
        scorer.threshold,
    )
    return ModelEvaluation(
        model,
        scorer.labels,
        evaluate_answers(answers),
        len(skipped),
        answers,
        tuple(readable),
        scorer.temperature,
    )


def _readable(
    photos: tuple[Photo, ...], scorer: Scorer, skipped: list[PictureError]
) -> Iterator[tuple[Photo, Pixels]]:
    paths = (photo.path for photo in photos)
    decoded = read_pixels(paths, scorer.size_wh, scorer.resize_mode)
    for photo, pixels in zip(photos, decoded, strict=True):
        if isinstance(pixels, PictureError):
            skipped.append(pixels)
        else:
            yield photo, pixels


def _pixels_of(photo: Path, scorer: Scorer) -> Pixels:
    return resize(decode(photo), scorer.size_wh, scorer.resize_mode)


def _as_shares(scores: NDArray[np.float32], task: str, model: Path) -> NDArray[np.float32]:
    """Return scores in 0-1; those of a model that ends in logits get their softmax or sigmoid."""
    if not np.isfinite(scores).all():
        raise ModelFileError(
            f"Expected numbers as scores. Received: NaN or infinity from {model}. "
            "Check its normalisation (--mean, --std) or train it again."
        )
    if scores.min() >= -_MARGIN and scores.max() <= 1 + _MARGIN:
        return scores.clip(0, 1)
    LOGGER.warning("The scores of %s are no shares of 1: taken as logits.", model)
    if task != MULTICLASS:
        return np.asarray(1 / (1 + np.exp(-scores)), np.float32)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def _batches(samples: Iterator[T]) -> Iterator[list[T]]:
    while batch := list(islice(samples, _BATCH)):
        yield batch
