"""Which machine the figures are from."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# x86 has a "model name" for each core; Arm boards have one "Model" for the whole board.
_CPU_KEYS = ("model name", "Model", "Hardware")


@dataclass(frozen=True)
class Machine:
    """A machine and the libraries on it.

    `cores` is how many this process may use. `load_average` is how many processes wanted to run
    over the last minute before measuring, or None where the system does not tell.
    """

    cpu: str
    architecture: str
    system: str
    cores: int
    load_average: float | None
    python: str
    numpy: str
    opencv: str
    interpreter: str
    pocketlens: str

    @property
    def is_busy(self) -> bool:
        """Whether something else was using half of the machine or more."""
        return self.load_average is not None and self.load_average >= max(0.7, self.cores / 2)


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
        load_average=_load_average(),
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


def _load_average() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def _version(backend: object) -> str:
    from importlib.metadata import PackageNotFoundError

    try:
        return str(backend.version)  # type: ignore[attr-defined]
    except PackageNotFoundError:
        return "(unknown version)"
