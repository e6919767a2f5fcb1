"""How good the scores of a model are against the true labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support


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
    """Metrics of one part. `confusion[i][j]` counts photos of class i that were called j."""

    accuracy: float
    macro_f1: float
    count: int
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]


def evaluate(
    scores: NDArray[np.float32], truth: NDArray[np.int64], labels: tuple[str, ...]
) -> Evaluation:
    """Compare scores (N, classes) with true label indices (N,).

    A class that is never predicted has precision 0.
    """
    predicted = scores.argmax(axis=1)
    indices = np.arange(len(labels))
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=indices, zero_division=0
    )
    return Evaluation(
        accuracy=float((predicted == truth).mean()),
        macro_f1=float(f1.mean()),
        count=len(truth),
        classes=tuple(
            ClassMetrics(
                label, float(precision[i]), float(recall[i]), float(f1[i]), int(support[i])
            )
            for i, label in enumerate(labels)
        ),
        confusion=tuple(
            tuple(map(int, row)) for row in confusion_matrix(truth, predicted, labels=indices)
        ),
    )
