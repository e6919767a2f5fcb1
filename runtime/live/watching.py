"""A source that is only looked at: its frames as they come, without a model, until it is closed."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import closing

from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import PocketlensError
from pocketlens.runtime.live.capture.opening import open_capture
from pocketlens.runtime.live.frames import LIVE, STALE, Capture, Captured, SourceState
from pocketlens.runtime.live.sources import SourceRequest
from pocketlens.runtime.pictures import Pixels

LOGGER = logging.getLogger("pocketlens")

STARTING = "starting"

FrameTaker = Callable[[Pixels, float], None]
"""Takes a frame, uint8 (height, width, 3) BGR, that it must not change, and the wall clock's time
at which it came, in seconds since 1970. Called in the watching thread; it must not wait."""

_PICTURE_S = 1.0
# How often it is checked whether it was closed meanwhile, in seconds.
_POLL_S = 0.1
_JOIN_S = 3.0


class Watcher:
    """Reads a source in a thread of its own.

    A camera gives its newest frames. A video plays at its own pace and begins again at its end;
    pictures are shown for a second each, or as `--fps` says.

    Args:
        request: the source. It is opened here, so that what is wrong with it is raised here.
        take: takes each frame.
        stop: ends the wait for a camera that is being opened.
        open_source: opens it, at first and for each round of a file.
        clock: what paces a file and gives frames their times.

    Raises:
        UsageError: something is asked of a source that has no such thing.
        SourceError: it is not there, does not open, or has no readable frame.
        MissingDependencyError: it needs a package that is not installed.
    """

    def __init__(
        self,
        request: SourceRequest,
        take: FrameTaker,
        *,
        stop: threading.Event | None = None,
        open_source: Callable[[SourceRequest, threading.Event], Capture] = open_capture,
        clock: Clock = CLOCK,
    ) -> None:
        self.clock = clock
        self.name = request.name
        self._request = request
        self._take = take
        self._open = open_source
        # Its own: whoever is asked to stop closes this, and others end otherwise.
        self._stop = threading.Event()
        self._state = (STARTING, "")
        self._number = -1
        self._wishes: deque[Callable[[Pixels, int], None]] = deque()
        self._capture = open_source(request, stop or self._stop)
        self.live = self._capture.live
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def wish(self, wish: Callable[[Pixels, int], None]) -> None:
        """Have the next frame copied and given to `wish` with its number, in the thread here."""
        self._wishes.append(wish)

    def state(self) -> tuple[str, str]:
        """Return "starting", "live" or "stale", and why it is stale."""
        return self._state

    def close(self) -> None:
        """Stop, and give the source back. A second call does nothing."""
        self._stop.set()
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                before = self._number
                with closing(self._capture) as capture:
                    self._play(capture)
                if self._stop.is_set():
                    return
                if self._number == before:
                    self._state = (STALE, "it has no readable picture")
                    return
                self._capture = self._open(self._request, self._stop)
        except PocketlensError as error:
            self._state = (STALE, str(error))
        except Exception as error:
            LOGGER.warning("The source ended: %r", error)
            self._state = (STALE, repr(error))

    def _play(self, capture: Capture) -> None:
        """Take frames until the capture ends or this is closed."""
        begun_s = self.clock.now_s()
        while (came := capture.next(self._stop)) is not None:
            if isinstance(came, SourceState):
                self._state = (came.state, came.reason)
                continue
            if not capture.live:
                self._wait_until(begun_s + self._due_s(came))
                if self._stop.is_set():
                    return
            self._number += 1
            self._state = (LIVE, "")
            self._take(came.frame_bgr, self.clock.wall_s())
            while self._wishes:
                self._wishes.popleft()(came.frame_bgr.copy(), self._number)

    def _due_s(self, captured: Captured) -> float:
        if captured.file is not None and self._request.fps is None:
            return _PICTURE_S * captured.number
        return captured.time_s

    def _wait_until(self, time_s: float) -> None:
        while not self._stop.is_set() and (left_s := time_s - self.clock.now_s()) > 0:
            self.clock.sleep(min(_POLL_S, left_s))
