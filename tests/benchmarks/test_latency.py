"""The timing: interleaved, bounded, and summarised by the definition it names."""

import gc
import itertools

import pytest

from pocketlens.benchmarks.latency import RUNS_PER_ROUND, Settings, time_interleaved
from pocketlens.errors import UsageError


class FakeClock:
    """Advances only when a call says so."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns

    def call(self, name, ms, log):
        def run() -> None:
            log.append(name)
            self.now_ns += round(ms * 1e6)

        return run


def _measure(costs_ms, **settings):
    clock, log = FakeClock(), []
    calls = {name: clock.call(name, ms, log) for name, ms in costs_ms.items()}
    done = []
    result = time_interleaved(calls, Settings(**settings), clock_ns=clock, on_round=done.append)
    return result, log, done, clock


def test_each_call_gets_its_own_durations():
    result, *_ = _measure({"slow": 7, "fast": 3}, num_runs=10, min_secs=0)
    assert set(result["slow"]) == {7_000_000}
    assert set(result["fast"]) == {3_000_000}
    assert len(result["slow"]) == len(result["fast"]) == 10


def test_calls_are_interleaved_in_an_order_that_changes():
    _, log, *_ = _measure(dict.fromkeys("abcd", 1), num_runs=100, min_secs=0, warmup_runs=0)
    bursts = [(name, len(list(group))) for name, group in itertools.groupby(log)]
    # A call may end one round and begin the next, but never runs longer than that.
    assert max(count for _, count in bursts) <= 2 * (RUNS_PER_ROUND + 2)
    size = 4 * (RUNS_PER_ROUND + 2)
    rounds = [tuple(log[start : start + size]) for start in range(0, len(log), size)]
    assert len(rounds) == 20
    assert all(set(entry) == set("abcd") for entry in rounds)
    assert len(set(rounds)) > 5


def test_same_seed_same_order():
    logs = [
        _measure(dict.fromkeys("abc", 1), num_runs=30, min_secs=0, seed=seed)[1]
        for seed in (1, 1, 2)
    ]
    assert logs[0] == logs[1] != logs[2]


def test_the_first_two_calls_of_a_burst_are_not_counted():
    clock, seen = FakeClock(), []

    def cold_then_warm(name):
        def run() -> None:
            clock.now_ns += 1_000_000 if seen[-2:] == [name, name] else 50_000_000
            seen.append(name)

        return run

    calls = {name: cold_then_warm(name) for name in "ab"}
    result = time_interleaved(calls, Settings(20, 0, warmup_runs=0), clock_ns=clock)
    assert {*result["a"], *result["b"]} == {1_000_000}


def test_what_timed_calls_return_is_handed_on_and_nothing_else():
    clock, returned, seen = FakeClock(), itertools.count(), []

    def call():
        clock.now_ns += 1000
        return next(returned)

    time_interleaved(
        {"a": call},
        Settings(10, 0, warmup_runs=3),
        clock_ns=clock,
        on_timed=lambda *pair: seen.append(pair),
    )
    # Three to warm up; the two before each burst of five are not timed.
    assert seen == [("a", number) for number in (*range(5, 10), *range(12, 17))]


def test_warm_up_is_not_counted():
    _, log, *_ = _measure({"a": 1}, num_runs=5, min_secs=0, warmup_runs=7)
    assert len(log) == 7 + 2 + RUNS_PER_ROUND


def test_runs_until_the_shortest_call_has_had_its_seconds():
    result, *_ = _measure({"a": 1, "b": 4}, num_runs=5, min_secs=0.2)
    assert 0.2 <= result["a"].sum() / 1e9 < 0.21


def test_accompanying_call_does_not_make_the_others_run_on():
    clock, log = FakeClock(), []
    calls = {"short": clock.call("short", 0.1, log), "long": clock.call("long", 10, log)}
    settings = Settings(num_runs=10, min_secs=0.5)
    result = time_interleaved(calls, settings, accompanying=("short",), clock_ns=clock)
    assert len(result["short"]) == len(result["long"]) == 50


def test_stops_after_max_secs():
    result, _, done, clock = _measure({"a": 100, "b": 100}, num_runs=10_000, max_secs=5)
    assert clock.now_ns / 1e9 < 7
    assert min(map(len, result.values())) >= RUNS_PER_ROUND
    assert done[-1] == 1.0


def test_every_call_has_a_figure_even_if_one_takes_all_the_time():
    result, *_ = _measure({"a": 10_000, "b": 1}, num_runs=50, max_secs=1)
    assert all(len(entry) for entry in result.values())


@pytest.mark.parametrize("was_on", [True, False])
def test_garbage_collector_is_off_meanwhile_and_then_as_before(was_on):
    seen = []
    (gc.enable if was_on else gc.disable)()
    try:
        time_interleaved({"a": lambda: seen.append(gc.isenabled())}, Settings(5, 0))
        assert gc.isenabled() is was_on
    finally:
        gc.enable()
    assert set(seen) == {False}


def test_delay_comes_before_each_timed_run_and_is_not_timed():
    clock, log, waits = FakeClock(), [], []

    def sleep(seconds):
        waits.append(seconds)
        clock.now_ns += round(seconds * 1e9)

    result = time_interleaved(
        {"a": clock.call("a", 1, log)},
        Settings(10, 0, warmup_runs=0, run_delay=0.25),
        clock_ns=clock,
        sleep=sleep,
    )
    assert waits == [0.25] * 10
    assert set(result["a"]) == {1_000_000}


@pytest.mark.parametrize(
    "values",
    [
        {"num_runs": 0},
        {"warmup_runs": -1},
        {"min_secs": -0.1},
        {"min_secs": float("nan")},
        {"max_secs": 0},
        {"max_secs": float("inf")},
        {"run_delay": -1},
        {"sustained_mins": -1},
        {"sustained_mins": float("nan")},
    ],
    ids=str,
)
def test_impossible_settings(values):
    with pytest.raises(UsageError, match=r"Expected .* Received: "):
        Settings(**values)
