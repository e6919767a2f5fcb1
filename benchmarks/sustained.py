"""One file without a pause for minutes: whether it gets slower as the machine gets hot."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pocketlens.runtime.machine import read_temperature_c

# A curve of so many points is smooth; none stands for less than a second.
_MOMENTS = 240
_LEAST_S = 1.0
_COMPARED_S = 60.0


@dataclass(frozen=True)
class Moment:
    """A stretch of a sustained run that ended `at_s` seconds after the start.

    `median_ms` and `p95_ms` are of its `frames`; `temperature_c` is that of the processor at its
    end, None where the machine tells none.
    """

    at_s: float
    frames: int
    median_ms: float
    p95_ms: float
    temperature_c: float | None


@dataclass(frozen=True)
class Sustained:
    """How a file went on with so many threads, frame after frame, for a long time."""

    file: str
    threads: int
    moments: tuple[Moment, ...]

    @property
    def first_ms(self) -> float:
        """The median time for a frame at the start: the first minute, or third if that is less."""
        return _median(self.moments[: self._compared])

    @property
    def last_ms(self) -> float:
        """The median time for a frame in as long a stretch at the end."""
        return _median(self.moments[-self._compared :])

    @property
    def slowdown(self) -> float:
        """How many times as long a frame took at the end as at the start."""
        return self.last_ms / self.first_ms

    @property
    def temperatures_c(self) -> list[float]:
        """The temperatures that the machine told, in their order."""
        return [m.temperature_c for m in self.moments if m.temperature_c is not None]

    @property
    def sentence(self) -> str:
        """What became of the time for a frame, and of the temperature."""
        told = self.temperatures_c
        heat = "no temperature sensor here"
        if told:
            heat = f"{told[0]:.0f} °C at the start, {max(told):.0f} at most"
        minutes = self.moments[-1].at_s / 60
        return (
            f"{self.file} for {minutes:.3g} min without a pause: {self.first_ms:.2f} ms per frame "
            f"at the start, {self.last_ms:.2f} at the end ({self.slowdown:.2f} times as long); "
            f"{heat}."
        )

    @property
    def _compared(self) -> int:
        stretch_s = self.moments[-1].at_s / len(self.moments)
        return max(1, min(round(_COMPARED_S / stretch_s), len(self.moments) // 3))


def sustain(
    classify: Callable[[], object],
    minutes: float,
    *,
    clock_s: Callable[[], float] = time.perf_counter,
    read_temperature: Callable[[], float | None] = read_temperature_c,
    on_moment: Callable[[float], None] = lambda _: None,
) -> tuple[Moment, ...]:
    """Call a function without a pause and say how long it took, stretch by stretch.

    Args:
        classify: what to call.
        minutes: how long; a call that has begun is finished.
        clock_s: returns the time in seconds.
        read_temperature: returns the processor's temperature in degrees Celsius, or None.
        on_moment: is called after each stretch with how much is done, in 0-1.
    """
    whole_s = 60 * minutes
    stretch_s = max(_LEAST_S, whole_s / _MOMENTS)
    moments: list[Moment] = []
    start_s = now_s = clock_s()
    while now_s - start_s < whole_s:
        durations_s: list[float] = []
        end_s = min(start_s + stretch_s * (len(moments) + 1), start_s + whole_s)
        while not durations_s or now_s < end_s:
            began_s = clock_s()
            classify()
            now_s = clock_s()
            durations_s.append(now_s - began_s)
        median_ms, p95_ms = 1000 * np.percentile(durations_s, (50, 95))
        moments.append(
            Moment(
                now_s - start_s,
                len(durations_s),
                float(median_ms),
                float(p95_ms),
                read_temperature(),
            )
        )
        on_moment(min(1.0, (now_s - start_s) / whole_s))
    return tuple(moments)


def _median(moments: Sequence[Moment]) -> float:
    return float(np.median([moment.median_ms for moment in moments]))
