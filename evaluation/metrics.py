"""How good the answers of a model are against the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score

from pocketlens.card import MULTICLASS, MULTILABEL
from pocketlens.errors import DataError
from pocketlens.evaluation.agreement import Flips, find_flips
from pocketlens.evaluation.answers import THRESHOLD, Answers, to_answers
from pocketlens.evaluation.calibration import Reliability, reliability
from pocketlens.evaluation.intervals import Interval, wilson
from pocketlens.evaluation.scorers import PixelClassifier, Reply, predict
from pocketlens.runtime.answers import MIN_CLASSES_FOR_TOP5, Answer, micro_f1, share_of_equal
from pocketlens.runtime.pictures import Pixels

_RESAMPLES = 1000


def macro_f1(answers: Sequence[Answer], truth: Sequence[Answer]) -> tuple[float, Interval]:
    """Return the mean F1 in 0-1 of the classes that have photos, and its 95 % interval.

    The interval is from the percentile bootstrap over photos (B. Efron and R. J. Tibshirani, "An
    Introduction to the Bootstrap", 1993, chapter 13). Without any label both are 0.

    Args:
        answers: the indices of the labels that each photo was given.
        truth: of those that it has.
    """
    # Equal pairs are interchangeable, so that it is enough to draw how often each comes.
    cells = Counter(zip(truth, answers, strict=True))
    counts = np.array(list(cells.values()))
    given = _incidence([answer for _, answer in cells])
    true = _incidence([labels for labels, _ in cells])
    hits = _incidence([tuple(set(labels) & set(answer)) for labels, answer in cells])
    classes = 1 + max((*given[1], *true[1]), default=0)

    def mean(weights: NDArray[np.integer]) -> float:
        per_class = [
            np.bincount(label, weights[cell], classes) for cell, label in (given, true, hits)
        ]
        there = per_class[1] > 0
        shares = 2 * per_class[2][there] / (per_class[0] + per_class[1])[there]
        return float(shares.mean()) if there.any() else 0.0

    draw = np.random.default_rng(0).multinomial
    total = int(counts.sum())
    means = [mean(draw(total, counts / total)) for _ in range(_RESAMPLES)]
    low, high = np.percentile(means, (2.5, 97.5))
    return mean(counts), (float(low), float(high))


def _incidence(labels: Sequence[Answer]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the positions of the entries and their labels, one row for each label of each."""
    pairs = [(cell, label) for cell, entry in enumerate(labels) for label in entry]
    cells, indices = np.array(pairs, np.intp).reshape(-1, 2).T
    return cells, indices


@dataclass(frozen=True)
class ClassMetrics:
    """One class: precision, recall and F1 in 0-1, and how many photos of it there were.

    `false_alarms` are photos that were called so and are not, `misses` those that are and were not
    called so. `auc` is the area under the ROC curve against all other photos, None where there are
    no others or none of it.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    false_alarms: int
    misses: int
    auc: float | None


@dataclass(frozen=True)
class Evaluation:
    """Metrics of `count` photos, all in 0-1.

    `accuracy` is the share of photos that were answered exactly: top-1 for multiclass, all labels
    right for multilabel. `label_accuracy` is the share of single labels that were, for multilabel
    only. `top5` is there from ten classes on. F1 and AUC are averaged over the classes that have
    photos: `macro` counts each class alike, `weighted` by its photos, `micro` each photo alike.
    `confusion[i][j]` counts photos of class i that were called j; it is empty for multilabel.
    `threshold` is that of a sigmoid's score, None for multiclass.
    """

    task: str
    accuracy: float
    macro_f1: float
    weighted_f1: float
    micro_f1: float
    top5: float | None
    label_accuracy: float | None
    macro_auc: float | None
    threshold: float | None
    count: int
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    reliability: Reliability

    @property
    def ece(self) -> float:
        """The expected calibration error, see `reliability`."""
        return self.reliability.ece

    @property
    def worst_first(self) -> tuple[int, ...]:
        """Indices of the classes by F1, the worst first, those without photos last."""
        order = range(len(self.classes))
        return tuple(
            sorted(order, key=lambda i: (self.classes[i].support == 0, self.classes[i].f1))
        )


def evaluate(
    scores: NDArray[np.float32],
    truth: NDArray[Any],
    labels: tuple[str, ...],
    task: str = MULTICLASS,
    threshold: float = THRESHOLD,
) -> Evaluation:
    """Compare scores with the truth, both as `to_answers` takes them.

    A class that is never predicted has precision 0.
    """
    return evaluate_answers(to_answers(scores, truth, labels, task, threshold))


def evaluate_answers(answers: Answers) -> Evaluation:
    """Do what `evaluate` does, for answers."""
    truth, predicted = answers.truth, answers.predicted
    precision, recall, f1, support = precision_recall_fscore_support(
        truth.astype(int), predicted.astype(int), zero_division=0
    )
    hits = (truth & predicted).sum(axis=0)
    false_alarms, misses = predicted.sum(axis=0) - hits, truth.sum(axis=0) - hits
    aucs = [_auc(truth[:, i], answers.scores[:, i]) for i in range(len(answers.labels))]
    known = [auc for auc in aucs if auc is not None]
    there = support > 0
    multilabel = answers.task == MULTILABEL
    wrong_answers = int(false_alarms.sum() + misses.sum())
    return Evaluation(
        task=answers.task,
        accuracy=float(1 - answers.wrong.mean()),
        macro_f1=float(f1[there].mean()) if there.any() else 0.0,
        weighted_f1=float((f1 * support).sum() / max(support.sum(), 1)),
        micro_f1=float(2 * hits.sum() / max(2 * hits.sum() + wrong_answers, 1)),
        top5=_top5(answers),
        label_accuracy=float((truth == predicted).mean()) if multilabel else None,
        macro_auc=float(np.mean(known)) if known else None,
        threshold=answers.threshold,
        count=len(truth),
        classes=tuple(
            ClassMetrics(
                label,
                float(precision[i]),
                float(recall[i]),
                float(f1[i]),
                int(support[i]),
                int(false_alarms[i]),
                int(misses[i]),
                aucs[i],
            )
            for i, label in enumerate(answers.labels)
        ),
        confusion=() if multilabel else _confusion(answers),
        reliability=reliability(answers),
    )


def _confusion(answers: Answers) -> tuple[tuple[int, ...], ...]:
    counts = confusion_matrix(
        answers.truth.argmax(axis=1),
        answers.predicted.argmax(axis=1),
        labels=np.arange(len(answers.labels)),
    )
    return tuple(tuple(map(int, row)) for row in counts)


def _top5(answers: Answers) -> float | None:
    if answers.task != MULTICLASS or len(answers.labels) < MIN_CLASSES_FOR_TOP5:
        return None
    best = np.argsort(-answers.scores, axis=1, kind="stable")[:, :5]
    return float(np.take_along_axis(answers.truth, best, axis=1).any(axis=1).mean())


def _auc(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    return float(roc_auc_score(truth, scores)) if 0 < truth.sum() < len(truth) else None


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
    classifiers: Sequence[PixelClassifier],
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
            "Choose another folder or leave --photos out."
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
