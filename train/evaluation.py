"""How good the scores of a model are against the true labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from pocketlens.card import BINARY, DEFAULT_THRESHOLDS, MULTICLASS, MULTILABEL


@dataclass(frozen=True)
class ClassMetrics:
    """One class: precision, recall and F1 in 0-1, and how many photos of it there were."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one part.

    `confusion[i][j]` counts photos of class i that were called j; empty for a multilabel task.
    """

    accuracy: float
    macro_f1: float
    count: int
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]


def evaluate(
    scores: NDArray[np.float32],
    truth: NDArray[Any],
    labels: tuple[str, ...],
    task: str = MULTICLASS,
) -> Evaluation:
    """Compare scores (N, outputs) with the truth, as `truth` gives it.

    A class that is never predicted has precision 0. Accuracy of a multilabel task is the exact
    match ratio: every label of a photo has to be right.
    """
    threshold = DEFAULT_THRESHOLDS[task]
    predicted: NDArray[Any]
    if task == MULTICLASS:
        predicted = scores.argmax(axis=1)
    elif task == BINARY:
        predicted = (scores[:, 0] >= threshold).astype(np.int64)
    else:
        predicted = (scores >= threshold).astype(np.float32)
    indices = np.arange(len(labels))
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=indices, zero_division=0
    )
    right = predicted == truth
    return Evaluation(
        accuracy=float((right.all(axis=1) if task == MULTILABEL else right).mean()),
        macro_f1=float(f1.mean()),
        count=len(truth),
        classes=tuple(
            ClassMetrics(
                label, float(precision[i]), float(recall[i]), float(f1[i]), int(support[i])
            )
            for i, label in enumerate(labels)
        ),
        confusion=()
        if task == MULTILABEL
        else tuple(
            tuple(map(int, row)) for row in confusion_matrix(truth, predicted, labels=indices)
        ),
    )
