"""Capturing a live source in a process of its own, which is replaced when it hangs or dies."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from enum import Enum, auto
from functools import partial

from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import PocketlensError, SourceError
from pocketlens.runtime.live.capture.child import (
    NEXT,
    OPEN,
    Failed,
    Frame,
    Noted,
    Opened,
    Ready,
    Said,
)
from pocketlens.runtime.live.capture.link import CaptureChild
from pocketlens.runtime.live.frames import (
    LIVE,
    STALE,
    CaptureCounts,
    Captured,
    CaptureLimits,
    SourceState,
)
from pocketlens.runtime.live.sources import Source, redact
from pocketlens.runtime.live.staleness import Staleness

LOGGER = logging.getLogger("pocketlens")

# A short wait lets the main thread run its signal handlers and see that it is to stop.
_POLL_S = 0.1
_FIRST_PAUSE_S = 0.25
# A source that gave frames for this long is opened again at once when it fails.
_HELD_S = 5.0


class _Stage(Enum):
    STARTING = auto()
    OPENING = auto()
    READING = auto()
    PAUSING = auto()


class ProcessCapture:
    """Reads a live source in a process of its own and never gives up.

    The first opening has to succeed. From then on a read that hangs, an end, an error and the
    death of the process all lead to the state "stale", and the source is opened again for as long
    as it takes. A frame is handed out once, and only while it is fresh. `started_s` is the time 0
    of its frames, by the clock.

    Args:
        open_source: opens the source in the process; picklable, as `functools.partial` of a class.
        name: what messages call the source; without passwords.
        stop: ends the wait for the first opening when it is set.
        limits: how long what may take.
        clock: what that goes by, and the times of the frames.
        start: starts the process.

    Raises:
        SourceError: the source does not open.
        PocketlensError: what else opening it raised.
    """

    live = True

    def __init__(
        self,
        open_source: Callable[[], Source],
        *,
        name: str,
        stop: threading.Event | None = None,
        limits: CaptureLimits | None = None,
        clock: Clock = CLOCK,
        start: Callable[..., CaptureChild] = CaptureChild,
    ) -> None:
        self.fps: float | None = None
        self.counts = CaptureCounts()
        self._start_child = partial(start, open_source)
        self._clock = clock
        self._name = name
        self._limits = limits or CaptureLimits()
        self._pending: deque[Captured | SourceState] = deque()
        self._state = ""
        self._stale_since_s = 0.0
        self._child: CaptureChild | None = None
        self._stage = _Stage.PAUSING
        self._until_s = self.started_s = clock.now_s()
        self._staleness = Staleness(self._limits, clock)
        self._asked = False
        self._pause_s = 0.0
        self._opened_once = False
        self._killed = False
        self._given = self._seen = self._seen_before = 0
        self._noted_before = Noted(0, 0)
        try:
            while not (self._opened_once or (stop and stop.is_set())):
                self._step()
        except BaseException:
            self.close()
            raise

    def next(self, stop: threading.Event) -> Captured | SourceState | None:
        """Wait for the newest frame or a change of state; None when `stop` is set."""
        while not stop.is_set():
            if self._pending:
                return self._pending.popleft()
            if self._stage is _Stage.READING and not self._asked and self._child:
                self._asked = True
                self._staleness.ask()
                self._child.send(NEXT)
            self._step()
        return None

    def close(self) -> None:
        """End the process. A second call does nothing."""
        child, self._child = self._child, None
        if child:
            child.close()

    def _step(self) -> None:
        """Wait for a moment and take one message, or one step to open the source again."""
        if self._stage is _Stage.PAUSING:
            self._resume()
            return
        assert self._child is not None  # noqa: S101
        try:
            message = self._child.receive(self._wait_s())
        except EOFError:
            self._fail(
                SourceError(f"The process that reads {self._name} has failed: {self._child.fate}."),
                kill=True,
            )
            return
        self._take(message)
        self._check_time()

    def _resume(self) -> None:
        now_s = self._clock.now_s()
        if now_s < self._until_s:
            self._clock.sleep(min(_POLL_S, self._until_s - now_s))
        elif self._child is None:
            self._start()
        elif not self._killed:
            self._open()
        elif self._child.gone:
            self.close()
        else:
            # It hangs in the kernel with the device, where a second one would hang, too.
            self._clock.sleep(_POLL_S)

    def _start(self) -> None:
        self._killed = False
        self._seen_before = self._seen
        self._noted_before = Noted(self.counts.damaged, self.counts.repeated)
        try:
            self._child = self._start_child()
        except OSError as error:
            reason = error.strerror or error
            self._fail(SourceError(f"No process could be started: {reason}."))
            return
        self._enter(_Stage.STARTING, self._limits.starting_s)

    def _open(self) -> None:
        assert self._child is not None  # noqa: S101
        self._child.send(OPEN)
        self._enter(_Stage.OPENING, self._limits.opening_s)

    def _enter(self, stage: _Stage, limit_s: float) -> None:
        self._stage = stage
        self._asked = False
        self._staleness.answer()
        self._until_s = self._clock.now_s() + limit_s

    def _take(self, message: object) -> None:
        if isinstance(message, Ready):
            self._open()
        elif isinstance(message, Opened):
            self._opened(message)
        elif isinstance(message, Frame):
            self._take_frame(message)
        elif isinstance(message, Noted):
            self._asked = False
            self._count_noted(message)
        elif isinstance(message, Failed):
            self._fail(message.error)
        elif isinstance(message, Said):
            LOGGER.log(message.level, "%s", message.text)

    def _opened(self, message: Opened) -> None:
        if self._opened_once:
            self.counts = replace(self.counts, reconnects=self.counts.reconnects + 1)
        self._opened_once = True
        self.fps = message.fps
        self._staleness.opened(message.fps)
        self._enter(_Stage.READING, 0.0)

    def _take_frame(self, message: Frame) -> None:
        assert self._child is not None  # noqa: S101
        self._asked = False
        self._seen = self._seen_before + message.number + 1
        self._count_noted(message.noted)
        if self._staleness.come(message.time_s):
            frame_bgr = self._child.frame(message.offset, message.shape)
            self._change(LIVE, "")
            time_s = message.time_s - self.started_s
            self._pending.append(Captured(self._seen - 1, time_s, message.capture_ms, frame_bgr))
            self._given += 1
            self._staleness.answer()
        self.counts = replace(self.counts, dropped=self._seen - self._given)

    def _count_noted(self, noted: Noted) -> None:
        self.counts = replace(
            self.counts,
            damaged=self._noted_before.damaged + noted.damaged,
            repeated=self._noted_before.repeated + noted.repeated,
        )

    def _wait_s(self) -> float:
        """Return for how long to wait for a message: not beyond the moment of becoming stale."""
        if self._stage is not _Stage.READING or self._state == STALE:
            return _POLL_S
        return max(0.0, min(_POLL_S, self._staleness.left_s))

    def _check_time(self) -> None:
        if self._stage is _Stage.READING:
            if self._staleness.left_s <= 0:
                self._change(STALE, f"no new frame for {self._staleness.stale_s:g} s")
            if self._staleness.hangs:
                self._fail(
                    SourceError(
                        f"Expected a frame from {self._name} within "
                        f"{self._staleness.silence_s:g} s. "
                        "Received: none. Its process is replaced."
                    ),
                    kill=True,
                )
        elif self._stage is not _Stage.PAUSING and self._clock.now_s() > self._until_s:
            self._fail(
                SourceError(
                    f"Expected {self._name} to open in time. Received: nothing. "
                    "Check its cable, power and network."
                ),
                kill=True,
            )

    def _fail(self, error: PocketlensError, *, kill: bool = False) -> None:
        if not self._opened_once:
            raise error
        if self._state == STALE:
            LOGGER.debug("%s: %s", self._name, redact(str(error)))
        self._change(STALE, redact(str(error)))
        if kill and self._child:
            self._killed = True
            self._child.kill()
        staleness = self._staleness
        held_s = staleness.came_s - staleness.opened_s
        held = self._stage is _Stage.READING and held_s >= _HELD_S
        pause_s, longest_s = self._pause_s, self._limits.pause_s
        self._pause_s = 0.0 if held else min(max(_FIRST_PAUSE_S, 2 * pause_s), longest_s)
        self._enter(_Stage.PAUSING, 0.0 if held else pause_s)

    def _change(self, state: str, reason: str) -> None:
        if state == self._state or (state == LIVE and not self._state):
            self._state = state
            return
        now_s = self._clock.now_s()
        if state == STALE:
            self._stale_since_s = now_s
            self.counts = replace(self.counts, stalls=self.counts.stalls + 1)
            LOGGER.warning("%s is stale: %s", self._name, reason)
        else:
            LOGGER.info("%s is live again after %.1f s.", self._name, now_s - self._stale_since_s)
        self._state = state
        self._pending.append(
            SourceState(state, now_s - self.started_s, reason, self.counts.reconnects)
        )
