"""The timing in several processes: what each is asked for, and what comes back."""

import dataclasses
import os
import signal
import time

import numpy as np
import pytest

from pocketlens.benchmarks import benchmark, machine, processes
from pocketlens.benchmarks.candidates import read_candidates
from pocketlens.benchmarks.latency import Settings
from pocketlens.benchmarks.processes import (
    PROCESSES,
    Series,
    summarise,
    time_in_process,
    time_in_processes,
)
from pocketlens.errors import ModelFileError
from pocketlens.runtime.hints import ModelHints
from pocketlens.workers import start_child

QUICK = Settings(num_runs=5, min_secs=0.0, warmup_runs=0)


def _ignore(done):
    pass


@pytest.fixture
def candidates(tiny_models):
    return read_candidates([tiny_models[key] for key in ("float32", "int8")])[0]


@pytest.fixture
def asked(monkeypatch):
    """Record what each process is asked for, and answer with as many runs, a second each time."""
    asked, now_s = [], [0.0]

    def answer(candidates, threads, settings, on_round):
        asked.append(settings)
        now_s[0] += 1
        on_round(1.0)
        return Series({((0, 1), "invoke"): np.ones((settings.num_runs, 1), np.int64)}, {}, {})

    monkeypatch.setattr(processes, "time_in_process", answer)
    monkeypatch.setattr(processes.time, "monotonic", lambda: now_s[0])
    return asked


@pytest.mark.parametrize(
    ("num_runs", "count", "each"),
    [
        pytest.param(1, 1, 1, id="one run"),
        pytest.param(9, 1, 9, id="less than two rounds"),
        pytest.param(25, 5, 5, id="just enough for an interval"),
        pytest.param(29, 5, 6, id="rounded up"),
        pytest.param(50, PROCESSES, 5, id="as by default"),
        pytest.param(1000, PROCESSES, 100, id="many"),
    ],
)
def test_what_is_asked_for_is_divided(asked, num_runs, count, each):
    found = time_in_processes((), (1,), Settings(num_runs, 0.5, 100.0, 5, 0.25, seed=7))
    assert len(found) == len(asked) == count
    assert {entry.num_runs for entry in asked} == {each}
    assert sum(entry.min_secs for entry in asked) == pytest.approx(0.5)
    assert {entry.warmup_runs for entry in asked} == {-(-5 // count)}
    assert {entry.run_delay for entry in asked} == {0.25}
    assert [entry.seed for entry in asked] == list(range(7, 7 + count))


def test_max_secs_are_for_all_processes_together_and_are_said_once(asked, caplog):
    found = time_in_processes((), (1,), Settings(max_secs=4.5))
    # A second passes for each process here, whatever it was given.
    assert [entry.max_secs for entry in asked] == pytest.approx(
        [0.45, 3.5 / 9, 2.5 / 8, 1.5 / 7, 0.5 / 6]
    )
    assert len(found) == 5
    (warning,) = caplog.messages
    assert warning == "Stopped after --max-secs 4.5: 25 of 50 runs."


def test_series_come_back_whole(candidates):
    seen = []
    settings = dataclasses.replace(QUICK, num_runs=10)
    series = time_in_process(candidates, (1, 2), settings, seen.append)
    rows = {(file, count) for file in (0, 1) for count in (1, 2)}
    assert set(series.parts_ms) == rows
    calls = {(row, call) for row in rows for call in ("invoke", "classify")}
    assert set(series.durations_ns) - calls == {((-1, 0), "yardstick")}
    assert set(series.firsts_ns) == set(series.durations_ns)
    for entry in series.durations_ns.values():
        assert entry.dtype == np.int64
        assert entry.shape == (2, 5)
        assert entry.min() > 0
    assert all(entry.shape == (10, 3) for entry in series.parts_ms.values())
    assert seen == [0.5, 1.0]


def test_the_bytes_that_were_read_are_timed_whatever_the_file_is_now(tiny_models, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_models["int8"].read_bytes())
    candidates, _ = read_candidates([path])
    path.write_bytes(b"something else")
    assert time_in_process(candidates, (1,), QUICK, _ignore).fewest == 5


def test_model_from_elsewhere_with_a_normalisation(elsewhere_model):
    candidates, _ = read_candidates([elsewhere_model])
    assert time_in_process(candidates, (1,), QUICK, _ignore).fewest == 5


def test_failure_is_one_sentence(candidates):
    spoilt = dataclasses.replace(candidates[0], hints=ModelHints(backend="another"))
    with pytest.raises(ModelFileError, match="one of the interpreters ai-edge-litert") as caught:
        time_in_process([spoilt], (1,), QUICK, _ignore)
    assert "in a separate process. Received: " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def children(monkeypatch):
    """Keep the processes that are started."""
    started = []

    def keep(module, **options):
        started.append(start_child(module, **options))
        return started[-1]

    monkeypatch.setattr(processes, "start_child", keep)
    return started


def test_process_that_is_killed_is_one_sentence(candidates, children):
    def kill(done):
        os.kill(children[0].pid, signal.SIGKILL)

    with pytest.raises(ModelFileError, match=r"Received: SIGKILL\. Free some memory"):
        time_in_process(candidates, (1,), Settings(), kill)


def test_interrupt_leaves_no_process_behind(candidates, children):
    def interrupt(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        time_in_process(candidates, (1,), Settings(), interrupt)
    assert children[0].returncode is not None


def test_process_ends_when_nobody_wants_its_times(candidates, children):
    def leave(done):
        children[0].stdin.close()
        assert children[0].wait(timeout=60) == 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        time_in_process(candidates, (1,), Settings(), leave)


def test_process_ignores_modules_in_the_current_folder(candidates, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("print('the wrong numpy')\nraise RuntimeError")
    monkeypatch.chdir(tmp_path)
    assert time_in_process(candidates, (1,), QUICK, _ignore).fewest == 5


@pytest.mark.real_time
def test_work_of_the_processes_is_our_own(candidates):
    before = machine.read_clocks()[2]
    waiting = time.process_time()
    time_in_process(candidates, (1,), Settings(num_runs=5, min_secs=0.2), _ignore)
    # A process calculates while we wait for it: on a busy machine for longer, not for less.
    assert machine.read_clocks()[2] - before > 0.2 + time.process_time() - waiting


def test_ratios_are_geometric_means_over_the_processes():
    def series(invoke_ms, other_ms):
        times = {(0, 1): other_ms, (1, 1): invoke_ms}
        durations_ns = {
            (row, call): np.full((1, 5), value * 1_000_000)
            for row, value in times.items()
            for call in ("invoke", "classify")
        }
        durations_ns[(-1, 0), "yardstick"] = np.full((1, 5), 1_000_000)
        firsts_ns = dict.fromkeys(durations_ns, 9_000_000)
        return Series(durations_ns, firsts_ns, dict.fromkeys(times, np.ones((5, 3))))

    found = summarise([series(1, 4), series(4, 4)], 0)
    assert found[1, 1].invoke_ratio == found[1, 1].classify_ratio == pytest.approx(0.5)
    assert found[1, 1].invoke_ratio_interval is None
    assert found[1, 1].yardstick.ratio == pytest.approx(2)
    assert found[1, 1].yardstick.shortest_ratio == pytest.approx(1)
    assert found[1, 1].invoke.runs == 10
    found = summarise([series(1, 4), *[series(4, 4)] * 4], 0)
    low, high = found[1, 1].invoke_ratio_interval
    assert low < found[1, 1].invoke_ratio < high
    assert found[0, 1].invoke_ratio_interval == pytest.approx((1, 1))


def test_a_mood_that_lasts_for_a_round_cancels_in_a_ratio():
    moods = np.random.default_rng(4).uniform(1, 3, (20, 1))
    times = {(0, 1): 4e6 * moods, (1, 1): 1e6 * moods[:19]}
    durations_ns = {
        (row, call): np.repeat(values, 5, axis=1).astype(np.int64)
        for row, values in times.items()
        for call in ("invoke", "classify")
    }
    durations_ns[(-1, 0), "yardstick"] = np.full((20, 5), 1_000_000)
    series = Series(
        durations_ns, dict.fromkeys(durations_ns, 1), dict.fromkeys(times, np.ones((100, 3)))
    )
    # The second was stopped a round early.
    assert summarise([series], 0)[1, 1].invoke_ratio == pytest.approx(0.25, rel=1e-5)


def test_benchmark_says_how_many_processes(elsewhere_model):
    timing = Settings(num_runs=10, min_secs=0.0, warmup_runs=0)
    (file,) = benchmark([elsewhere_model], settings=timing).files
    assert file.latencies[0].invoke.processes == 2
    assert file.latencies[0].invoke.runs == 10
