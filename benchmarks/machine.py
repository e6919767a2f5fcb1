"""Which machine the figures are from."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_STAT = Path("/proc/stat")
_WATCHED_S = 0.3
_BUSY_SHARE = 0.2
# x86 has a "model name" for each core; Arm boards have one "Model" for the whole board.
_CPU_KEYS = ("model name", "Model", "Hardware")


@dataclass(frozen=True)
class Machine:
    """A machine and the libraries on it.

    `cores` is how many this process may use. `busy_cores` is how many cores' time others took
    while this process slept for a moment before measuring, or None where the system does not tell.
    """

    cpu: str
    architecture: str
    system: str
    cores: int
    busy_cores: float | None
    python: str
    numpy: str
    opencv: str
    interpreter: str
    pocketlens: str

    @property
    def is_busy(self) -> bool:
        """Whether others used so much of the machine that it shows in the times."""
        return self.busy_cores is not None and self.busy_cores >= _BUSY_SHARE * self.cores


def describe_machine() -> Machine:
    """Describe the machine that this runs on, as it is now."""
    import cv2
    import numpy as np

    from pocketlens import __version__
    from pocketlens.runtime.interpreters import find_backend

    backend = find_backend()
    return Machine(
        cpu=cpu_name(),
        architecture=platform.machine(),
        system=f"{platform.system()} {platform.release()}",
        cores=count_cores(),
        busy_cores=measure_busy_cores(),
        python=platform.python_version(),
        numpy=np.__version__,
        opencv=cv2.__version__,
        interpreter=f"{backend.name} {_version(backend)}",
        pocketlens=__version__,
    )


def cpu_name(cpuinfo: Path = _CPUINFO) -> str:
    """Return the processor's or the board's name, or its architecture where no name is known."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    entries = {
        key.strip(): value.strip()
        for key, colon, value in (x.partition(":") for x in lines)
        if colon
    }
    for key in _CPU_KEYS:
        if entries.get(key):
            return " ".join(entries[key].split())
    if platform.system() == "Darwin":
        try:
            answer = subprocess.run(
                ["sysctl", "-n", "machdep.cpu.brand_string"],
                capture_output=True,
                text=True,
                check=True,
            )
            return answer.stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            pass
    return platform.processor() or platform.machine() or "unknown processor"


def count_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def measure_busy_cores(stat: Path = _STAT, seconds: float = _WATCHED_S) -> float | None:
    """Return how many cores were busy while this process slept, or None where that is not told.

    The load average would not do: for a minute it still counts what this process itself did.
    """
    before = _cpu_ticks(stat)
    time.sleep(seconds)
    after = _cpu_ticks(stat)
    if before is None or after is None or after[1] <= before[1]:
        return None
    idle, total = after[0] - before[0], after[1] - before[1]
    return round((1 - idle / total) * (os.cpu_count() or 1), 2)


def _cpu_ticks(stat: Path) -> tuple[int, int] | None:
    """Return idle and all ticks of all cores since the start (proc(5), /proc/stat)."""
    try:
        name, *ticks = stat.read_text().splitlines()[0].split()
        # user nice system idle iowait irq softirq steal; guest times are counted in user.
        counts = [int(tick) for tick in ticks[:8]]
    except (OSError, ValueError, IndexError):
        return None
    return (counts[3] + counts[4], sum(counts)) if name == "cpu" and len(counts) == 8 else None


def _version(backend: object) -> str:
    from importlib.metadata import PackageNotFoundError

    try:
        return str(backend.version)  # type: ignore[attr-defined]
    except PackageNotFoundError:
        return "(unknown version)"
