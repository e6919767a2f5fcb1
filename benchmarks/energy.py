"""What an inference takes in energy, where the kernel has a sensor for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

K = TypeVar("K", bound=Hashable)

_SYS = Path("/sys")
_SECONDS = 1.0
# INA sensors average by themselves over milliseconds; reading them more often wakes the bus up.
_BETWEEN_SAMPLES_S = 0.05


@dataclass(frozen=True)
class Energy:
    """What `source` saw, the share of everything else that it feeds included.

    `invoke_mj` is a bare inference's millijoules: the `watts` while inferences ran one after the
    other, times how long each took. `idle_watts` is what flowed while this process slept.
    """

    source: str
    invoke_mj: float
    watts: float
    idle_watts: float


class Meter(Protocol):
    """Counts joules from `start` on."""

    @property
    def source(self) -> str:
        """What to call it."""

    def start(self) -> None:
        """Begin at 0."""

    def joules(self) -> float:
        """Return what was used since `start`; to be called every now and then meanwhile."""


@dataclass
class RaplMeter:
    """The energy counters of Intel and AMD processors (kernel: Documentation/power/powercap).

    `zones` are those of the packages. The counters start again at 0 beyond their range.
    """

    zones: tuple[Path, ...]
    source: str = "RAPL"
    _last_uj: list[int] = field(default_factory=list)
    _used_uj: int = 0

    def start(self) -> None:
        """Begin at 0."""
        self._used_uj, self._last_uj = 0, self._read()

    def joules(self) -> float:
        """Return what the packages used since `start`."""
        now_uj = self._read()
        for zone, now, last in zip(self.zones, now_uj, self._last_uj, strict=True):
            around = _number(zone / "max_energy_range_uj") or 0 if now < last else 0
            self._used_uj += now - last + around
        self._last_uj = now_uj
        return self._used_uj / 1e6

    def _read(self) -> list[int]:
        return [_number(zone / "energy_uj") or 0 for zone in self.zones]


@dataclass
class InaMeter:
    """A Texas Instruments INA sensor (kernel: Documentation/hwmon/ina2xx.rst, ina3221.rst).

    It knows power, which is added up here over time: microwatts, or, of a sensor that has none,
    millivolts and milliamperes of its first channel.
    """

    folder: Path
    source: str
    clock_s: Callable[[], float] = time.monotonic
    _sampled_s: float = 0.0
    _watts: float = 0.0
    _joules: float = 0.0

    def start(self) -> None:
        """Begin at 0."""
        self._joules, self._watts, self._sampled_s = 0.0, self._power(), self.clock_s()

    def joules(self) -> float:
        """Return what flowed through the sensor since `start`."""
        now_s = self.clock_s()
        if now_s - self._sampled_s >= _BETWEEN_SAMPLES_S:
            watts = self._power()
            self._joules += (now_s - self._sampled_s) * (watts + self._watts) / 2
            self._sampled_s, self._watts = now_s, watts
        return self._joules + (now_s - self._sampled_s) * self._watts

    def _power(self) -> float:
        return (read_microwatts(self.folder) or 0) / 1e6


def find_meter(sys: Path = _SYS) -> Meter | None:
    """Return the sensor of this machine, or None where there is none that may be read."""
    zones = tuple(
        zone
        for zone in sorted((sys / "class/powercap").glob("intel-rapl:*"))
        if _text(zone / "name").startswith("package") and _number(zone / "energy_uj") is not None
    )
    if zones:
        return RaplMeter(zones)
    for folder in sorted((sys / "class/hwmon").glob("hwmon*")):
        name = _text(folder / "name")
        if name.startswith("ina") and read_microwatts(folder) is not None:
            rail = _text(folder / "in1_label")
            return InaMeter(folder, f"{name} {rail}".strip().upper())
    return None


def read_microwatts(folder: Path) -> int | None:
    """Return the power that a sensor sees now, or None where it says nothing."""
    power = _number(folder / "power1_input")
    if power is not None:
        return power
    millivolts, milliamperes = _number(folder / "in1_input"), _number(folder / "curr1_input")
    return None if millivolts is None or milliamperes is None else millivolts * milliamperes


def measure_energy(
    calls: Mapping[K, Callable[[], object]],
    meter: Meter,
    *,
    seconds: float = _SECONDS,
    clock_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> dict[K, Energy]:
    """Run each call again and again for a while, and one while nothing.

    Args:
        calls: what to measure, by name.
        meter: the sensor.
        seconds: for how long to run each.
        clock_s: returns the time in seconds.
        sleep: waits for so many seconds.
    """
    _, idle_watts, _ = _run(lambda: sleep(_BETWEEN_SAMPLES_S), meter, seconds, clock_s)
    found = {}
    for name, call in calls.items():
        call()
        runs, watts, elapsed_s = _run(call, meter, seconds, clock_s)
        found[name] = Energy(meter.source, 1000 * watts * elapsed_s / runs, watts, idle_watts)
    return found


def _run(
    call: Callable[[], object], meter: Meter, seconds: float, clock_s: Callable[[], float]
) -> tuple[int, float, float]:
    """Return how often a call ran, the watts meanwhile, and for how many seconds."""
    runs, start_s = 0, clock_s()
    meter.start()
    while True:
        call()
        runs += 1
        joules, elapsed_s = meter.joules(), clock_s() - start_s
        if elapsed_s >= seconds:
            return runs, joules / elapsed_s, elapsed_s


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdecimal() else None
