"""Which machine the figures are from."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from pocketlens.runtime.machine import count_cores, cpu_name, measure_busy_cores

_BUSY_SHARE = 0.2


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
        interpreter=f"{backend.name} {backend.version}",
        pocketlens=__version__,
    )
