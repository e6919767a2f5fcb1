"""A model's answers beside the truth, in one form for every task."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import DEFAULT_THRESHOLDS, ModelCard
from pocketlens.choices import BINARY, MULTICLASS, MULTILABEL
from pocketlens.runtime.answers import MIN_CLASSES_FOR_TOP5, Answer, answer_of, best_scores


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
    threshold: float | None = None,
) -> Answers:
    """Bring scores and truth into one form.

    Args:
        scores: float32 in 0-1: (N, classes), or (N, 1) of the positive class for binary.
        truth: as `truth` returns it.
        labels: names of the classes; for binary those of the negative and the positive class.
        task: one of the tasks of the model card.
        threshold: for binary and multilabel, the score from which on a label is given; None is the
            task's default.
    """
    threshold = DEFAULT_THRESHOLDS[task] if threshold is None else threshold
    values = scores.astype(np.float64)
    if task == BINARY:
        values = np.hstack([1 - values, values])
    is_true = truth >= 0.5 if task == MULTILABEL else truth[:, None] == np.arange(len(labels))
    predicted = label_matrix([answer_of(row, task, threshold) for row in scores], len(labels))
    shown = None if task == MULTICLASS else threshold
    return Answers(labels, task, values, is_true, predicted, shown)


def graded(scores: NDArray[np.floating], card: ModelCard, true: Answer | None = None) -> Answer:
    """Return the answer by which a photo counts as right or wrong.

    It is the model's answer; of a model with a label for unknown photos the best of its other
    labels, unless that is the true one: whether known photos are told apart and whether they are
    recognised as known are two questions (see `evaluation.unknown`).

    Args:
        scores: (outputs,) of the photo.
        card: what they mean.
        true: the indices of the photo's labels, None where they are not known.
    """
    index = card.unknown_index
    if index is None or true == (index,):
        return answer_of(scores, card.task, card.threshold)
    rest = scores.copy()
    rest[index] = -1
    return (int(rest.argmax()),)


def truth(labels: Sequence[Answer], classes: int, task: str) -> NDArray[Any]:
    """Return the truth of photos, from the indices of their labels.

    Returns:
        float32 (N, classes) of zeros and ones for multilabel; otherwise int64 (N,), the index of
        each photo's label, which for binary is 1 where it is the positive one.
    """
    if task == MULTILABEL:
        return label_matrix(labels, classes).astype(np.float32)
    return np.array([index for (index,) in labels], np.int64)


def same_labels(labels: Sequence[str], known: Collection[str]) -> dict[int, int]:
    """Return which labels of a third-party model are another one, by their indices.

    One that was renamed "crane (2)", since there were two (ImageNet has a bird and a machine), is a
    right answer for photos of "crane", unless photos are labelled "crane (2)" themselves. A number
    that does not follow from the one before, as in "Beetle (1998)", is part of a name.

    Args:
        labels: the model's, see `runtime.answers.describe`.
        known: those that photos have.
    """
    indices = {label: index for index, label in enumerate(labels)}
    found = {}
    for label, index in indices.items():
        match = re.fullmatch(r"(.+) \((\d{1,4})\)", label, re.ASCII | re.DOTALL)
        if not match or match[1] not in indices or label in known:
            continue
        number = int(match[2])
        if number == 2 or (number > 2 and f"{match[1]} ({number - 1})" in indices):
            found[index] = indices[match[1]]
    return found


def label_matrix(answers: Sequence[Answer], classes: int) -> NDArray[np.bool_]:
    """Return bool (N, classes): which photo has which label."""
    rows = np.zeros((len(answers), classes), np.bool_)
    for row, indices in zip(rows, answers, strict=True):
        row[list(indices)] = True
    return rows


def best_five(scores: NDArray[np.floating], task: str) -> Answer:
    """Return the labels of the five best scores (classes,) of a photo, best first.

    Being among five means nothing among fewer than ten classes or where a photo may have several
    labels: then there are none.
    """
    if task != MULTICLASS or len(scores) < MIN_CLASSES_FOR_TOP5:
        return ()
    return tuple(index for index, _ in best_scores(scores, 5))


def share_of_equal(answers: Sequence[Answer], others: Sequence[Answer]) -> float:
    """Return the share in 0-1 of photos with the same labels in both.

    With the true labels for `others` this is accuracy: top-1 for multiclass, and for multilabel
    the exact match ratio, for which every label of a photo has to be right.
    """
    return sum(a == b for a, b in zip(answers, others, strict=True)) / len(answers)
