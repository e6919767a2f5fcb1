"""Tells systemd that a service is ready, alive or stopping, and what it sees (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

from pocketlens.clock import CLOCK, Clock
from pocketlens.runtime.live.frames import STALE, Decision, FrameResult, Sink, SourceState
from pocketlens.runtime.live.sinks import SinkRequest
from pocketlens.runtime.pictures import Pixels

# Half of it is what sd_watchdog_enabled(3) advises; a quarter leaves room for one that is late.
_PINGS_PER_LIMIT = 4
# Nobody could read a status that changes more often.
_STATUS_S = 1.0
_MOST_CHARACTERS = 200


def make_sink(request: SinkRequest) -> Sink:
    """Return what tells systemd; it does nothing where this is not a service's main process."""
    return find_service() or Sink()


class Service(Sink):
    """Tells systemd how a service is doing.

    It is ready with the first result and pings the watchdog with results only, so that a run whose
    frames are stale is silent. A message that nobody reads is not an error: a run must not end
    because of it.

    Args:
        address: the path of a datagram socket, or a name after `@` for an abstract one.
        watchdog_s: how long systemd waits for a ping; None where it does not.
        clock: what pings go by.
    """

    def __init__(
        self,
        address: str,
        watchdog_s: float | None = None,
        *,
        clock: Clock = CLOCK,
    ) -> None:
        self._clock = clock
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._ping_s = watchdog_s / _PINGS_PER_LIMIT if watchdog_s else None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # A manager that does not read must not hold up the frames.
        self._socket.setblocking(False)
        self._ready = False
        self._pinged_s = self._told_s = float("-inf")

    def result(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result."""
        now_s = self._clock.now_s()
        lines = []
        if not self._ready:
            self._ready = True
            lines.append("READY=1")
        if self._ping_s is not None and now_s - self._pinged_s >= self._ping_s:
            self._pinged_s = now_s
            lines.append("WATCHDOG=1")
        if now_s - self._told_s >= _STATUS_S:
            self._told_s = now_s
            lines.append(_status(_words(result.decision)))
        self._send(lines)

    def state(self, state: SourceState) -> None:
        """Take a change of state."""
        self._told_s = float("-inf")
        if state.state == STALE:
            self._send([_status(f"{STALE}: {state.reason}")])

    def closed(self) -> None:
        """Say that it is stopping."""
        self._send(["STOPPING=1", _status("stopping")])
        self._socket.close()

    def _send(self, lines: list[str]) -> None:
        if lines:
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), self._address)


def find_service(
    environment: Mapping[str, str] = os.environ, *, clock: Clock = CLOCK
) -> Service | None:
    """Return the service that this process is the main process of; None where it is none."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return None
    return Service(address, _watchdog_s(environment), clock=clock)


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    limit_us = environment.get("WATCHDOG_USEC", "")
    # Without a process ID it is for any process.
    process = environment.get("WATCHDOG_PID") or str(os.getpid())
    if not limit_us.isdecimal() or process != str(os.getpid()):
        return None
    return int(limit_us) / 1e6 or None


def _words(decision: Decision) -> str:
    scored = ", ".join(f"{entry.label} {entry.score:.2f}" for entry in decision.categories)
    return scored or decision.absent


def _status(text: str) -> str:
    # A line end in a label would be another message.
    return f"STATUS={' '.join(text.split())[:_MOST_CHARACTERS]}"
