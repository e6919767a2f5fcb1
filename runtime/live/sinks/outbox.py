"""Sinks that send over the network: a thread of their own, and a bounded outbox before it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Generic, TypeVar

from pocketlens.clock import CLOCK, Clock
from pocketlens.names import shown
from pocketlens.runtime.live.frames import RunInfo, Sink

LOGGER = logging.getLogger("pocketlens")

Entry = TypeVar("Entry")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0

_ROOM = 100


class Sender(Sink, Generic[Entry]):
    """A sink that sends from a thread of its own; `run` sends what `outbox` holds.

    The newest 100 entries are kept while the receiver is away.

    Args:
        name: what the log calls the receiver; without passwords.
        clock: what pauses and limits go by.
    """

    # All that ends with a run has five seconds together.
    join_s = 1.0

    def __init__(self, name: str, clock: Clock = CLOCK) -> None:
        self.clock = clock
        self.outbox: Outbox[Entry] = Outbox(_ROOM, clock)
        self.attempts = Attempts(name)
        self._run = RunInfo()
        self._changed = threading.Condition()
        self._ended = False

    def run(self) -> None:
        """Send until the outbox is closed."""
        raise NotImplementedError

    def opened(self, run: RunInfo) -> None:
        """Begin to send."""
        self._run = run
        threading.Thread(target=self._work, name=type(self).__name__, daemon=True).start()

    def closed(self) -> None:
        """Send what is left, for a moment. A second call does nothing."""
        self.outbox.close()
        with self._changed:
            self.clock.wait(self._changed, lambda: self._ended, self.join_s)
        self.outbox.discard()
        self.attempts.ended(self.outbox.count_dropped())

    def _work(self) -> None:
        try:
            self.run()
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()


class Outbox(Generic[Entry]):
    """Takes entries without ever waiting, and gives them to a sender for as long as it is open.

    When there is no room the oldest entry is dropped.

    Args:
        room: how many entries it holds.
        clock: what waits go by.
    """

    def __init__(self, room: int, clock: Clock = CLOCK) -> None:
        self._clock = clock
        self._dropped = 0
        # Whether the sender has one that it took and did not give back.
        self._held = False
        self._entries: deque[Entry] = deque()
        self._room = room
        self._closed = False
        self._changed = threading.Condition()

    @property
    def closed(self) -> bool:
        """Whether nothing more comes."""
        return self._closed

    def put(self, entry: Entry) -> None:
        """Take an entry."""
        with self._changed:
            if len(self._entries) == self._room:
                self._entries.popleft()
                self._dropped += 1
            self._entries.append(entry)
            self._changed.notify()

    def close(self) -> None:
        """Say that nothing more comes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self, timeout_s: float | None = None) -> Entry | None:
        """Return the oldest entry and forget it; None where none comes in time or it is closed."""
        with self._changed:
            self._held = False
            self._clock.wait(self._changed, lambda: self._entries or self._closed, timeout_s)
            self._held = bool(self._entries)
            return self._entries.popleft() if self._entries else None

    def put_back(self, entry: Entry) -> None:
        """Give back what could not be sent, as the oldest; dropped where newer ones took its room.

        Dropping the newer ones would leave an old state as the last.
        """
        with self._changed:
            self._held = False
            if len(self._entries) < self._room:
                self._entries.appendleft(entry)
            else:
                self._dropped += 1

    def discard(self) -> None:
        """Drop all that is left, and what a sender that hangs never came back from."""
        with self._changed:
            self._dropped += len(self._entries) + self._held
            self._held = False
            self._entries.clear()

    def count_dropped(self) -> int:
        """Return how many entries were dropped since the last call."""
        with self._changed:
            count, self._dropped = self._dropped, 0
            return count

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than it is open."""
        with self._changed:
            self._clock.wait(self._changed, lambda: self._closed, seconds)


class Attempts:
    """How a receiver does: pauses that grow to five seconds, and one line a change in the log.

    Args:
        name: what the log calls the receiver; without passwords.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._failing = ""
        self._lost = 0
        self._pause_s = FIRST_PAUSE_S

    def failed(self, reason: str) -> float:
        """Note a failure; returns how long to wait in seconds."""
        reason = shown(reason)
        if reason != self._failing:
            LOGGER.warning("%s does not take what is sent: %s. Trying again.", self._name, reason)
        self._failing = reason
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        return pause_s

    def refused(self, reason: str) -> None:
        """Note that something was refused that will not be sent again."""
        reason = shown(reason)
        if reason != self._failing:
            LOGGER.warning("%s refuses what is sent: %s.", self._name, reason)
        self._failing = reason
        self._lost += 1

    def worked(self, dropped: int = 0) -> None:
        """Note a success; `dropped` entries found no room before it."""
        lost = self._lost + dropped
        if self._failing:
            LOGGER.info(
                "%s takes what is sent again%s.",
                self._name,
                f", {lost} {'was' if lost == 1 else 'were'} lost" if lost else "",
            )
        self._failing, self._lost = "", 0
        self._pause_s = FIRST_PAUSE_S

    def ended(self, dropped: int) -> None:
        """Note that nothing more will be sent; `dropped` entries were not."""
        lost, self._lost = self._lost + dropped, 0
        if lost:
            LOGGER.warning("%s did not get the last %d of what was to be sent.", self._name, lost)
