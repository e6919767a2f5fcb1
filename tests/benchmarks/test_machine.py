"""What is said about the machine, and what is warned of."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from timing import wait_for

from pocketlens.benchmarks import benchmark
from pocketlens.benchmarks.latency import Settings
from pocketlens.benchmarks.machine import Condition, Watch, describe_machine
from pocketlens.runtime.machine import Governor, Throttling

QUIET = Condition(0.0, 50.0, Throttling((), ()))
SPIN = [sys.executable, "-c", "while True: pass"]


def _throttled(now=(), before=()):
    return Condition(0.0, 50.0, Throttling(tuple(now), tuple(before)))


@pytest.fixture
def machine(made_up):
    machine = made_up(("int8", 4, None, {1: 3.0})).machine
    return dataclasses.replace(machine, before=QUIET, after=QUIET)


def test_this_machine():
    machine = describe_machine()
    assert machine.cores >= 1
    assert machine.interpreter.split()[1][0].isdigit()
    assert machine.interpreter in machine.summary


@pytest.mark.parametrize(
    ("busy", "cores", "is_busy"),
    [
        (None, 4, False),
        (0.1, 1, False),
        (0.5, 2, True),
        (1.0, 4, True),
        (0.5, 4, False),
        (0.95, 64, True),
    ],
)
def test_is_busy(machine, busy, cores, is_busy):
    for changed in ("before", "after"):
        condition = {changed: dataclasses.replace(QUIET, busy_cores=busy)}
        assert dataclasses.replace(machine, cores=cores, **condition).is_busy is is_busy


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param({"emulator": "qemu-aarch64"}, "emulated by qemu-aarch64", id="emulation"),
        pytest.param({"after": Condition(1.0)}, "kept 1.0 of 4 cores busy", id="load, after"),
        pytest.param({"before": Condition(1.0)}, "kept 1.0 of 4 cores busy", id="load, before"),
        pytest.param({"after": _throttled(["throttled"])}, "down (throttled)", id="throttled"),
        pytest.param(
            {"after": _throttled([], ["under-voltage"])}, "(under-voltage)", id="throttled between"
        ),
        pytest.param({"after": Condition(0.0, 84.6)}, "at 85 °C", id="hot"),
        pytest.param(
            {"governor": Governor("ondemand", "cpufreq-dt")}, "governor is ondemand", id="governor"
        ),
        pytest.param(
            {"governor": Governor("powersave", "intel_pstate")}, "is powersave", id="P-states"
        ),
    ],
)
def test_warnings(machine, changed, said):
    (warning,) = dataclasses.replace(machine, **changed).warnings
    assert said in warning


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, id="quiet"),
        pytest.param({"governor": Governor("performance", "")}, id="steady clock"),
        pytest.param({"after": None}, id="not measured yet"),
        pytest.param({"before": Condition(), "after": Condition()}, id="nothing is told"),
        pytest.param(
            {"before": _throttled([], ["throttled"]), "after": _throttled([], ["throttled"])},
            id="throttled long ago",
        ),
    ],
)
def test_no_warning(machine, changed):
    assert dataclasses.replace(machine, **changed).warnings == ()


@pytest.mark.parametrize(
    ("start", "end", "busy_cores"),
    [
        pytest.param((0, 100, 10), (10, 118, 15), 1.3, id="13 of 18 s in 10 s"),
        pytest.param((0, 100, 10), (10, 104.99, 15), 0.0, id="own work alone"),
        pytest.param((0, None, 10), (10, None, 15), None, id="not told"),
    ],
)
def test_own_work_is_not_that_of_others(monkeypatch, start, end, busy_cores):
    times = iter((start, end))
    monkeypatch.setattr("pocketlens.benchmarks.machine.read_clocks", lambda: next(times))
    assert Watch().read().busy_cores == busy_cores


@pytest.mark.real_time
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc/stat is Linux's")
def test_a_core_kept_busy_by_another_program_is_said(elsewhere_model, caplog):
    spin = subprocess.Popen(SPIN)
    try:
        # Its user time in ticks, once it runs.
        wait_for(lambda: int(Path(f"/proc/{spin.pid}/stat").read_text().split()[13]) >= 5)
        result = benchmark([elsewhere_model], settings=Settings(20, 0.5, warmup_runs=1))
    finally:
        spin.kill()
        spin.wait()
    assert result.machine.before.busy_cores >= 0.5
    assert result.machine.after.busy_cores >= 0.4
    assert any("cores busy" in warning for warning in result.machine.warnings)
    assert "cores busy" in caplog.text
