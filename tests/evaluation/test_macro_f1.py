"""F1 of labels and the interval of their mean, against scikit-learn, by hand and by simulation."""

import numpy as np
import pytest

from pocketlens.evaluation.metrics import count_labels


def test_by_hand():
    truth = [(0,)] * 4 + [(1,)] * 2
    answers = [(0,)] * 3 + [(1,)] * 2 + [(2,)]
    # Class 0: 2·3 / (3 + 4); class 1: 2·1 / (2 + 2); class 2 has no photos and does not count.
    counts, (low, high) = count_labels(answers, truth)
    value = counts.macro_f1
    assert value == pytest.approx((6 / 7 + 1 / 2) / 2)
    assert 0 <= low < value < high <= 1


def test_all_right_is_sure():
    counts, interval = count_labels([(0,), (1,)] * 50, [(0,), (1,)] * 50)
    assert (counts.macro_f1, counts.micro_f1, interval) == (1.0, 1.0, (1.0, 1.0))


def test_no_labels_at_all():
    counts, interval = count_labels([()] * 3, [()] * 3)
    assert (counts.macro_f1, counts.micro_f1, interval) == (0.0, 0.0, (0.0, 0.0))


@pytest.mark.parametrize("multilabel", [False, True])
def test_as_scikit_learn_has_it(multilabel):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is in the dev extra")
    rng = np.random.default_rng(3)
    if multilabel:
        truth, answers = (rng.random((200, 6)) < 0.3 for _ in range(2))
        own = [[tuple(np.flatnonzero(row).tolist()) for row in rows] for rows in (truth, answers)]
    else:
        truth, answers = rng.integers(0, 6, (2, 200))
        own = [[(int(value),) for value in rows] for rows in (truth, answers)]
    counts, _ = count_labels(own[1], own[0])
    for average in ("macro", "micro", "weighted"):
        expected = metrics.f1_score(truth, answers, average=average)
        assert getattr(counts, f"{average}_f1") == pytest.approx(expected)


def test_the_interval_holds_the_true_value_as_often_as_it_says():
    # Two classes, each called right with 0.8: macro F1 of all photos there could be is 0.8.
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(60):
        truth = rng.integers(0, 2, 150)
        answers = np.where(rng.random(150) < 0.8, truth, 1 - truth)
        pairs = [[(int(value),) for value in values] for values in (answers, truth)]
        low, high = count_labels(*pairs)[1]
        held += low <= 0.8 <= high
    assert held >= 52
