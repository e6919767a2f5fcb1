"""Metrics on cases small enough to be worked out by hand."""

from typing import Any

import numpy as np
import pytest

from pocketlens.evaluation import metrics
from pocketlens.evaluation.answers import to_answers
from pocketlens.evaluation.metrics import Evaluation
from pocketlens.evaluation.mistakes import confusions, diagnose, mistakes

LABELS = ("a", "b", "c")


def evaluate(*said: Any) -> Evaluation:
    return metrics.evaluate(to_answers(*said))


def certain(rows: list[int], classes: int = 3, score: float = 0.8) -> np.ndarray:
    """Scores that answer each row's class with `score` and share the rest evenly."""
    scores = np.full((len(rows), classes), (1 - score) / (classes - 1), np.float32)
    scores[np.arange(len(rows)), rows] = score
    return scores


def test_multiclass() -> None:
    # 4 of a: 3 called a, 1 called b. 3 of b: all called b. 3 of c: 1 called c, 2 called b.
    truth = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    result = evaluate(certain([0, 0, 0, 1, 1, 1, 1, 2, 1, 1]), truth, LABELS)
    assert result.confusion == ((3, 1, 0), (0, 3, 0), (0, 2, 1))
    assert result.accuracy == pytest.approx(7 / 10)
    a, b, c = result.classes
    assert (a.precision, a.recall, a.f1) == pytest.approx((1, 3 / 4, 6 / 7))
    assert (b.precision, b.recall, b.f1) == pytest.approx((3 / 6, 1, 2 / 3))
    assert (c.precision, c.recall, c.f1) == pytest.approx((1, 1 / 3, 1 / 2))
    assert [(e.false_alarms, e.misses, e.support) for e in (a, b, c)] == [
        (0, 1, 4),
        (3, 0, 3),
        (0, 2, 3),
    ]
    assert result.macro_f1 == pytest.approx((6 / 7 + 2 / 3 + 1 / 2) / 3)
    assert result.weighted_f1 == pytest.approx((4 * 6 / 7 + 3 * 2 / 3 + 3 * 1 / 2) / 10)
    assert result.micro_f1 == pytest.approx(7 / 10)
    assert result.worst_first == (2, 1, 0)
    assert result.top5 is result.label_accuracy is result.threshold is None


def test_auc() -> None:
    # Of the four pairs of a photo of b with another, three are in order: 0.9 > 0.6, 0.9 > 0.1,
    # 0.5 > 0.1, but not 0.5 > 0.6.
    positive = np.array([0.1, 0.6, 0.5, 0.9], np.float32)
    result = evaluate(positive[:, None], np.array([0, 0, 1, 1]), ("no", "yes"), "binary")
    assert [entry.auc for entry in result.classes] == pytest.approx([3 / 4, 3 / 4])
    assert result.macro_auc == pytest.approx(3 / 4)
    # The same for a class of three: the scores of "a" are 0.8, 0.1, 0.3 for a and 0.2, 0.3 for
    # others, so 0.8 wins twice, 0.3 once and once half, 0.1 never: 3.5 of 6.
    scores = np.array(
        [[0.8, 0.1, 0.1], [0.1, 0.6, 0.3], [0.3, 0.4, 0.3], [0.2, 0.7, 0.1], [0.3, 0.6, 0.1]],
        np.float32,
    )
    result = evaluate(scores, np.array([0, 0, 0, 1, 1]), LABELS)
    assert result.classes[0].auc == pytest.approx(3.5 / 6)
    assert result.classes[2].auc is None


def test_top5_from_ten_classes_on() -> None:
    scores = np.tile(np.linspace(0.19, 0.01, 10, dtype=np.float32), (4, 1))
    labels = tuple("abcdefghij")
    result = evaluate(scores, np.array([0, 4, 5, 9]), labels)
    assert result.accuracy == 1 / 4
    assert result.top5 == 2 / 4
    assert evaluate(scores[:, :9], np.array([0, 4, 5, 8]), labels[:9]).top5 is None


@pytest.mark.parametrize(
    ("threshold", "confusion"),
    [(0.5, ((2, 1), (1, 2))), (0.3, ((1, 2), (0, 3))), (0.7, ((3, 0), (2, 1)))],
)
def test_binary(threshold: float, confusion: tuple[tuple[int, int], ...]) -> None:
    scores = np.array([[0.1], [0.35], [0.6], [0.4], [0.55], [0.9]], np.float32)
    truth = np.array([0, 0, 0, 1, 1, 1])
    result = evaluate(scores, truth, ("good", "defect"), "binary", threshold)
    assert result.confusion == confusion
    hits = confusion[1][1]
    defect = result.classes[1]
    assert defect.precision == pytest.approx(hits / (hits + confusion[0][1]))
    assert defect.recall == pytest.approx(hits / 3)
    assert result.accuracy == pytest.approx((confusion[0][0] + hits) / 6)
    assert result.threshold == threshold


def test_multilabel() -> None:
    scores = np.array(
        [[0.9, 0.2, 0.7], [0.6, 0.8, 0.1], [0.2, 0.4, 0.3], [0.1, 0.9, 0.6]], np.float32
    )
    truth = np.array([[1, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 1]])
    result = evaluate(scores, truth, LABELS, "multilabel")
    # Rows 0 and 3 are exact. b: row 1 is a false positive, row 2 a false negative, row 3 a hit.
    assert result.accuracy == 2 / 4
    assert result.label_accuracy == pytest.approx(10 / 12)
    assert [entry.f1 for entry in result.classes] == [1, 1 / 2, 1]
    assert (result.classes[1].false_alarms, result.classes[1].misses) == (1, 1)
    assert result.macro_f1 == pytest.approx(2.5 / 3)
    # 5 hits, 1 false positive, 1 false negative.
    assert result.micro_f1 == pytest.approx(10 / 12)
    assert result.confusion == ()
    # b: 0.4 and 0.9 for photos of it, 0.2 and 0.8 for others: three of four pairs in order.
    assert result.classes[1].auc == pytest.approx(3 / 4)


def test_classes_without_photos_do_not_count() -> None:
    result = evaluate(certain([0, 0, 2]), np.array([0, 0, 0]), LABELS)
    assert [entry.support for entry in result.classes] == [3, 0, 0]
    assert result.macro_f1 == pytest.approx(2 * (2 / 3) / (2 / 3 + 1))
    assert result.worst_first[0] == 0
    assert result.macro_auc is None
    assert diagnose(result, 1) == "no photos of it here"
    assert diagnose(result, 2) == "no photos of it here, 1 predicted"


def diagnosed(said: list[int], truth: list[int]) -> tuple[Evaluation, list[str]]:
    result = evaluate(certain(said), np.array(truth), LABELS)
    return result, [diagnose(result, index) for index in range(3)]


def test_diagnosis() -> None:
    # 20 of each; 8 of a are called b, all others are right.
    truth = [0] * 20 + [1] * 20 + [2] * 20
    said = [0] * 12 + [1] * 28 + [2] * 20
    _, (a, b, c) = diagnosed(said, truth)
    assert a == "too many false negatives (8 of 20, mostly predicted as b): add examples"
    assert b == "too many false positives (8, mostly a): add photos of what is taken for it"
    assert c == ""


def test_diagnosis_says_only_what_is_worse() -> None:
    # a: precision 0.8 and recall 0.4.
    truth = [0] * 10 + [1] * 20 + [2] * 20
    said = [0] * 4 + [1] * 6 + [1] * 20 + [0] + [2] * 19
    _, (a, _, _) = diagnosed(said, truth)
    assert a == "too many false negatives (6 of 10, mostly predicted as b): add examples"
    # b: precision 0.5 and recall 0.8.
    truth = [0] * 20 + [1] * 10 + [2] * 20
    said = [0] * 12 + [1] * 8 + [1] * 8 + [2] * 2 + [2] * 20
    _, (_, b, _) = diagnosed(said, truth)
    assert b == "too many false positives (8, mostly a): add photos of what is taken for it"


def test_diagnosis_of_both_and_of_few() -> None:
    _, (a, b, c) = diagnosed([0, 1, 1, 0, 2, 2], [0, 0, 1, 1, 2, 2])
    assert a == (
        "too many false negatives (1 of 2): add examples; "
        "too many false positives (1): add photos of what is taken for it; based on 2 photos only"
    )
    assert b == a
    assert c == ""


def test_mistakes_surest_first() -> None:
    scores = np.array(
        [[0.1, 0.7, 0.2], [0.2, 0.2, 0.6], [0.9, 0.1, 0.0], [0.0, 0.95, 0.05]], np.float32
    )
    every = mistakes(to_answers(scores, np.array([0, 1, 0, 0]), LABELS))
    assert [(m.row, m.truth, m.answer) for m in every] == [
        (3, "a", "b"),
        (0, "a", "b"),
        (1, "b", "c"),
    ]
    assert [m.score for m in every] == pytest.approx([0.95, 0.7, 0.6], abs=1e-6)
    first, second = confusions(every)
    assert (first.truth, first.answer, len(first.mistakes)) == ("a", "b", 2)
    assert (second.truth, second.answer, len(second.mistakes)) == ("b", "c", 1)


def test_mistakes_of_multilabel_are_single_labels() -> None:
    scores = np.array([[0.9, 0.2, 0.7]], np.float32)
    every = mistakes(to_answers(scores, np.array([[1, 1, 0]]), LABELS, "multilabel"))
    assert [(m.truth, m.answer) for m in every] == [("b", "no b"), ("no c", "c")]
    assert [m.score for m in every] == pytest.approx([0.8, 0.7], abs=1e-6)
