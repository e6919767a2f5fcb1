"""Time as an argument: whatever waits, times out or counts per second goes by a clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Clock:
    """The machine's time. Tests bring a clock that goes only when they say so."""

    def now_s(self) -> float:
        """Return seconds that only grow, from one origin for all processes of a machine."""
        # The finest there is; on Linux and macOS it is `time.monotonic`, on Windows that is coarse.
        return time.perf_counter()

    def wall_s(self) -> float:
        """Return seconds since 1970; they may jump, so they are shown and nothing waits by them."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass."""
        time.sleep(seconds)

    def wait(
        self,
        changed: threading.Condition,
        enough: Callable[[], object],
        seconds: float | None = None,
    ) -> bool:
        """Wait until it is enough, at most for so many seconds; returns whether it is.

        Args:
            changed: its lock is held by the caller; notified when `enough` may have become true.
            enough: tells whether the wait is over.
            seconds: None waits without an end.
        """
        return bool(changed.wait_for(enough, seconds))

    def after(self, seconds: float, call: Callable[[], None]) -> Callable[[], None]:
        """Call something in a thread when so many seconds have passed; returns what prevents it."""
        timer = threading.Timer(seconds, call)
        timer.daemon = True
        timer.start()
        return timer.cancel


CLOCK = Clock()
"""The machine's time, for whoever is given no other."""
