"""Calibration error and temperature against values worked out by hand."""

import math

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="calibration divides a Keras layer")

import keras

from pocketlens.evaluation.answers import to_answers
from pocketlens.evaluation.calibration import (
    COLDEST,
    HOTTEST,
    divide_logits,
    fit_temperature,
    reliability,
    temperature_doubt,
    tempered,
)
from pocketlens.train.grid import rounded


def two_classes(scores: list[float]) -> np.ndarray:
    """Scores that answer "a" with each of these."""
    return np.array([[score, 1 - score] for score in scores], np.float32)


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def test_ece_by_hand() -> None:
    # Bin (0.8, 0.867]: scores 0.85 and 0.81, one right: |0.5 - 0.83| = 0.33.
    # Bin (0.933, 1]: scores 0.95, 0.99 and 1, all right: |1 - 0.98| = 0.02.
    # Bin (0.6, 0.667]: score 0.65, wrong: 0.65. Each weighs as many of the six as it holds.
    scores = two_classes([0.85, 0.81, 0.95, 0.99, 1.0, 0.65])
    truth = np.array([0, 1, 0, 0, 0, 1])
    found = reliability(to_answers(scores, truth, ("a", "b")))
    assert found.ece == pytest.approx((2 * 0.33 + 3 * 0.02 + 0.65) / 6, abs=1e-6)
    filled = {entry.high: entry for entry in found.bins if entry.count}
    assert [entry.count for entry in filled.values()] == [1, 2, 3]
    assert filled[1.0].share == 1
    assert filled[1.0].score == pytest.approx(0.98, abs=1e-6)
    assert len(found.bins) == 15


def test_log_loss_by_hand() -> None:
    scores = two_classes([0.5, 0.8, 0.2])
    found = reliability(to_answers(scores, np.array([0, 0, 0]), ("a", "b")))
    assert found.log_loss == pytest.approx(-math.log(0.5 * 0.8 * 0.2) / 3, abs=1e-6)
    sigmoids = np.array([[0.5], [0.8], [0.2]], np.float32)
    binary = reliability(to_answers(sigmoids, np.array([1, 0, 0]), ("no", "yes"), "binary"))
    assert binary.log_loss == pytest.approx(-math.log(0.5 * 0.2 * 0.8) / 3, abs=1e-6)
    labels = reliability(
        to_answers(sigmoids.T, np.array([[1, 0, 0]]), ("a", "b", "c"), "multilabel")
    )
    assert labels.log_loss == pytest.approx(binary.log_loss)


def test_each_score_lies_in_its_bin() -> None:
    scores = np.linspace(0.01, 0.99, 99, dtype=np.float32)[:, None]
    bins = reliability(to_answers(scores, np.zeros(99, np.int64), ("no", "yes"), "binary")).bins
    assert sum(entry.count for entry in bins) == 99
    for entry in bins:
        assert entry.low < entry.score <= entry.high
        within = (entry.low + 1e-6 < scores) & (scores <= entry.high + 1e-6)
        assert entry.count == within.sum()


def test_score_on_an_edge_is_in_the_lower_bin() -> None:
    answers = to_answers(two_classes([0.6]), np.array([0]), ("a", "b"))
    (entry,) = (entry for entry in reliability(answers).bins if entry.count)
    assert entry.high == pytest.approx(0.6)


def test_ece_of_sigmoids_is_of_what_they_promise() -> None:
    # 0.1 of nothing true: 0.1 off. 0.7 of 2 of 4 true: 0.2 off.
    scores = np.array([[0.1]] * 6 + [[0.7]] * 4, np.float32)
    truth = np.array([0] * 6 + [1, 1, 0, 0])
    binary = reliability(to_answers(scores, truth, ("no", "yes"), "binary"))
    assert binary.ece == pytest.approx((6 * 0.1 + 4 * 0.2) / 10, abs=1e-6)
    labels = reliability(
        to_answers(scores.reshape(5, 2), truth.reshape(5, 2), ("a", "b"), "multilabel")
    )
    assert labels.ece == pytest.approx(binary.ece)


def test_perfect_scores_have_no_error() -> None:
    scores = two_classes([0.75] * 4)
    assert reliability(to_answers(scores, np.array([0, 0, 0, 1]), ("a", "b"))).ece < 1e-6


@pytest.mark.parametrize("logit", [3.0, 0.4], ids=["too sure", "too unsure"])
def test_temperature_by_hand(logit: float) -> None:
    """With one logit and 75 % right, the likeliest score is 0.75, the sigmoid of ln 3."""
    expected = logit / math.log(3)
    truth = np.array([0, 0, 0, 1] * 5)
    scores = two_classes([sigmoid(logit)] * 20)
    assert fit_temperature(scores, truth, "multiclass") == pytest.approx(expected, rel=1e-4)
    assert fit_temperature(scores[:, :1], 1 - truth, "binary") == pytest.approx(expected, rel=1e-4)
    both = np.repeat(scores[:, :1], 2, axis=1)
    twice = np.repeat(1 - truth[:, None], 2, axis=1).astype(np.float32)
    assert fit_temperature(both, twice, "multilabel") == pytest.approx(expected, rel=1e-4)
    softened = tempered(scores, expected, "multiclass")
    np.testing.assert_allclose(softened[:, 0], 0.75, atol=1e-6)
    assert reliability(to_answers(softened, truth, ("a", "b"))).ece < 1e-6


def test_nothing_wrong_is_nothing_to_measure_by() -> None:
    assert fit_temperature(two_classes([0.6, 0.7]), np.array([0, 0]), "multiclass") == 1.0


@pytest.mark.parametrize("right", [0, 9], ids=["always wrong", "nearly always right"])
def test_temperature_stays_within_limits(right: int) -> None:
    truth = np.array([0] * right + [1] * (10 - right))
    found = fit_temperature(two_classes([0.501 if right else 1.0] * 10), truth, "multiclass")
    assert COLDEST <= found <= HOTTEST
    limit = COLDEST if right else HOTTEST
    assert found == pytest.approx(limit)
    # A card has it rounded.
    for temperature in (found, round(found, 4)):
        assert f"ended at its limit of {limit:g}," in temperature_doubt(temperature)


@pytest.mark.parametrize("task", ["multiclass", "binary", "multilabel"])
def test_tempered_scores_are_those_of_a_divided_head(task: str) -> None:
    rng = np.random.default_rng(3)
    head = keras.layers.Dense(
        1 if task == "binary" else 4, activation="softmax" if task == "multiclass" else "sigmoid"
    )
    features = rng.normal(0, 2, (50, 6)).astype(np.float32)
    before = np.asarray(head(features))
    order = before.argsort(axis=1)
    divide_logits(head, 1.7)
    after = np.asarray(head(features))
    np.testing.assert_allclose(tempered(before, 1.7, task), after, atol=1e-5)
    np.testing.assert_allclose(tempered(after, 1 / 1.7, task), before, atol=1e-5)
    np.testing.assert_array_equal(after.argsort(axis=1), order)


def test_divided_kernel_stays_on_its_grid() -> None:
    head = keras.layers.Dense(5)
    head.build((None, 8))
    head.kernel.assign(rounded(head.kernel.value, (0,)))
    divide_logits(head, 1.37)
    np.testing.assert_allclose(rounded(head.kernel.value, (0,)), head.kernel, rtol=1e-5)


@pytest.mark.parametrize("temperature", [None, 0.11, 1.0, 9.9])
def test_temperature_within_its_limits_is_in_no_doubt(temperature: float | None) -> None:
    assert temperature_doubt(temperature) == ""
