"""From scores to answers: which labels a photo is given, by task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pocketlens.card import BINARY, MULTICLASS

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Up to so many, Python has sorted them before NumPy's code is back in the processor's cache.
_FEW = 32

# Among fewer classes, five guesses are right too easily to mean something.
MIN_CLASSES_FOR_TOP5 = 10

Answer = tuple[int, ...]
"""The indices of a photo's labels, ascending: one but where a task is multilabel."""


def answer_of(scores: NDArray[np.float32], task: str, threshold: float) -> Answer:
    """Return what a model answers for one photo.

    Args:
        scores: float32 (outputs,): one for each label, or that of the positive label, which is
            the second, for a binary task.
        task: "multiclass": the best label; "binary": the positive one from `threshold` up, else
            the negative; "multilabel": every label from `threshold` up, maybe none.
        threshold: in 0-1.
    """
    if task == MULTICLASS:
        return (int(scores.argmax()),)
    if task == BINARY:
        return (int(scores[0] >= threshold),)
    return tuple(np.flatnonzero(scores >= threshold).tolist())


def best_scores(scores: NDArray[np.float32], count: int) -> list[tuple[int, float]]:
    """Return the indices of the `count` best scores, best first, each with its score.

    Of equal scores the first comes first.

    Args:
        scores: float32 (labels,), finite: a NaN is neither before nor after another.
        count: how many; all where there are fewer.
    """
    if len(scores) <= _FEW:
        values = scores.tolist()
        order = sorted(range(len(values)), key=values.__getitem__, reverse=True)
        return [(index, values[index]) for index in order[:count]]
    first = max(0, len(scores) - count)
    chosen = np.flatnonzero(scores >= np.partition(scores, first)[first])
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")][:count]
    return list(zip(chosen.tolist(), scores[chosen].tolist(), strict=True))


def label_scores(scores: NDArray[np.float32], task: str) -> NDArray[np.float32]:
    """Return a score for each label, float32 (labels,): for a binary task those of both."""
    return np.append(1 - scores, scores) if task == BINARY else scores
