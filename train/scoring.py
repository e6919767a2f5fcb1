"""A model's scores for labelled photos, whatever kind of file the model is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import DataError, PictureError, UsageError
from pocketlens.keras_files import load_keras_model
from pocketlens.progress import track
from pocketlens.runtime.answers import Answer
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.model_files import SUFFIX
from pocketlens.runtime.photos import LabelledPhotos, read_labelled, report_skipped
from pocketlens.runtime.pictures import Pixels
from pocketlens.runtime.runs import MODEL_NAME, evaluation_photos, read_run
from pocketlens.train.evaluation import Evaluation, evaluate
from pocketlens.train.truth import truth

_BATCH = 32

Scorer = Callable[[list[Pixels]], NDArray[np.float32]]


@dataclass(frozen=True)
class ModelEvaluation:
    """How good a model file is on photos. `skipped` counts those that could not be read."""

    model: Path
    labels: tuple[str, ...]
    result: Evaluation
    skipped: int


def evaluate_model(model: Path, data: str | Path | LabelledPhotos) -> ModelEvaluation:
    """Measure a model on labelled photos.

    Args:
        model: a run folder, the `model.keras` in one, or a `.tflite` file.
        data: a folder per class, a table, or a run folder, of which the held-back test photos are
            taken.

    Raises:
        UsageError: the model or the photos are not there.
        ModelFileError: the model cannot be used.
        LabelsError: a class of the photos is none of the model's.
        DataError: no photo can be read.
    """
    if model.suffix == SUFFIX:
        with Classifier(model, threads=cpu_count() or 1) as classifier:
            return _evaluate(
                model,
                data,
                classifier.labels,
                classifier.task,
                classifier.size_wh,
                classifier.resize_mode,
                lambda batch: np.stack([classifier.scores(pixels) for pixels in batch]),
            )
    if model.is_file() and model.name != MODEL_NAME:
        raise UsageError(
            f"Expected a run folder, its {MODEL_NAME} or a {SUFFIX} file. Received: {model}. "
            "Check the path."
        )
    run = read_run(model.parent if model.is_file() else model)
    network = load_keras_model(run.model)
    card = run.card
    return _evaluate(
        model,
        data,
        card.labels,
        card.task,
        card.input_size_wh,
        card.resize_mode,
        _keras_scorer(network),
    )


def _evaluate(
    model: Path,
    data: str | Path | LabelledPhotos,
    labels: tuple[str, ...],
    task: str,
    size_wh: tuple[int, int],
    resize_mode: str,
    score: Scorer,
) -> ModelEvaluation:
    photos = evaluation_photos(data).with_labels(labels, task)
    skipped: list[PictureError] = []
    samples = read_labelled(photos, size_wh, resize_mode, skipped)
    scores: list[NDArray[np.float32]] = []
    answers: list[Answer] = []
    for batch in _batches(track(samples, "Evaluating", len(photos.photos))):
        scores.append(score([pixels for pixels, _ in batch]))
        answers.extend(label_indices for _, label_indices in batch)
    report_skipped(skipped, len(photos.photos))
    if not answers:
        raise DataError(f"Expected readable photos. Received: none among {len(photos.photos)}.")
    true = truth(answers, len(labels), task)
    result = evaluate(np.concatenate(scores), true, labels, task)
    return ModelEvaluation(model, labels, result, len(skipped))


def _keras_scorer(network: Any) -> Scorer:
    def score(batch: list[Pixels]) -> NDArray[np.float32]:
        pixels = np.stack(batch).astype(np.float32)
        return np.asarray(network.predict_on_batch(pixels), np.float32)

    return score


def _batches(samples: Iterator[tuple[Pixels, Answer]]) -> Iterator[list[tuple[Pixels, Answer]]]:
    while batch := list(islice(samples, _BATCH)):
        yield batch
