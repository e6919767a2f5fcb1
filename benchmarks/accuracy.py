"""Top-1 accuracy of several files on the same pixels, and how often they agree."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import DataError
from pocketlens.intervals import wilson
from pocketlens.runtime.pictures import Pixels

# Pictures waiting for their results; bounds memory whatever the number of pictures.
_IN_FLIGHT = 32


class Scorer(Protocol):
    """What gives scores for pixels: a `Classifier`, or anything with these two."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the scores."""

    def scores(self, pixels_rgb: Pixels, /) -> NDArray[np.float32]:
        """Return scores (classes,) for pixels (height, width, 3) of the model's size."""


@dataclass(frozen=True)
class Accuracy:
    """How many of `total` pictures a file named rightly.

    `agreement` is the share in 0-1 of pictures on which its best label is the reference's.
    """

    correct: int
    total: int
    agreement: float

    @property
    def share(self) -> float:
        """Top-1 accuracy in 0-1."""
        return self.correct / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson score interval of `share`, as (low, high) in 0-1."""
        return wilson(self.correct, self.total)


def measure_accuracy(
    classifiers: Sequence[Scorer],
    samples: Iterable[tuple[Pixels, int]],
    *,
    labels: Sequence[str] | None = None,
    reference: int = 0,
) -> tuple[Accuracy, ...]:
    """Give every picture to every classifier, each in a thread of its own.

    Args:
        classifiers: loaded models of one input size.
        samples: pixels uint8 (height, width, 3) in RGB of that size, and the index of their label.
        labels: what the samples' indices stand for; the reference's own labels by default.
        reference: index of the classifier that agreement is measured against.

    Returns:
        one result for each classifier, in their order.

    Raises:
        DataError: there are no samples.
    """
    truth, best = predict([[classifier] for classifier in classifiers], samples)
    own = [classifier.labels for classifier in classifiers]
    return compare(truth, best, own, labels or own[reference], reference)


def predict(
    crews: Sequence[Sequence[Scorer]], samples: Iterable[tuple[Pixels, int]]
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Run several models over a stream of pictures, on all cores, holding few pictures at once.

    Args:
        crews: for each model one or more classifiers that are the same; more than one works on
            several pictures at a time.
        samples: as in `measure_accuracy`.

    Returns:
        the samples' label indices, int64 (pictures,), and for each model the index of its highest
        score, int64 (pictures,).
    """
    free: list[SimpleQueue[Scorer]] = []
    for crew in crews:
        free.append(SimpleQueue())
        for scorer in crew:
            free[-1].put(scorer)

    def best(model: int, pixels: Pixels) -> int:
        scorer = free[model].get()
        try:
            return int(np.argmax(scorer.scores(pixels)))
        finally:
            free[model].put(scorer)

    truth: list[int] = []
    rows: list[list[int]] = []
    pending: deque[list[Future[int]]] = deque()
    with ThreadPoolExecutor(min(sum(map(len, crews)), os.cpu_count() or 1)) as pool:
        for pixels, label_index in samples:
            truth.append(label_index)
            pending.append([pool.submit(best, model, pixels) for model in range(len(crews))])
            if len(pending) > _IN_FLIGHT:
                rows.append([future.result() for future in pending.popleft()])
        rows += [[future.result() for future in futures] for futures in pending]
    columns = np.array(rows, np.int64).reshape(-1, len(crews)).T
    return np.array(truth, np.int64), list(columns)


def compare(
    truth: NDArray[np.int64],
    best: Sequence[NDArray[np.int64]],
    own_labels: Sequence[Sequence[str]],
    labels: Sequence[str],
    reference: int = 0,
) -> tuple[Accuracy, ...]:
    """Count right answers and agreements.

    Models whose labels are `labels` are compared by index, since names may stand twice (ImageNet
    has two cranes); others by name.

    Args:
        truth: label indices (pictures,) in `labels`.
        best: for each model its best index (pictures,) in its own labels.
        own_labels: the labels of each model.
        labels: the labels that `truth` counts in.
        reference: index of the model that agreement is measured against.

    Raises:
        DataError: there are no pictures.
    """
    if not len(truth):
        raise DataError(
            "Expected at least one readable photo to measure accuracy on. Received: none. "
            "Choose another folder or leave --data out."
        )
    numbers: dict[str, int] = {}
    for index, label in enumerate(labels):
        numbers.setdefault(label, index)
    named: list[NDArray[Any]] = []
    for indices, own in zip(best, own_labels, strict=True):
        if tuple(own) == tuple(labels):
            named.append(indices)
            continue
        for label in own:
            # Labels that no picture has get numbers behind the others.
            numbers.setdefault(label, len(labels) + len(numbers))
        named.append(np.array([numbers[label] for label in own], np.int64)[indices])
    return tuple(
        Accuracy(
            correct=int((entry == truth).sum()),
            total=len(truth),
            agreement=float((entry == named[reference]).mean()),
        )
        for entry in named
    )
