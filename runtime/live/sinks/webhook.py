"""`pocketlens live --webhook`: every event as a POST to an HTTP server."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from pocketlens import __version__
from pocketlens.errors import UsageError
from pocketlens.runtime.live.frames import FrameResult, Sink, SourceState
from pocketlens.runtime.live.sinks import SinkRequest
from pocketlens.runtime.live.sinks.outbox import Sender
from pocketlens.runtime.live.sources import redact
from pocketlens.runtime.pictures import Pixels

_TIMEOUT_S = 5.0
# These say that another attempt may succeed; any other 4xx would be answered the same again.
_WORTH_ANOTHER = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Hook:
    """Where events go: scheme, host, port, target (path and query) and headers.

    `name` is the address without passwords.
    """

    name: str
    secure: bool
    host: str
    port: int
    target: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)


def parse_hook(url: str) -> Hook:
    """Read what `--webhook` takes. User and password in it are sent as Basic authorization.

    Raises:
        UsageError: it is not an HTTP or HTTPS address.
    """
    parts = _split(url)
    if parts is None:
        raise UsageError(
            "Expected --webhook as an address that starts with http:// or https://. "
            f"Received: {redact(url)}. Write it like http://192.168.1.20:8000/hook."
        )
    secure = parts.scheme.lower() == "https"
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"pocketlens/{__version__}",
    }
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    query = f"?{parts.query}" if parts.query else ""
    return Hook(
        redact(url),
        secure,
        parts.hostname or "",
        parts.port or (443 if secure else 80),
        (parts.path or "/") + query,
        headers,
    )


def make_sink(request: SinkRequest) -> Sink:
    """Return the webhook that `--webhook` asks for."""
    return Webhook(parse_hook(request.webhook or ""))


class Webhook(Sender[dict[str, Any]]):
    """Posts each event and each change of the source's state as JSON, in order.

    The JSON is that of the event's line in `--jsonl`. Results are taken without waiting; while the
    server is away the newest 100 are kept and tried again. A redirect is not followed.

    Args:
        hook: where to send.
    """

    def __init__(self, hook: Hook) -> None:
        super().__init__(hook.name)
        self._hook = hook

    def result(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result."""
        if result.decision.changed:
            self.outbox.put(result.to_dict())

    def state(self, state: SourceState) -> None:
        """Take a change of state."""
        self.outbox.put(state.to_dict())

    def run(self) -> None:
        """Post entry after entry."""
        while (entry := self.outbox.take()) is not None:
            try:
                status = self._post(json.dumps(entry, ensure_ascii=False).encode())
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                self._again(entry, redact(str(reason)))
                continue
            if 200 <= status < 300:
                self.attempts.worked(self.outbox.count_dropped())
            elif status >= 500 or status in _WORTH_ANOTHER:
                self._again(entry, f"it answers {status}")
            elif 300 <= status < 400:
                self.attempts.refused(f"it answers {status}, and redirects are not followed")
            else:
                self.attempts.refused(f"it answers {status}")

    def _again(self, entry: dict[str, Any], reason: str) -> None:
        self.outbox.put_back(entry)
        pause_s = self.attempts.failed(reason)
        if self.outbox.closed:
            # Whoever stops the run does not wait for a server that is away.
            self.outbox.discard()
        self.outbox.pause(pause_s)

    def _post(self, body: bytes) -> int:
        hook = self._hook
        connection: http.client.HTTPConnection
        if hook.secure:
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(
                hook.host, hook.port, timeout=_TIMEOUT_S, context=context
            )
        else:
            connection = http.client.HTTPConnection(hook.host, hook.port, timeout=_TIMEOUT_S)
        try:
            connection.request("POST", hook.target, body, hook.headers)
            return connection.getresponse().status
        finally:
            connection.close()


def _split(url: str) -> SplitResult | None:
    # http.client sends such characters as they are, or not at all.
    if not url.isascii() or any(c.isspace() or not c.isprintable() for c in url):
        return None
    try:
        parts = urlsplit(url)
        usable = parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if usable and parts.scheme.lower() in ("http", "https") else None
