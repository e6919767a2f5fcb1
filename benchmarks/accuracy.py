"""How often several files are right about the same pixels, and how often they agree."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import DataError
from pocketlens.intervals import wilson
from pocketlens.runtime.answers import Answer, micro_f1, share_of_equal
from pocketlens.runtime.pictures import Pixels

# Pictures waiting for their results; bounds memory whatever the number of pictures.
_IN_FLIGHT = 32


class Scorer(Protocol):
    """What gives answers for pixels: a `Classifier`, or anything with these three."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the scores."""

    def scores(self, pixels_rgb: Pixels, /) -> NDArray[np.float32]:
        """Return scores (outputs,) for pixels (height, width, 3) of the model's size."""

    def answer(self, scores: NDArray[np.float32], /) -> Answer:
        """Return the indices of the labels that scores stand for."""


@dataclass(frozen=True)
class Accuracy:
    """How many of `total` pictures a file answered rightly.

    `agreement` is the share in 0-1 of pictures on which its answer is the reference's. An answer is
    one label or, of a multilabel model, all labels of a picture. `micro_f1` in 0-1 counts every
    label of every picture; where an answer is one label it is the same as `share`.
    """

    correct: int
    total: int
    agreement: float
    micro_f1: float

    @property
    def share(self) -> float:
        """Accuracy in 0-1: top-1 accuracy, or the exact match ratio of a multilabel model."""
        return self.correct / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson score interval of `share`, as (low, high) in 0-1."""
        return wilson(self.correct, self.total)


def measure_accuracy(
    classifiers: Sequence[Scorer],
    samples: Iterable[tuple[Pixels, Answer]],
    *,
    labels: Sequence[str] | None = None,
    reference: int = 0,
) -> tuple[Accuracy, ...]:
    """Give every picture to every classifier, each in a thread of its own.

    Args:
        classifiers: loaded models of one input size.
        samples: pixels uint8 (height, width, 3) in RGB of that size, and the indices of their
            labels.
        labels: what the samples' indices stand for; the reference's own labels by default.
        reference: index of the classifier that agreement is measured against.

    Returns:
        one result for each classifier, in their order.

    Raises:
        DataError: there are no samples.
    """
    truth, answers = predict([[classifier] for classifier in classifiers], samples)
    own = [classifier.labels for classifier in classifiers]
    return compare(truth, answers, own, labels or own[reference], reference)


def predict(
    crews: Sequence[Sequence[Scorer]], samples: Iterable[tuple[Pixels, Answer]]
) -> tuple[list[Answer], list[list[Answer]]]:
    """Run several models over a stream of pictures, on all cores, holding few pictures at once.

    Args:
        crews: for each model one or more classifiers that are the same; more than one works on
            several pictures at a time.
        samples: as in `measure_accuracy`.

    Returns:
        the label indices of each sample, and for each model its answers.
    """
    free: list[SimpleQueue[Scorer]] = []
    for crew in crews:
        free.append(SimpleQueue())
        for scorer in crew:
            free[-1].put(scorer)

    def answer(model: int, pixels: Pixels) -> Answer:
        scorer = free[model].get()
        try:
            return scorer.answer(scorer.scores(pixels))
        finally:
            free[model].put(scorer)

    truth: list[Answer] = []
    rows: list[list[Answer]] = []
    pending: deque[list[Future[Answer]]] = deque()
    with ThreadPoolExecutor(min(sum(map(len, crews)), os.cpu_count() or 1)) as pool:
        for pixels, label_indices in samples:
            truth.append(label_indices)
            pending.append([pool.submit(answer, model, pixels) for model in range(len(crews))])
            if len(pending) > _IN_FLIGHT:
                rows.append([future.result() for future in pending.popleft()])
        rows += [[future.result() for future in futures] for futures in pending]
    return truth, [[row[model] for row in rows] for model in range(len(crews))]


def compare(
    truth: Sequence[Answer],
    answers: Sequence[Sequence[Answer]],
    own_labels: Sequence[Sequence[str]],
    labels: Sequence[str],
    reference: int = 0,
) -> tuple[Accuracy, ...]:
    """Count right answers and agreements.

    Models whose labels are `labels` are compared by index, since names may stand twice (ImageNet
    has two cranes); others by name.

    Args:
        truth: the label indices of each picture in `labels`.
        answers: of each model for each picture, in its own labels.
        own_labels: the labels of each model.
        labels: the labels that `truth` counts in.
        reference: index of the model that agreement is measured against.

    Raises:
        DataError: there are no pictures.
    """
    if not truth:
        raise DataError(
            "Expected at least one readable photo to measure accuracy on. Received: none. "
            "Choose another folder or leave --data out."
        )
    numbers: dict[str, int] = {}
    for index, label in enumerate(labels):
        numbers.setdefault(label, index)
    named: list[Sequence[Answer]] = []
    for given, own in zip(answers, own_labels, strict=True):
        if tuple(own) == tuple(labels):
            named.append(given)
            continue
        for label in own:
            # Labels that no picture has get numbers behind the others.
            numbers.setdefault(label, len(labels) + len(numbers))
        named.append([tuple(sorted(numbers[own[index]] for index in entry)) for entry in given])
    return tuple(
        Accuracy(
            correct=sum(one == true for one, true in zip(entry, truth, strict=True)),
            total=len(truth),
            agreement=share_of_equal(entry, named[reference]),
            micro_f1=micro_f1(entry, truth),
        )
        for entry in named
    )
