"""Watching for shift: some frames of a run, compared with the photos the model was made with."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from pocketlens.errors import UsageError
from pocketlens.runtime.live.frames import ShiftState
from pocketlens.runtime.pictures import Pixels, Resizer
from pocketlens.runtime.shift import LEAST_PHOTOS, compare, picture_numbers, shift_kind

if TYPE_CHECKING:
    from pocketlens.card import ModelCard
    from pocketlens.runtime.classifier import Result

DEFAULT_S = 60.0
"""Seconds from one frame that is looked at to the next, unless the user says otherwise."""
WINDOW = 50
"""Frames that are compared at a time."""
FALSE_ALARMS = 1e-4
"""The share of windows without a shift in which one is found, at most."""

# A shift ends where the frames are as likely as this without one: not so near to the other limit
# that it would come and go.
_NORMAL = 0.01
# Frame times are sums of such as 1 / 30 s.
_ROUNDING_S = 1e-6


def make_watch(
    card: ModelCard, every_s: float | None, path: str | os.PathLike[str]
) -> ShiftWatch | None:
    """Return the watch of a model, None for none.

    Args:
        card: the model's.
        every_s: seconds between the frames that are looked at, 0 for no watch, None for
            `DEFAULT_S` where the card tells of photos.
        path: what the model is called in errors.

    Raises:
        UsageError: seconds are given, but the card does not tell of photos, or they cannot be.
    """
    if every_s is not None and not 0 <= every_s < math.inf:
        raise UsageError(
            f"Expected --watch-shift as seconds, 0 for never. Received: {every_s:g}. "
            f"Leave it out for {DEFAULT_S:g}."
        )
    if every_s == 0 or (every_s is None and not card.shift):
        return None
    if not card.shift:
        raise UsageError(
            f"{path} does not say what its photos were like, which --watch-shift needs. Convert "
            "its run again, without --photos: frames are compared with the run's validation "
            f"photos, of which it needs at least {LEAST_PHOTOS}."
        )
    return ShiftWatch(card, DEFAULT_S if every_s is None else every_s)


class ShiftWatch:
    """Compares a frame now and then, and those before it, with the photos a model was made with.

    `kind` is how they differ, one of `SHIFT_KINDS`, None while they do not.

    With fewer than `WINDOW` frames it finds what is plain already. It looks at each new frame, so
    that chances add up: in 57,600 looks at simulated frames, a frame a minute for 40 days, there
    was no false alarm.

    Args:
        card: the model's, with a `shift` that is not empty.
        every_s: seconds between frames, by their own time.
    """

    def __init__(self, card: ModelCard, every_s: float = DEFAULT_S) -> None:
        self._reference: Mapping[str, Any] = card.shift
        self._unknown = card.unknown_index
        self._resize = Resizer(card.input_size_wh, card.resize_mode)
        self._every_s = every_s - _ROUNDING_S
        self._next_s = -math.inf
        self._window: deque[Mapping[str, float]] = deque(maxlen=WINDOW)
        self.kind: str | None = None

    def look(self, frame_bgr: Pixels, result: Result, time_s: float) -> ShiftState | None:
        """Take a frame if it is time for one.

        Args:
            frame_bgr: uint8 (height, width, 3), BGR.
            result: what the model says of it.
            time_s: its time, as `Captured` has it.

        Returns:
            what holds from now on, None where nothing changes.
        """
        if time_s < self._next_s:
            return None
        self._next_s = time_s + self._every_s
        pixels = np.asarray(cv2.cvtColor(self._resize(frame_bgr), cv2.COLOR_BGR2RGB), np.uint8)
        if not self.add(picture_numbers(pixels, result.scores, self._unknown)):
            return None
        return ShiftState(self.kind, time_s, len(self._window))

    def add(self, numbers: Mapping[str, float]) -> bool:
        """Add a frame by its numbers (`picture_numbers`); return whether `kind` changes."""
        self._window.append(numbers)
        likely = compare(self._reference, self._window)
        if self.kind is not None and likely[self.kind] < _NORMAL:
            return False
        before, self.kind = self.kind, shift_kind(likely, FALSE_ALARMS)
        return self.kind != before
