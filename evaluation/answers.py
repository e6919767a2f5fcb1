"""A model's answers beside the truth, in one form for every task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import BINARY, MULTICLASS, MULTILABEL
from pocketlens.runtime.answers import Answer

# Of a sigmoid's score, where nothing else is said.
THRESHOLD = 0.5


@dataclass(frozen=True)
class Answers:
    """What a model said of N photos and what is true.

    `scores` float64 (N, classes) in 0-1, for a binary task those of the negative class and of the
    positive one; `truth` and `predicted` bool (N, classes), with exactly one True a row but for
    multilabel. `threshold` is that of a sigmoid's score, None for multiclass.
    """

    labels: tuple[str, ...]
    task: str
    scores: NDArray[np.float64]
    truth: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
    threshold: float | None

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Bool (N,): which photos were not answered exactly."""
        differs: NDArray[np.bool_] = self.truth != self.predicted
        return np.asarray(differs.any(axis=1))


def to_answers(
    scores: NDArray[np.float32],
    truth: NDArray[Any],
    labels: tuple[str, ...],
    task: str = MULTICLASS,
    threshold: float = THRESHOLD,
) -> Answers:
    """Bring scores and truth into one form.

    Args:
        scores: float32 in 0-1: (N, classes), or (N, 1) of the positive class for binary.
        truth: int64 (N,), 1 for positive in binary; bool or float 0/1 (N, classes) for multilabel.
        labels: names of the classes; for binary those of the negative and the positive class.
        task: one of the tasks of the model card.
        threshold: for binary and multilabel, the score from which on a label is given.
    """
    values = scores.astype(np.float64)
    classes = np.arange(len(labels))
    if task == MULTILABEL:
        return Answers(labels, task, values, truth >= 0.5, values >= threshold, threshold)
    if task == BINARY:
        chosen = (values[:, 0] >= threshold).astype(np.int64)
        values = np.hstack([1 - values, values])
    else:
        chosen = values.argmax(axis=1)
    return Answers(
        labels,
        task,
        values,
        truth[:, None] == classes,
        chosen[:, None] == classes,
        threshold if task == BINARY else None,
    )


def truth(labels: Sequence[Answer], classes: int, task: str) -> NDArray[Any]:
    """Return the truth of photos, from the indices of their labels.

    Returns:
        float32 (N, classes) of zeros and ones for multilabel; otherwise int64 (N,), the index of
        each photo's label, which for binary is 1 where it is the positive one.
    """
    if task != MULTILABEL:
        return np.array([index for (index,) in labels], np.int64)
    rows = np.zeros((len(labels), classes), np.float32)
    for row, indices in zip(rows, labels, strict=True):
        row[list(indices)] = 1
    return rows
