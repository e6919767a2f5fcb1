"""Uneven classes: weights that make every class count the same, or photos drawn more often.

Both are for tasks with one class a photo. With several labels a photo there is no one class to be
even in, and weights per label would shift the scores that thresholds are chosen on: multilabel
training weighs every photo the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def class_weights(labels: NDArray[Any]) -> NDArray[np.float32] | None:
    """Return float32 (classes,): N / (classes * photos of the class), or None for multilabel.

    The mean over the photos is 1, so that the learning rate means the same for any photos, and
    all are 1 where the classes are even (King and Zeng 2001, "Logistic Regression in Rare Events
    Data"; scikit-learn's "balanced").

    Args:
        labels: int64 (N,), every class among them; or float (N, classes) for multilabel.
    """
    if labels.ndim != 1:
        return None
    counts = np.bincount(labels)
    return (len(labels) / (len(counts) * counts)).astype(np.float32)


def photo_weights(labels: NDArray[Any], weights: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Return float32 (N,): the weight of each photo's class; 1 where there are no weights."""
    return np.ones(len(labels), np.float32) if weights is None else weights[labels]


def shuffled(labels: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return int64 (N,): every row once, in an order by chance."""
    return rng.permutation(len(labels))


def oversampled(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return int64 (N,): rows drawn so that every class comes as often, in an order by chance.

    An epoch stays as long as it was: photos of rare classes come several times, those of common
    classes take turns from epoch to epoch.
    """
    classes = np.unique(labels)
    share, rest = divmod(len(labels), len(classes))
    drawn = []
    for place, label in enumerate(rng.permutation(classes)):
        rows = np.flatnonzero(labels == label)
        wanted = share + (place < rest)
        rounds = [rng.permutation(rows) for _ in range(-(-wanted // len(rows)))]
        drawn.append(np.concatenate(rounds)[:wanted])
    return rng.permutation(np.concatenate(drawn))
