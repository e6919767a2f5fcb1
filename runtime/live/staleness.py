"""When a source without new frames is stale and when it hangs: the one rule for all captures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketlens.clock import Clock

# The process that reads a camera imports this through its source; it needs no classifier.
if TYPE_CHECKING:
    from pocketlens.runtime.live.frames import CaptureLimits

# How many frames late a source of a low rate may be before it is stale, and before it hangs.
_STALE_FRAMES = 2.5
_SILENT_FRAMES = 5.0
# How long an answer may take after the consumer was busy with something else: until the source is
# stale, and until it counts as hanging.
_ANSWER_S = 0.3
_LONGEST_ANSWER_S = 1.0


def allowance_s(least_s: float, frames: float, fps: float | None) -> float:
    """Return how long a number of frames takes at a rate, but at least `least_s`; in seconds."""
    return max(least_s, frames / fps if fps else 0.0)


class Staleness:
    """Tells from when frames came and were asked for whether a source is stale.

    While nobody asks, a source is neither stale nor hanging: a consumer that was busy finds out
    only by asking, and then an answer gets a moment to arrive.

    Args:
        limits: how long what may take.
        clock: all times here are its.
    """

    def __init__(self, limits: CaptureLimits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._fps: float | None = None
        self._asked_s: float | None = None
        self.opened_s = self.came_s = clock.now_s()

    @property
    def stale_s(self) -> float:
        """How old the newest frame may be, in seconds."""
        return allowance_s(self._limits.stale_s, _STALE_FRAMES, self._fps)

    @property
    def silence_s(self) -> float:
        """How long a source may be silent before it counts as hanging, in seconds."""
        return allowance_s(self._limits.silence_s, _SILENT_FRAMES, self._fps)

    def opened(self, fps: float | None) -> None:
        """Note that the source was opened; `fps` is the rate that it declares."""
        self._fps = fps
        self.opened_s = self.came_s = self._clock.now_s()

    def ask(self) -> None:
        """Note that somebody waits for a frame, unless that is known already."""
        if self._asked_s is None:
            self._asked_s = self._clock.now_s()

    def come(self, time_s: float) -> bool:
        """Note that a frame came at a time; returns whether it is still fresh."""
        self.came_s = time_s
        return self._clock.now_s() - time_s <= self.stale_s

    def answer(self) -> None:
        """Note that nobody waits for a frame any more."""
        self._asked_s = None

    @property
    def left_s(self) -> float:
        """How long until the source is stale, in seconds; 0 or less where it is."""
        return self._left_s(self.stale_s, _ANSWER_S)

    @property
    def hangs(self) -> bool:
        """Whether the source has been silent for too long to come back by itself."""
        return self._left_s(self.silence_s, _LONGEST_ANSWER_S) < 0

    def _left_s(self, limit_s: float, answer_s: float) -> float:
        now_s = self._clock.now_s()
        asked_s = now_s if self._asked_s is None else self._asked_s
        return max(self.came_s + limit_s, asked_s + answer_s) - now_s
