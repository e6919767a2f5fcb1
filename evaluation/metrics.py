"""How good answers are against the truth: each metric is computed here and nowhere else.

A metric of `evaluate` and of a training is a field of `Evaluation`, filled in `evaluate`;
from there it gets into every JSON. One of `headline` stands in the terminal and on the page, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.choices import MULTILABEL
from pocketlens.evaluation.agreement import Flips, find_flips
from pocketlens.evaluation.answers import Answers, best_five
from pocketlens.evaluation.calibration import Reliability, reliability
from pocketlens.evaluation.intervals import Interval, bootstrap, wilson
from pocketlens.runtime.answers import Answer

Curve = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Two rates and the scores that they belong to."""


@dataclass(frozen=True)
class Counts:
    """Of each class, (classes,), how many photos have it, were given it, and both (`hits`)."""

    true: NDArray[Any]
    given: NDArray[Any]
    hits: NDArray[Any]

    @property
    def precision(self) -> NDArray[np.float64]:
        """The share of the photos given a class that have it; 0 for one that is never given."""
        return np.asarray(self.hits / np.maximum(self.given, 1))

    @property
    def recall(self) -> NDArray[np.float64]:
        """The share of the photos of a class that were given it; 0 for one without photos."""
        return np.asarray(self.hits / np.maximum(self.true, 1))

    @property
    def f1(self) -> NDArray[np.float64]:
        """The harmonic mean of precision and recall; 0 where there are no hits."""
        return np.asarray(2 * self.hits / np.maximum(self.true + self.given, 1))

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes that have photos, 0 without any."""
        there = self.true > 0
        return float(self.f1[there].mean()) if there.any() else 0.0

    @property
    def weighted_f1(self) -> float:
        """The mean F1 of the photos' classes."""
        return float((self.f1 * self.true).sum() / max(self.true.sum(), 1))

    @property
    def micro_f1(self) -> float:
        """F1 over all pairs of photo and label; 0 where no label is given or true."""
        return float(2 * self.hits.sum() / max((self.true + self.given).sum(), 1))


def count_labels(answers: Sequence[Answer], truth: Sequence[Answer]) -> tuple[Counts, Interval]:
    """Return the counts of each label, and the 95 % bootstrap interval of their macro F1.

    Args:
        answers: the indices of the labels that each photo was given.
        truth: of those that it has.
    """
    kinds = Counter(zip(truth, answers, strict=True))
    sides = (
        _pairs([true for true, _ in kinds]),
        _pairs([answer for _, answer in kinds]),
        _pairs([tuple(set(true) & set(answer)) for true, answer in kinds]),
    )
    classes = 1 + max((int(labels.max()) for _, labels in sides if len(labels)), default=0)

    def count(photos: NDArray[np.int64]) -> Counts:
        return Counts(*(np.bincount(labels, photos[kind], classes) for kind, labels in sides))

    photos = np.array(list(kinds.values()))
    return count(photos), bootstrap(photos, lambda drawn: count(drawn).macro_f1)


def _pairs(answers: Sequence[Answer]) -> NDArray[np.intp]:
    """Return intp (2, pairs): the positions of the answers and their labels, one by one."""
    pairs = [(place, label) for place, answer in enumerate(answers) for label in answer]
    return np.array(pairs, np.intp).reshape(-1, 2).T


@dataclass(frozen=True)
class ClassMetrics:
    """One class: precision, recall and F1 in 0-1, and how many photos of it there were.

    `false_alarms` are its false positives, `misses` its false negatives. `auc` is the area under
    the ROC curve against all other photos, None where there are no others or none of it.
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
    `confusion[i][j]` counts photos of class i that were predicted as j; it is empty for
    multilabel. `threshold` is that of a sigmoid's score, None for multiclass.
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
    def interval(self) -> Interval:
        """The 95 % Wilson score interval of `accuracy`."""
        return wilson(round(self.accuracy * self.count), self.count)

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

    @property
    def headline(self) -> tuple[tuple[str, str], ...]:
        """The names and values, as text, of the metrics that are shown first."""
        multilabel = self.task == MULTILABEL
        shown = (
            ("exact match" if multilabel else "accuracy", f"{self.accuracy:.1%}"),
            ("top-5", None if self.top5 is None else f"{self.top5:.1%}"),
            ("labels right", None if self.label_accuracy is None else f"{self.label_accuracy:.1%}"),
            ("macro F1", f"{self.macro_f1:.3f}"),
            ("weighted F1", f"{self.weighted_f1:.3f}"),
            ("micro F1", f"{self.micro_f1:.3f}" if multilabel else None),
            ("ROC AUC", None if self.macro_auc is None else f"{self.macro_auc:.3f}"),
            ("calibration error", f"{self.ece:.1%}"),
            ("threshold", None if self.threshold is None else f"{self.threshold:.2f}"),
        )
        return tuple((name, value) for name, value in shown if value is not None)


def evaluate(answers: Answers) -> Evaluation:
    """Compare answers with the truth."""
    truth, predicted = answers.truth, answers.predicted
    counts = Counts(truth.sum(axis=0), predicted.sum(axis=0), (truth & predicted).sum(axis=0))
    false_positives, false_negatives = counts.given - counts.hits, counts.true - counts.hits
    each = counts.precision, counts.recall, counts.f1, counts.true, false_positives, false_negatives
    aucs = [roc_auc(truth[:, i], answers.scores[:, i]) for i in range(len(answers.labels))]
    known = [auc for auc in aucs if auc is not None]
    multilabel = answers.task == MULTILABEL
    return Evaluation(
        task=answers.task,
        accuracy=float(1 - answers.wrong.mean()),
        macro_f1=counts.macro_f1,
        weighted_f1=counts.weighted_f1,
        micro_f1=counts.micro_f1,
        top5=_top5(answers),
        label_accuracy=float((truth == predicted).mean()) if multilabel else None,
        macro_auc=float(np.mean(known)) if known else None,
        threshold=answers.threshold,
        count=len(truth),
        classes=tuple(map(ClassMetrics, answers.labels, *(row.tolist() for row in each), aucs)),
        confusion=() if multilabel else _confusion(answers),
        reliability=reliability(answers),
    )


def _confusion(answers: Answers) -> tuple[tuple[int, ...], ...]:
    classes = len(answers.labels)
    cells = answers.truth.argmax(axis=1) * classes + answers.predicted.argmax(axis=1)
    counts = np.bincount(cells, minlength=classes**2).reshape(classes, classes)
    return tuple(map(tuple, counts.tolist()))


def _top5(answers: Answers) -> float | None:
    best = [best_five(row, answers.task) for row in answers.scores]
    if not any(best):
        return None
    return float(np.take_along_axis(answers.truth, np.array(best), axis=1).any(axis=1).mean())


def roc_auc(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    """Return the area under `roc_curve` in 0-1, None where all photos are of a kind."""
    if not 0 < truth.sum() < len(truth):
        return None
    x, y, _ = roc_curve(truth, scores)
    return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2)


def roc_curve(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> Curve:
    """Return the false positive rates and true positive rates in 0-1 from each score on.

    `truth` is bool (N,), with at least one of each kind, `scores` (N,). The curve begins at (0, 0)
    with an infinite score.
    """
    hits, others, distinct = _from_each_score_on(truth, scores)
    x, y = (np.append(0.0, counts / counts[-1]) for counts in (others, hits))
    return x, y, np.append(np.inf, distinct)


def precision_recall_curve(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> Curve:
    """Return precision and recall in 0-1 from each score on, the lowest score first.

    `truth` is bool (N,), with at least one True, `scores` (N,). The curve ends at (1, 0), which
    stands for no score.
    """
    hits, others, distinct = _from_each_score_on(truth, scores)
    precision, recall = hits / (hits + others), hits / hits[-1]
    return np.append(precision[::-1], 1.0), np.append(recall[::-1], 0.0), distinct[::-1]


def _from_each_score_on(
    truth: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return how many photos of a class and of others have at least each distinct score."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(truth[order])[last]
    return hits, 1 + last - hits, scores[order][last]


@dataclass(frozen=True)
class Accuracy:
    """How many of `total` pictures a file answered rightly, beside the other files of a benchmark.

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


def compare_answers(
    answers: Sequence[Answer],
    truth: Sequence[Answer],
    reference: Sequence[Answer] | None,
    labels: Sequence[str],
    best: Sequence[Answer],
    agreement: float,
) -> Accuracy:
    """Measure a file's answers beside those of the reference.

    Args:
        answers: the label indices that the file gives to each picture.
        truth: those that it has.
        reference: those that the reference gives; None for the reference itself.
        labels: what the indices stand for.
        best: the indices of the five best labels of each picture; empty where that means nothing.
        agreement: the share of pictures, 0-1, for which both say the same.
    """
    counts, macro_f1_interval = count_labels(answers, truth)
    top5 = (true[0] in five for true, five in zip(truth, best, strict=True)) if best[0] else None
    return Accuracy(
        correct=sum(one == true for one, true in zip(answers, truth, strict=True)),
        total=len(truth),
        agreement=agreement,
        micro_f1=counts.micro_f1,
        macro_f1=counts.macro_f1,
        macro_f1_interval=macro_f1_interval,
        in_top5=None if top5 is None else sum(top5),
        flips=None if reference is None else find_flips(answers, reference, truth, labels),
    )
