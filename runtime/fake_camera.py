"""A camera that is not there: scripted frames and faults, for tests and for trying things out."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import numpy as np

from pocketlens.runtime.pictures import Pixels

# A frame carries its number in its first pixel, so that it can be known again.
_BASE = 256


class FakeCamera:
    """A camera whose frames and faults are written down beforehand, by frame number from 0.

    Each frame is different: `frame_number` tells which one it is.

    Args:
        size_wh: width and height of the frames in pixels.
        fps: the rate that it declares, frames per second.
        interval_s: how long it really takes from frame to frame, in seconds; 0 is as fast as it
            is read.
        frames: how many there are before it ends; None never ends.
        delays_s: extra seconds before single frames come.
        errors: exceptions that come in place of single frames.
        hangs_at: the frame that never comes.
        live: False plays a file: nothing is lost when it is read late.
    """

    def __init__(
        self,
        *,
        size_wh: tuple[int, int] = (64, 48),
        fps: float | None = 30.0,
        interval_s: float = 0.0,
        frames: int | None = None,
        delays_s: Mapping[int, float] | None = None,
        errors: Mapping[int, Exception] | None = None,
        hangs_at: int | None = None,
        live: bool = True,
    ) -> None:
        self.live = live
        self.fps = fps
        self.size_wh = size_wh
        self.closed = False
        self._interval_s = interval_s
        self._frames = frames
        self._delays_s = dict(delays_s or {})
        self._errors = dict(errors or {})
        self._hangs_at = hangs_at
        self._number = 0
        self._due: float | None = None

    def read(self) -> Pixels | None:
        """Wait for the next frame and return it, uint8 (height, width, 3) BGR, or None.

        Raises:
            Exception: the one that the script has for this frame.
        """
        number = self._number
        if self.closed or (self._frames is not None and number >= self._frames):
            return None
        if number == self._hangs_at:
            threading.Event().wait()
        self._wait(self._interval_s + self._delays_s.get(number, 0.0))
        self._number += 1
        if number in self._errors:
            raise self._errors[number]
        return numbered_frame(number, self.size_wh)

    def close(self) -> None:
        """End the frames."""
        self.closed = True

    def _wait(self, seconds: float) -> None:
        # Against the clock, not frame by frame: sleeping adds up to a slower camera.
        now = time.monotonic()
        self._due = max(now, (self._due if self._due is not None else now) + seconds)
        time.sleep(self._due - now)


def numbered_frame(number: int, size_wh: tuple[int, int]) -> Pixels:
    """Return a frame that shows its number: uint8 (height, width, 3), BGR."""
    width, height = size_wh
    frame_bgr = np.full((height, width, 3), 40 + number * 7 % 160, np.uint8)
    frame_bgr[0, 0] = number % _BASE, number // _BASE % _BASE, number // _BASE**2 % _BASE
    return frame_bgr


def frame_number(frame_bgr: Pixels) -> int:
    """Return the number of a frame that `numbered_frame` made and nothing has compressed."""
    low, middle, high = (int(value) for value in frame_bgr[0, 0])
    return low + _BASE * middle + _BASE**2 * high
