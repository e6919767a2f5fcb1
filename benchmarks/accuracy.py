"""How often several files are right about the same pixels, and how often they agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pocketlens.benchmarks.macro_f1 import macro_f1
from pocketlens.benchmarks.predictions import Reply, Scorer, predict
from pocketlens.benchmarks.spread import Interval
from pocketlens.errors import DataError
from pocketlens.evaluation.agreement import Flips, find_flips
from pocketlens.evaluation.intervals import wilson
from pocketlens.runtime.answers import Answer, micro_f1, share_of_equal
from pocketlens.runtime.pictures import Pixels


@dataclass(frozen=True)
class Accuracy:
    """How many of `total` pictures a file answered rightly.

    `agreement` is the share in 0-1 of pictures on which its answer is the reference's. An answer is
    one label or, of a multilabel model, all labels of a picture. `micro_f1` in 0-1 counts every
    label of every picture; where an answer is one label it is the same as `share`. `macro_f1`, with
    its 95 % interval, is the mean over the classes that have pictures. `in_top5` counts pictures
    whose label is among the best five, None where that means nothing: fewer than ten labels, or no
    multiclass model. `flips` are against the reference, None for itself.
    """

    correct: int
    total: int
    agreement: float
    micro_f1: float
    macro_f1: float
    macro_f1_interval: Interval
    in_top5: int | None = None
    flips: Flips | None = None

    @property
    def share(self) -> float:
        """Accuracy in 0-1: top-1 accuracy, or the exact match ratio of a multilabel model."""
        return self.correct / self.total

    @property
    def interval(self) -> Interval:
        """The 95 % Wilson score interval of `share`, as (low, high) in 0-1."""
        return wilson(self.correct, self.total)

    @property
    def top5(self) -> float | None:
        """The share in 0-1 of pictures whose label is among the best five."""
        return None if self.in_top5 is None else self.in_top5 / self.total

    @property
    def top5_interval(self) -> Interval | None:
        """The 95 % Wilson score interval of `top5`."""
        return None if self.in_top5 is None else wilson(self.in_top5, self.total)


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
    truth, replies = predict([[classifier] for classifier in classifiers], samples)
    own = [classifier.labels for classifier in classifiers]
    return compare(truth, replies, own, labels or own[reference], reference)


def compare(
    truth: Sequence[Answer],
    replies: Sequence[Sequence[Reply]],
    own_labels: Sequence[Sequence[str]],
    labels: Sequence[str],
    reference: int = 0,
) -> tuple[Accuracy, ...]:
    """Count right answers, agreements and flips.

    Models whose labels are `labels` are compared by index, since names may stand twice (ImageNet
    has two cranes); others by name.

    Args:
        truth: the label indices of each picture in `labels`.
        replies: of each model for each picture, in its own labels.
        own_labels: the labels of each model.
        labels: the labels that `truth` counts in.
        reference: index of the model that the others are compared with.

    Raises:
        DataError: there are no pictures.
    """
    if not truth:
        raise DataError(
            "Expected at least one readable photo to measure accuracy on. Received: none. "
            "Choose another folder or leave --data out."
        )
    numbers = _common_numbers(own_labels, labels)
    answers = [
        [tuple(sorted(number[index] for index in reply.answer)) for reply in given]
        for given, number in zip(replies, numbers, strict=True)
    ]
    return tuple(
        Accuracy(
            sum(one == true for one, true in zip(given, truth, strict=True)),
            len(truth),
            share_of_equal(given, answers[reference]),
            micro_f1(given, truth),
            *macro_f1(given, truth),
            _count_in_top5(replies[model], numbers[model], truth),
            None if model == reference else find_flips(given, answers[reference], truth, labels),
        )
        for model, given in enumerate(answers)
    )


def _common_numbers(
    own_labels: Sequence[Sequence[str]], labels: Sequence[str]
) -> list[Sequence[int]]:
    """Return for each model the number of each of its labels among all."""
    known: dict[str, int] = {}
    for index, label in enumerate(labels):
        known.setdefault(label, index)
    numbers: list[Sequence[int]] = []
    for own in own_labels:
        if tuple(own) == tuple(labels):
            numbers.append(range(len(labels)))
            continue
        for label in own:
            # Labels that no picture has get numbers behind the others.
            known.setdefault(label, len(labels) + len(known))
        numbers.append([known[label] for label in own])
    return numbers


def _count_in_top5(
    replies: Sequence[Reply], numbers: Sequence[int], truth: Sequence[Answer]
) -> int | None:
    if not replies[0].best:
        return None
    return sum(
        true[0] in {numbers[index] for index in reply.best}
        for reply, true in zip(replies, truth, strict=True)
    )
