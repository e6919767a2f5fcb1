"""Which machine the figures are from, and what on it spoils them."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass

from pocketlens.runtime.machine import (
    HOT_C,
    Governor,
    Throttling,
    cpu_name,
    find_emulator,
    measure_busy_cores,
    read_busy_s,
    read_cpu_features,
    read_governor,
    read_memory,
    read_temperature_c,
    read_throttling,
)
from pocketlens.workers import count_cores

_BUSY_SHARE = 0.2
# One core kept busy by another program counts on every machine.
_BUSY_CORE = 0.8


@dataclass(frozen=True)
class Condition:
    """What may change while measuring; None stands for what the system does not tell.

    `busy_cores` is how many cores' time others took, `temperature_c` that of the hottest sensor of
    the processor, `throttling` what a Raspberry Pi says of being slowed down.
    """

    busy_cores: float | None = None
    temperature_c: float | None = None
    throttling: Throttling | None = None


@dataclass(frozen=True)
class Machine:
    """A machine and the libraries on it; None stands for what the system does not tell.

    `features` are what its processor has for arithmetic. `cores` is how many this process may use.
    `emulator` is the program that plays the processor, None for a real one. `before` is how it was
    just before measuring, with what others did while this process slept for a moment; `after` is
    how it was when the times were taken, with what others did meanwhile.
    """

    cpu: str
    architecture: str
    system: str
    cores: int
    features: tuple[str, ...] | None
    memory_bytes: int | None
    governor: Governor | None
    emulator: str | None
    python: str
    numpy: str
    opencv: str
    interpreter: str
    pocketlens: str
    before: Condition
    after: Condition | None = None

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """How it was before and, where that is known, after."""
        return (self.before, self.after) if self.after else (self.before,)

    @property
    def busy_cores(self) -> float | None:
        """How many cores others kept busy, before or while measuring, whichever is more."""
        known = [entry.busy_cores for entry in self.conditions if entry.busy_cores is not None]
        return max(known, default=None)

    @property
    def is_busy(self) -> bool:
        """Whether others used so much of the machine that it shows in the times."""
        least = min(_BUSY_SHARE * self.cores, _BUSY_CORE)
        return self.busy_cores is not None and self.busy_cores >= least

    @property
    def summary(self) -> str:
        """All of it but the versions of libraries that only calculate, in a line."""
        words = [self.cpu, f"{self.cores} core{'s' if self.cores > 1 else ''}"]
        words += self.features or ()
        words += [f"governor {self.governor.name}"] if self.governor else []
        heat = [e.temperature_c for e in self.conditions if e.temperature_c is not None]
        words += [" → ".join(f"{value:.0f}" for value in heat) + " °C"] if heat else []
        return ", ".join([*words, self.interpreter])

    @property
    def facts(self) -> dict[str, str]:
        """All that is known of it, by name, in words."""
        facts: dict[str, object] = {
            "cpu": self.cpu,
            "features": None if self.features is None else ", ".join(self.features),
            "cores": self.cores,
            "memory": self.memory_bytes and f"{self.memory_bytes / 1e9:.1f} GB",
            "governor": self.governor and self.governor.name,
            "emulator": self.emulator,
        }
        for when, entry in zip(("before", "after"), self.conditions, strict=False):
            facts |= {
                f"cores busy with others {when}": entry.busy_cores,
                f"temperature {when}": entry.temperature_c and f"{entry.temperature_c:.0f} °C",
                f"slowed down {when}": entry.throttling
                and (", ".join(entry.throttling.now) or "no"),
            }
        names = ("architecture", "system", "python", "numpy", "opencv", "interpreter", "pocketlens")
        facts |= {name: getattr(self, name) for name in names}
        return {name: str(value) for name, value in facts.items() if value is not None}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the times longer or less steady than they could be, a sentence each."""
        return tuple(
            text
            for text in (
                self._emulator_warning(),
                self._load_warning(),
                self._throttling_warning(),
                self._heat_warning(),
                self._governor_warning(),
            )
            if text
        )

    def _emulator_warning(self) -> str:
        if self.emulator is None:
            return ""
        return f"The processor is emulated by {self.emulator}: times on a real one differ."

    def _load_warning(self) -> str:
        if not self.is_busy:
            return ""
        return (
            f"Other programs kept {self.busy_cores:.1f} of {self.cores} cores busy: the times are "
            "too long; end them and measure again."
        )

    def _throttling_warning(self) -> str:
        known = [entry.throttling for entry in self.conditions if entry.throttling]
        words = [word for entry in known for word in entry.now]
        # What happened and passed meanwhile is only to be seen in what is kept since the start.
        words += [word for word in known[-1].before if word not in known[0].before] if known else []
        if not words:
            return ""
        return (
            f"The board was slowed down ({', '.join(dict.fromkeys(words))}): cool it, use a "
            "stronger power supply, and measure again."
        )

    def _heat_warning(self) -> str:
        most = max((entry.temperature_c or 0.0 for entry in self.conditions), default=0.0)
        if most < HOT_C:
            return ""
        return f"The processor was at {most:.0f} °C, where many slow down: cool it."

    def _governor_warning(self) -> str:
        if self.governor is None or self.governor.name == "performance":
            return ""
        return (
            f"The governor is {self.governor.name}, which changes the clock; for steady times: "
            "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        )


class Watch:
    """Looks at what others do to the machine from its making on."""

    def __init__(self) -> None:
        self._start = read_clocks()

    def read(self) -> Condition:
        """Return how the machine is now, and what others did since the start."""
        wall_s, busy_s, own_s = (
            None if now is None or then is None else now - then
            for now, then in zip(read_clocks(), self._start, strict=True)
        )
        busy_cores = None
        if wall_s and busy_s is not None and own_s is not None:
            # Ticks are coarse, so that own time may come out longer than all.
            busy_cores = round(max(0.0, busy_s - own_s) / wall_s, 2)
        return Condition(busy_cores, read_temperature_c(), read_throttling())


def describe_machine(backend: str | None = None) -> Machine:
    """Describe the machine that this runs on, as it is now.

    Args:
        backend: name of the interpreter; None takes the first that is installed.
    """
    import cv2
    import numpy as np

    from pocketlens import __version__
    from pocketlens.runtime.interpreters import find_backend

    found = find_backend(backend)
    features, memory = read_cpu_features(), read_memory()
    names = (features.vectors, features.dot_products, features.half_floats) if features else ()
    return Machine(
        cpu=cpu_name(),
        architecture=platform.machine(),
        system=f"{platform.system()} {platform.release()}",
        cores=count_cores(),
        features=tuple(name for name in names if name) if features else None,
        memory_bytes=memory.total_bytes if memory else None,
        governor=read_governor(),
        emulator=find_emulator(),
        python=platform.python_version(),
        numpy=np.__version__,
        opencv=cv2.__version__,
        interpreter=f"{found.name} {found.version}",
        pocketlens=__version__,
        before=Condition(measure_busy_cores(), read_temperature_c(), read_throttling()),
    )


def read_clocks() -> tuple[float, float | None, float]:
    """Return the time, the busy time of all cores and that of this process, in seconds."""
    used = os.times()
    own_s = used.user + used.system + used.children_user + used.children_system
    return time.monotonic(), read_busy_s(), own_s
