"""The statistics, against series whose answers are known."""

import math

import numpy as np
import pytest

from pocketlens.benchmarks.spread import (
    Spread,
    find_drift,
    ratio_interval,
    repeatable_interval,
)

MS = 1_000_000


def _spread(values_ms, per_round=5):
    return Spread.of(np.array(list(values_ms)) * MS, first_ns=9 * MS, per_round=per_round)


@pytest.mark.parametrize(
    ("values_ms", "least", "median", "p90", "p95", "p99", "mean", "std"),
    [
        pytest.param([5], 5, 5, 5, 5, 5, 5, 0, id="one"),
        pytest.param([2, 1], 1, 1.5, 1.9, 1.95, 1.99, 1.5, 0.5, id="two"),
        # The variance of 1 to n is (n^2 - 1) / 12.
        pytest.param(range(1, 102), 1, 51, 91, 96, 100, 51, 850**0.5, id="1 to 101"),
        pytest.param([10] * 19 + [110], 10, 10, 10, 15, 91, 15, 475**0.5, id="an outlier"),
    ],
)
def test_figures(values_ms, least, median, p90, p95, p99, mean, std):
    spread = _spread(values_ms)
    found = (spread.min_ms, spread.median_ms, spread.p90_ms, spread.p95_ms, spread.p99_ms)
    assert found == pytest.approx((least, median, p90, p95, p99))
    assert (spread.mean_ms, spread.std_ms) == pytest.approx((mean, std))
    assert (spread.first_ms, spread.runs) == (9, len(list(values_ms)))


def test_interval_covers_the_true_median_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(100):
        low, high = _spread(rng.normal(10, 1, 200)).median_interval_ms
        hits += low <= 10 <= high
    # 95 expected; fewer than 87 or all would be a chance of less than 1 in 100.
    assert 87 <= hits <= 99


def test_interval_is_the_same_each_time_and_absent_for_few_rounds():
    values = np.random.default_rng(2).normal(10, 1, 100)
    assert _spread(values) == _spread(values)
    assert _spread(values[:20]).median_interval_ms is None
    assert _spread(values[:25]).median_interval_ms is not None


def test_runs_of_one_round_do_not_count_as_many():
    rounds = np.random.default_rng(3).normal(10, 1, 20)
    low, high = _spread(np.repeat(rounds, 5)).median_interval_ms
    narrow_low, narrow_high = _spread(np.repeat(rounds, 5), per_round=1).median_interval_ms
    assert high - low > 1.5 * (narrow_high - narrow_low)


def test_shared_mood_cancels_in_a_ratio():
    mood = np.repeat(np.random.default_rng(4).uniform(1, 3, 20), 5)
    low, high = ratio_interval(2 * mood * MS, mood * MS, 5)
    assert (low, high) == pytest.approx((2, 2))
    assert ratio_interval(mood[:20], mood, 5) is None


def test_for_another_run_a_ratio_is_less_sure():
    assert repeatable_interval(0.5, None) is None
    assert repeatable_interval(0.5, (0.5, 0.5)) == pytest.approx((0.5 / 1.02, 0.5 * 1.02))
    # Arms of 3 % below and 1 % above, each joined with the 2 % between two runs.
    low, high = repeatable_interval(0.5, (0.5 / 1.03, 0.5 * 1.01))
    assert math.log(0.5 / low) == pytest.approx(math.hypot(math.log(1.03), math.log(1.02)))
    assert math.log(high / 0.5) == pytest.approx(math.hypot(math.log(1.01), math.log(1.02)))


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        pytest.param(1.0, None, id="steady"),
        pytest.param(1.03, None, id="not worth a word"),
        pytest.param(1.2, 1.2, id="slower"),
        pytest.param(0.8, 0.8, id="faster"),
    ],
)
def test_drift(last, expected):
    values = np.random.default_rng(5).normal(10, 0.1, 150)
    values[100:] *= last
    assert find_drift(values, 5) == (expected and pytest.approx(expected, rel=0.02))
    assert find_drift(values[:70], 5) is None
