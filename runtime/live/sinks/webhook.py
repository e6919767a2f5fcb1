"""`pocketlens live --webhook`: every event as a POST to an HTTP server."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import ssl
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from pocketlens import __version__
from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import UsageError
from pocketlens.runtime.live.frames import FrameResult, ShiftState, Sink, SourceState
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

    `name` is the address without passwords and without its path, which is the secret of many.
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
        # All else of it may be a secret.
        scheme, found, _ = url.partition("://")
        came = f"{redact(scheme)}://***" if found else "one without"
        raise UsageError(
            "Expected --webhook as an address that starts with http:// or https://. "
            f"Received: {came}. Write it like http://192.168.1.20:8000/hook."
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
    port = f":{parts.port}" if parts.port else ""
    host = parts.hostname or ""
    return Hook(
        f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}/***",
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
            try:
                status = self._post(json.dumps(entry).encode())
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
        """Post a body and return the answer's status.

        All of it has five seconds, whatever the server does, once one of its addresses answers;
        each has five seconds to do so.
        """
        hook = self._hook
        connection: http.client.HTTPConnection
        if hook.secure:
            tls = ssl.create_default_context()
            connection = http.client.HTTPSConnection(hook.host, hook.port, context=tls)
        else:
            connection = http.client.HTTPConnection(hook.host, hook.port)
        connection.sock = socket.create_connection((hook.host, hook.port), _TIMEOUT_S)
        if hook.secure:
            connection.sock = tls.wrap_socket(
                connection.sock, server_hostname=hook.host, do_handshake_on_connect=False
            )
        cut = threading.Event()
        cancel = self.clock.after(_TIMEOUT_S, partial(_cut, connection.sock, cut))
        try:
            if isinstance(connection.sock, ssl.SSLSocket):
                connection.sock.do_handshake()
            connection.request("POST", hook.target, body, hook.headers)
            # Where the status came in time, the rest of the headers does not matter.
            return connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            if cut.is_set():
                raise TimeoutError(f"no answer within {_TIMEOUT_S:g} s") from error
            raise
        finally:
            cancel()
            connection.close()


def _cut(connected: socket.socket, cut: threading.Event) -> None:
    cut.set()
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def _split(url: str) -> SplitResult | None:
    # http.client sends such characters as they are, or not at all.
    if not url.isascii() or any(c.isspace() or not c.isprintable() for c in url):
        return None
    try:
        parts = urlsplit(url)
        usable = parts.hostname and parts.port != 0
        # Names with an empty or too long part raise a UnicodeError.
        (parts.hostname or "").encode("idna")
    except ValueError:
        return None
    return parts if usable and parts.scheme.lower() in ("http", "https") else None
