"""How good the answers of a model are against the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score

from pocketlens.card import MULTICLASS, MULTILABEL
from pocketlens.evaluation.answers import THRESHOLD, Answers, to_answers
from pocketlens.evaluation.calibration import Reliability, reliability
from pocketlens.runtime.answers import MIN_CLASSES_FOR_TOP5


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
