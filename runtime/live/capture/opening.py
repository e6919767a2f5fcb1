"""Capturing: frames of a source with their numbers and times, and whether they still come."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from pocketlens.runtime.live.sources import SourceRequest, check_wishes, open_source
from pocketlens.runtime.pictures import Pixels

DEFAULT_FPS = 25.0
"""Taken where a file declares none."""

LIVE = "live"
STALE = "stale"


@dataclass(frozen=True)
class Captured:
    """A frame and when it came.

    `number` counts all frames that the source gave, from 0. `time_s` is the time in the video for
    a file, the time since the start for a camera. `capture_ms` is how long reading it took: the
    decoding of a file, the wait for a camera. `frame_bgr` is uint8 (height, width, 3).
    """

    number: int
    time_s: float
    capture_ms: float
    frame_bgr: Pixels


@dataclass(frozen=True)
class SourceState:
    """A change of whether frames come.

    `state` is "live" or "stale", `time_s` the time since the start, `reason` why it is stale (""
    where it is live); passwords are left out. `reconnects` counts how often the source was opened
    again until then.
    """

    state: str
    time_s: float
    reason: str
    reconnects: int

    def to_dict(self) -> dict[str, Any]:
        """Return the change as plain JSON values."""
        reason = {"reason": self.reason} if self.reason else {}
        return {
            "state": self.state,
            "time_s": round(self.time_s, 6),
            **reason,
            "reconnects": self.reconnects,
        }


@dataclass(frozen=True)
class CaptureCounts:
    """What happened until now.

    `dropped` frames came from a camera and were pushed out unread by newer ones or were too old
    when they were asked for, `damaged` ones could not be decoded, `repeated` ones were the same
    once more. `stalls` is how often the source was stale, `reconnects` how often it was opened
    again.
    """

    dropped: int = 0
    damaged: int = 0
    repeated: int = 0
    stalls: int = 0
    reconnects: int = 0


@dataclass(frozen=True)
class CaptureLimits:
    """How long what may take, in seconds.

    Without a frame for `stale_s` a source is stale, without one for `silence_s` its process is
    replaced; a declared rate below 1.5 frames per second stretches both. `starting_s` is for
    importing, `opening_s` for opening. Pauses between attempts double up to `pause_s`.
    """

    stale_s: float = 1.5
    silence_s: float = 4.0
    starting_s: float = 20.0
    opening_s: float = 6.0
    pause_s: float = 1.0


class Capture(Protocol):
    """Gives the frames of a source one after the other, while it reads on in the background.

    Of a file none is lost and their order is kept; of a camera `next` gives the newest, and none
    twice. `live` says which of the two it is, `fps` is the declared rate, None if unknown.
    """

    @property
    def live(self) -> bool:
        """Whether frames are lost while nobody asks for them."""

    @property
    def fps(self) -> float | None:
        """Frames per second as declared."""

    @property
    def counts(self) -> CaptureCounts:
        """What happened until now."""

    def next(self, stop: threading.Event) -> Captured | SourceState | None:
        """Wait for the next frame or change of state; None at the end or when `stop` is set.

        Raises:
            SourceError: the source failed for good.
        """

    def close(self) -> None:
        """Give the source back. A second call does nothing."""


def open_capture(request: SourceRequest, stop: threading.Event | None = None) -> Capture:
    """Open a source and begin to read it: a camera in a process of its own, a file in a thread.

    Where processes cannot share memory by descriptors (Windows), a camera is read in a thread too,
    and one that falls silent ends with an error.

    Args:
        request: what to open.
        stop: ends the wait for a camera when it is set; there are no frames then.

    Raises:
        UsageError: something is asked of a source that has no such thing.
        SourceError: it is not there, does not open, or has no readable frame.
        MissingDependencyError: it needs a package that is not installed.
    """
    check_wishes(request)
    if request.live and sys.platform != "win32":
        from pocketlens.runtime.live.capture.process import ProcessCapture

        return ProcessCapture(partial(open_source, request), name=request.name, stop=stop)
    from pocketlens.runtime.live.capture.thread import ThreadCapture

    return ThreadCapture(open_source(request))
