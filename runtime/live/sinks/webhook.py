"""`pocketlens live --webhook`: every event as a POST to an HTTP server."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from pocketlens import __version__
from pocketlens.errors import UsageError
from pocketlens.runtime.live.frames import FrameResult, RunInfo, Sink, SourceState
from pocketlens.runtime.live.sinks import SinkRequest
from pocketlens.runtime.live.sinks.outbox import Attempts, Outbox
from pocketlens.runtime.live.sources import redact
from pocketlens.runtime.pictures import Pixels

_ROOM = 100
_TIMEOUT_S = 5.0
# All that ends with a run has five seconds together.
_JOIN_S = 1.0
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
        UsageError: it is no HTTP or HTTPS address.
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


class Webhook(Sink):
    """Posts each event and each change of the source's state as JSON, in order.

    The JSON is that of the event's line in `--jsonl`. Results are taken without waiting; while the
    server is away the newest 100 are kept and tried again. A redirect is not followed.

    Args:
        hook: where to send.
    """

    def __init__(self, hook: Hook) -> None:
        self._hook = hook
        self._outbox: Outbox[dict[str, Any]] = Outbox(_ROOM)
        self._attempts = Attempts(hook.name)
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)

    def opened(self, run: RunInfo) -> None:
        """Begin to send."""
        self._thread.start()

    def result(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result."""
        if result.decision.changed:
            self._outbox.put(result.to_dict())

    def state(self, state: SourceState) -> None:
        """Take a change of state."""
        self._outbox.put(state.to_dict())

    def closed(self) -> None:
        """Send what is left, for a moment. A second call does nothing."""
        self._outbox.close()
        self._thread.join(_JOIN_S)
        self._outbox.discard()
        self._attempts.ended(self._outbox.count_dropped())

    def _run(self) -> None:
        while (entry := self._outbox.take()) is not None:
            try:
                status = self._post(json.dumps(entry, ensure_ascii=False).encode())
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                self._again(entry, redact(str(reason)))
                continue
            if 200 <= status < 300:
                self._attempts.worked(self._outbox.count_dropped())
            elif status >= 500 or status in _WORTH_ANOTHER:
                self._again(entry, f"it answers {status}")
            elif 300 <= status < 400:
                self._attempts.refused(f"it answers {status}, and redirects are not followed")
            else:
                self._attempts.refused(f"it answers {status}")

    def _again(self, entry: dict[str, Any], reason: str) -> None:
        self._outbox.put_back(entry)
        pause_s = self._attempts.failed(reason)
        if self._outbox.closed:
            # Whoever stops the run does not wait for a server that is away.
            self._outbox.discard()
        self._outbox.pause(pause_s)

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
