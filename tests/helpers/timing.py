"""Time in tests: a clock that goes only when it is told to, and waiting for what is to happen."""

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from pocketlens.clock import Clock

# Nothing takes so long on the busiest machine; who sees this waits for what never comes.
PATIENCE_S = 60.0


def wait_for(condition: Callable[[], Any], what: Callable[[], Any] = lambda: "") -> Any:
    """Wait by the real clock until something is true and return it, else say `what`."""
    until_s = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < until_s, f"it did not happen: {what()}"
        time.sleep(0.01)
    return value


def _ns(seconds: float) -> int:
    return round(1e9 * seconds)


class _Wait(NamedTuple):
    changed: threading.Condition
    seconds: float
    until_ns: int


class FakeClock(Clock):
    """A clock that stands still until a test lets time pass.

    Who sleeps by it sleeps no real time and moves it on; who waits for something waits until that
    happens, or until the test has moved the clock on far enough.
    """

    def __init__(self, start_s: float = 1000.0) -> None:
        # Whole nanoseconds, so that nothing adds up to a little more or less.
        self._now_ns = _ns(start_s)
        self._changed = threading.Condition()
        self._waits: list[_Wait] = []
        self._calls: list[tuple[int, Callable[[], None]]] = []

    def now_s(self) -> float:
        return self._now_ns / 1e9

    def wall_s(self) -> float:
        return self.now_s()

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def wait(
        self,
        changed: threading.Condition,
        enough: Callable[[], object],
        seconds: float | None = None,
    ) -> bool:
        if seconds is None:
            return bool(changed.wait_for(enough))
        if not enough():
            with self._changed:
                wait = _Wait(changed, seconds, self._now_ns + _ns(seconds))
                if seconds > 0:
                    self._waits.append(wait)
                    self._changed.notify_all()
            over = changed.wait_for(
                lambda: enough() or self._now_ns >= wait.until_ns, 2 * PATIENCE_S
            )
            assert over, f"nobody let {seconds} s pass"
            with self._changed:
                self._waits = [entry for entry in self._waits if entry is not wait]
        return bool(enough())

    def after(self, seconds: float, call: Callable[[], None]) -> Callable[[], None]:
        entry = (self._now_ns + _ns(seconds), call)
        with self._changed:
            self._calls.append(entry)
            self._changed.notify_all()

        def prevent() -> None:
            with self._changed:
                self._calls = [other for other in self._calls if other is not entry]

        return prevent

    def advance(self, seconds: float) -> None:
        """Let time pass: waits that are over by then end, and calls that are due are made."""
        with self._changed:
            self._now_ns += _ns(seconds)
            over = [entry for entry in self._waits if entry.until_ns <= self._now_ns]
            self._waits = [entry for entry in self._waits if entry.until_ns > self._now_ns]
            calls = [call for due_ns, call in self._calls if due_ns <= self._now_ns]
            self._calls = [entry for entry in self._calls if entry[0] > self._now_ns]
        for call in calls:
            call()
        for entry in over:
            with entry.changed:
                entry.changed.notify_all()

    def waiting(self) -> float:
        """Wait by the real clock until somebody waits by this one; return how many seconds."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._waits, PATIENCE_S), "nobody waits"
            return self._waits[0].seconds

    def calling(self) -> None:
        """Wait, by the real clock until there is a call to come."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._calls, PATIENCE_S), "no call is to come"

    def end_wait(self) -> float:
        """Wait until somebody waits by this clock, let that time pass and return it."""
        seconds = self.waiting()
        self.advance(seconds)
        return seconds
