"""Capturing ahead in a thread: a file is decoded while the last frame is still being classified."""

from __future__ import annotations

import threading
from collections import deque

from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import PictureError, SourceError
from pocketlens.runtime.live.frames import DEFAULT_FPS, CaptureCounts, Captured, CaptureLimits
from pocketlens.runtime.live.sources import Source
from pocketlens.runtime.live.staleness import Staleness

# Frames of a file that are held decoded: enough to even out, 75 MB at 4K.
_FILE_ROOM = 3
# A short wait lets the main thread run its signal handlers and see that it is to stop.
_POLL_S = 0.1
_JOIN_S = 1.0


class ThreadCapture:
    """Reads a source in a thread of its own.

    Of a file it holds a few frames ahead, loses none and keeps their order. Of a camera it holds
    the newest only.

    Args:
        source: read by this thread alone from now on, and closed with the capture.
        limits: how long a camera may be silent.
        clock: what that and the times of a camera's frames go by.
    """

    def __init__(
        self, source: Source, *, limits: CaptureLimits | None = None, clock: Clock = CLOCK
    ) -> None:
        self.live = source.live
        self.fps = source.fps
        self._source = source
        self._clock = clock
        self._staleness = Staleness(limits or CaptureLimits(), clock)
        self._staleness.opened(source.fps)
        self._room = 1 if source.live else _FILE_ROOM
        self._held: deque[Captured] = deque()
        self._dropped = 0
        self._damaged = 0
        self._changed = threading.Condition()
        self._ended = False
        self._stopped = False
        self._error: BaseException | None = None
        self._started_s = clock.now_s()
        # A daemon, so that a driver that hangs in a read cannot keep the process alive.
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> CaptureCounts:
        """What happened until now."""
        return CaptureCounts(dropped=self._dropped, damaged=self._damaged)

    def next(self, stop: threading.Event) -> Captured | None:
        """Return the next frame; None at the end or when `stop` is set.

        Raises:
            SourceError: a camera was silent for too long.
            Exception: what the source raised.
        """
        with self._changed:
            self._staleness.ask()
            while not stop.is_set():
                if self._held:
                    captured = self._held.popleft()
                    self._staleness.answer()
                    self._changed.notify_all()
                    return captured
                if self._error is not None:
                    raise self._error
                if self._ended:
                    return None
                if self.live and self._staleness.hangs:
                    silence_s = self._staleness.silence_s
                    raise SourceError(
                        f"Expected a new frame from the camera within {silence_s:g} s. "
                        "Received: none. Check its cable and power, then start again."
                    )
                self._clock.wait(self._changed, self._is_over, _POLL_S)
        return None

    def _is_over(self) -> bool:
        """Tell whether there is something to return or to raise."""
        return bool(self._held) or self._ended

    def close(self) -> None:
        """Close the source; waits a moment for a read that is under way, not for a hanging one."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(_JOIN_S)
        self._source.close()

    def _run(self) -> None:
        number = -1
        try:
            while not self._stopped:
                number += 1
                before_s = self._clock.now_s()
                try:
                    frame_bgr = self._source.read()
                except PictureError:
                    self._damaged += 1
                    continue
                now_s = self._clock.now_s()
                if frame_bgr is None:
                    break
                if self.live:
                    time_s = now_s - self._started_s
                elif self._source.time_s is None:
                    time_s = number / (self.fps or DEFAULT_FPS)
                else:
                    time_s = self._source.time_s
                capture_ms = 1000 * (now_s - before_s)
                self._hold(Captured(number, time_s, capture_ms, frame_bgr, self._source.file))
        except BaseException as error:  # It belongs to the thread that classifies.
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _hold(self, captured: Captured) -> None:
        with self._changed:
            self._staleness.come(self._clock.now_s())
            if self.live:
                if len(self._held) >= self._room:
                    self._held.popleft()
                    self._dropped += 1
            else:
                self._changed.wait_for(lambda: len(self._held) < self._room or self._stopped)
            self._held.append(captured)
            self._changed.notify_all()
