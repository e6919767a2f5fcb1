"""Counts and latencies of a live run."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pocketlens.clock import CLOCK, Clock
from pocketlens.runtime.live.frames import CaptureCounts

PARTS = ("capture", "resize", "invoke", "post", "classify")
"""What takes time at a frame; `classify` is the whole of the three before it."""

# A camera may run for months; the latencies of the last frames say enough.
_LATENCIES = 10_000


def counted(count: int, name: str) -> str:
    """Return a count with the name of what is counted, given in the plural: 1 event, 2 events."""
    return f"{count} {re.sub(r's(?= lost$|$)', '', name) if count == 1 else name}"


@dataclass(frozen=True)
class Latency:
    """Median and 95th percentile in milliseconds, over the last 10,000 frames."""

    median_ms: float
    p95_ms: float


@dataclass(frozen=True)
class LiveSummary:
    """What a run came to.

    `frames` were classified; `unusable` ones have no answer, because the model gave NaN or infinite
    scores. `events` is how often the decision changed, `shifts` how often frames were found to
    differ from the photos the model was made with; `counts` is what happened while capturing. `fps`
    is the rate of answers per second. Of the latencies `classify` is the whole of `resize`,
    `invoke` and `post`.
    """

    frames: int
    unusable: int
    events: int
    shifts: int
    counts: CaptureCounts
    seconds: float
    fps: float
    capture: Latency
    resize: Latency
    invoke: Latency
    post: Latency
    classify: Latency

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain JSON values."""
        latencies = {name: getattr(self, name) for name in PARTS}
        return {
            "frames": self.frames,
            "unusable": self.unusable,
            "events": self.events,
            "shifts": self.shifts,
            **asdict(self.counts),
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 3),
            "latency_ms": {
                name: {"median": round(entry.median_ms, 3), "p95": round(entry.p95_ms, 3)}
                for name, entry in latencies.items()
            },
        }

    def line(self, written: Mapping[str, int]) -> str:
        """Return the summary, and counts of what was written by name, as one line for people."""
        counts = {
            "unusable": self.unusable,
            **asdict(self.counts),
            "events": self.events,
            "shifts": self.shifts,
        }
        named = {**counts, **{name.replace("_", " "): count for name, count in written.items()}}
        more = "".join(f", {counted(count, name)}" for name, count in named.items() if count)
        if not self.frames:
            return f"0 frames{more} in {self.seconds:.1f} s"
        return (
            f"{counted(self.frames, 'frames')}{more} in {self.seconds:.1f} s: {self.fps:.1f} fps; "
            f"classify {self.classify.median_ms:.1f} ms (95 %: {self.classify.p95_ms:.1f}), "
            f"capture {self.capture.median_ms:.1f} ms (95 %: {self.capture.p95_ms:.1f})"
        )


class Measures:
    """Collects what a run's summary says.

    Args:
        clock: what the run goes by.
    """

    def __init__(self, clock: Clock = CLOCK) -> None:
        self._clock = clock
        self.frames = 0
        self.unusable = 0
        self.events = 0
        self.shifts = 0
        self._started_s = clock.now_s()
        self._first_s = self._last_s = self._started_s
        self._latencies_ms: dict[str, deque[float]] = {
            name: deque(maxlen=_LATENCIES) for name in PARTS
        }

    def add(self, latencies_ms: Mapping[str, float], *, event: bool, now_s: float) -> None:
        """Count a classified frame; `now_s` is the clock's time when it was."""
        if not self.frames:
            self._first_s = now_s
        self._last_s = now_s
        self.frames += 1
        self.events += event
        for name, value_ms in latencies_ms.items():
            self._latencies_ms[name].append(value_ms)

    def summary(self, counts: CaptureCounts) -> LiveSummary:
        """Return what it came to until now."""
        # From answer to answer, so that a camera's warming up does not count.
        between_s = self._last_s - self._first_s
        seconds = self._clock.now_s() - self._started_s
        fps = (self.frames - 1) / between_s if between_s > 0 else self.frames / max(seconds, 1e-9)
        latencies = {name: _latency(values) for name, values in self._latencies_ms.items()}
        return LiveSummary(
            self.frames, self.unusable, self.events, self.shifts, counts, seconds, fps, **latencies
        )


def _latency(values_ms: deque[float]) -> Latency:
    if not values_ms:
        return Latency(0.0, 0.0)
    median_ms, p95_ms = np.percentile(list(values_ms), (50, 95))
    return Latency(float(median_ms), float(p95_ms))
