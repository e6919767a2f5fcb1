"""The statistics, against series whose answers are known."""

import math

import numpy as np
import pytest

from pocketlens.benchmarks.spread import (
    BETWEEN_RUNS,
    Spread,
    find_drift,
    geometric_mean,
    interval_95,
    repeatable_interval,
)

MS = 1_000_000


def _spread(*processes_ms):
    durations_ns = [np.array(list(values)) * MS for values in processes_ms]
    return Spread.of(durations_ns, firsts_ns=[(9 + i) * MS for i in range(len(durations_ns))])


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
    assert (spread.first_ms, spread.runs, spread.processes) == (9, len(list(values_ms)), 1)
    assert spread.median_interval_ms is None


def test_figures_are_of_the_runs_of_all_processes_and_the_first_is_their_median():
    spread = _spread([1, 2], [30], [4])
    assert (spread.min_ms, spread.median_ms, spread.runs, spread.processes) == (1, 3, 4, 3)
    assert spread.first_ms == 10


def test_interval_is_student_s_on_a_logarithmic_scale():
    # Logarithms 0 to 4: mean 2, standard deviation sqrt(2.5); t for 4 degrees of freedom is 2.776.
    values = np.exp(np.arange(5.0))
    half = 2.776 * math.sqrt(2.5 / 5)
    assert geometric_mean(values) == pytest.approx(math.exp(2))
    assert np.log(interval_95(values)) == pytest.approx([2 - half, 2 + half])
    # The other run's error is as large, and between the two lie 3 %.
    wider = math.hypot(half, half, math.log(1.03))
    assert np.log(repeatable_interval(values)) == pytest.approx([2 - wider, 2 + wider])


def test_few_processes_have_no_interval():
    assert interval_95(np.full(4, 7.0)) is None
    assert repeatable_interval(np.full(4, 7.0)) is None
    assert interval_95(np.full(5, 7.0)) == pytest.approx((7, 7))
    assert repeatable_interval(np.full(5, 7.0)) == pytest.approx((7 / 1.03, 7 * 1.03))


@pytest.mark.parametrize("count", [5, 7, 10])
def test_intervals_hold_the_truth_and_another_run_as_often_as_they_say(count):
    rng = np.random.default_rng(1)
    tries = 1000
    true, next_one = 0, 0
    for _ in range(tries):
        moods = rng.normal(0, math.log(BETWEEN_RUNS + 1) / 1.96 / 2**0.5, 2)
        run, other = np.exp(rng.normal(0, 0.03, (2, count)))
        low, high = interval_95(run)
        true += low <= 1 <= high
        low, high = repeatable_interval(run * math.exp(moods[0]))
        next_one += low <= geometric_mean(other) * math.exp(moods[1]) <= high
    # 950 expected; further off than this would be a chance of less than 1 in 100.
    assert 930 <= true <= 968
    assert 930 <= next_one <= 980


def test_what_a_process_shares_is_not_taken_for_many_runs():
    layouts = np.random.default_rng(3).normal(10, 0.5, 10)
    low, high = _spread(*(np.full(100, value) for value in layouts)).median_interval_ms
    few_low, few_high = _spread(*(np.full(5, value) for value in layouts)).median_interval_ms
    assert (low, high) == pytest.approx((few_low, few_high))
    assert high - low > 0.3


def test_interval_has_the_median_of_all_runs_in_it():
    low, high = _spread(*[np.full(5, 10.0)] * 6, *[np.full(5, 11.0)] * 4).median_interval_ms
    assert low == 10
    assert 10.4 < high < 11


@pytest.mark.parametrize("count", [5, 10])
@pytest.mark.parametrize(
    ("last", "expected"),
    [
        pytest.param(1.0, None, id="steady"),
        pytest.param(1.03, None, id="not worth a word"),
        pytest.param(1.2, 1.2, id="slower"),
        pytest.param(0.8, 0.8, id="faster"),
    ],
)
def test_drift(count, last, expected):
    medians = np.random.default_rng(5).normal(10, 0.05, count)
    medians[-round(count / 3) :] *= last
    assert find_drift(medians) == (expected and pytest.approx(expected, rel=0.02))
    assert find_drift(medians[:4]) is None


def test_processes_that_differ_at_random_are_seldom_called_a_drift():
    rng = np.random.default_rng(6)
    drifts = [find_drift(rng.normal(10, 1, 10)) for _ in range(1000)]
    assert sum(drift is not None for drift in drifts) < 70
