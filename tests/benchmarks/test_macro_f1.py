"""Macro F1 and its interval, against scikit-learn, by hand and by simulation."""

import numpy as np
import pytest

from pocketlens.evaluation.metrics import macro_f1


def test_by_hand():
    truth = [(0,)] * 4 + [(1,)] * 2
    answers = [(0,)] * 3 + [(1,)] * 2 + [(2,)]
    # Class 0: 2·3 / (3 + 4); class 1: 2·1 / (2 + 2); class 2 has no photos and does not count.
    value, (low, high) = macro_f1(answers, truth)
    assert value == pytest.approx((6 / 7 + 1 / 2) / 2)
    assert 0 <= low < value < high <= 1


def test_all_right_is_sure():
    assert macro_f1([(0,), (1,)] * 50, [(0,), (1,)] * 50) == (1.0, (1.0, 1.0))


def test_no_labels_at_all():
    assert macro_f1([()] * 3, [()] * 3) == (0.0, (0.0, 0.0))


@pytest.mark.parametrize("multilabel", [False, True])
def test_as_scikit_learn_has_it(multilabel):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is in the train extra")
    rng = np.random.default_rng(3)
    if multilabel:
        truth, answers = (rng.random((200, 6)) < 0.3 for _ in range(2))
        own = [[tuple(np.flatnonzero(row).tolist()) for row in rows] for rows in (truth, answers)]
    else:
        truth, answers = rng.integers(0, 6, (2, 200))
        own = [[(int(value),) for value in rows] for rows in (truth, answers)]
    expected = metrics.f1_score(truth, answers, average="macro")
    assert macro_f1(own[1], own[0])[0] == pytest.approx(expected)


def test_the_interval_holds_the_true_value_as_often_as_it_says():
    # Two classes, each called right with 0.8: macro F1 of all photos there could be is 0.8.
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(60):
        truth = rng.integers(0, 2, 150)
        answers = np.where(rng.random(150) < 0.8, truth, 1 - truth)
        pairs = [[(int(value),) for value in values] for values in (answers, truth)]
        low, high = macro_f1(*pairs)[1]
        held += low <= 0.8 <= high
    assert held >= 52
