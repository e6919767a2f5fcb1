"""`pocketlens live --webhook`: every event as a POST to an HTTP server."""

from __future__ import annotations

import http.client
import json
from typing import Any

from pocketlens.clock import CLOCK, Clock
from pocketlens.runtime.live.frames import FrameResult, ShiftState, Sink, SourceState
from pocketlens.runtime.live.sinks import SinkRequest
from pocketlens.runtime.live.sinks.hooks import (
    Hook,
    parse_hook,
    reason_of,
    refusal,
    send,
    worth_another,
)
from pocketlens.runtime.live.sinks.outbox import Sender
from pocketlens.runtime.pictures import Pixels

_TIMEOUT_S = 5.0


def make_sink(request: SinkRequest) -> Sink:
    """Return the webhook that `--webhook` asks for."""
    return Webhook(parse_hook(request.webhook or ""))


class Webhook(Sender[dict[str, Any]]):
    """Posts each event and each change of the source's state or of shift as JSON, in order.

    The JSON is that of the event's line in `--jsonl`. Results are taken without waiting; while the
    server is away the newest 100 are kept and tried again. A redirect is not followed.

    Args:
        hook: where to send.
        clock: what pauses and limits go by.
    """

    def __init__(self, hook: Hook, clock: Clock = CLOCK) -> None:
        super().__init__(hook.name, clock)
        self._hook = hook

    def result(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result."""
        if result.decision.changed:
            self.outbox.put(self._run.entry(result))

    def state(self, state: SourceState) -> None:
        """Take a change of state."""
        self.outbox.put(self._run.entry(state))

    def shift(self, shift: ShiftState) -> None:
        """Take a change of shift."""
        self.outbox.put(self._run.entry(shift))

    def run(self) -> None:
        """Post entry after entry."""
        while (entry := self.outbox.take()) is not None:
            body = json.dumps(entry).encode()
            hook = self._hook
            try:
                status = send(
                    hook,
                    "POST",
                    hook.target,
                    body,
                    "application/json",
                    timeout_s=_TIMEOUT_S,
                    clock=self.clock,
                )
            except (OSError, http.client.HTTPException) as error:
                self._again(entry, reason_of(error))
                continue
            reason = refusal(status)
            if reason is None:
                self.attempts.worked(self.outbox.count_dropped())
            elif worth_another(status):
                self._again(entry, reason)
            else:
                self.attempts.refused(reason)

    def _again(self, entry: dict[str, Any], reason: str) -> None:
        self.outbox.put_back(entry)
        pause_s = self.attempts.failed(reason)
        if self.outbox.closed:
            # Whoever stops the run does not wait for a server that is away.
            self.outbox.discard()
        self.outbox.pause(pause_s)
