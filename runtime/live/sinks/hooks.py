"""Sending over HTTP from a sink: where to, and one request whose time is bounded."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import ssl
import threading
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import SplitResult, unquote, urlsplit

from pocketlens import __version__
from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import UsageError
from pocketlens.runtime.live.sources import redact

_CONNECT_S = 5.0
# These say that another attempt may succeed; any other 4xx would be answered the same again.
_WORTH_ANOTHER = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Hook:
    """Where requests go: scheme, host, port, target (path and query) and headers.

    `name` is the address without passwords and without its path, which is the secret of many.
    """

    name: str
    secure: bool
    host: str
    port: int
    target: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)


def parse_hook(url: str, option: str = "--webhook") -> Hook:
    """Read an HTTP address. User and password in it are sent as Basic authorization.

    Args:
        url: what an option takes.
        option: what errors call it.

    Raises:
        UsageError: it is not an HTTP or HTTPS address.
    """
    parts = _split(url)
    if parts is None:
        # All else of it may be a secret.
        scheme, found, _ = url.partition("://")
        came = f"{redact(scheme)}://***" if found else "one without"
        raise UsageError(
            f"Expected {option} as an address that starts with http:// or https://. "
            f"Received: {came}. Write it like http://192.168.1.20:8000/hook."
        )
    secure = parts.scheme.lower() == "https"
    headers = {"User-Agent": f"pocketlens/{__version__}"}
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


def refusal(status: int) -> str | None:
    """Return why an answer's status is no success, None where it is one."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"it answers {status}, and redirects are not followed"
    return f"it answers {status}"


def worth_another(status: int) -> bool:
    """Return whether the same request may succeed later, after an answer that was no success."""
    return status >= 500 or status in _WORTH_ANOTHER


def reason_of(error: OSError | http.client.HTTPException) -> str:
    """Return why a request failed, in few words and without passwords."""
    return redact(str(getattr(error, "strerror", None) or str(error) or type(error).__name__))


def send(
    hook: Hook,
    method: str,
    target: str,
    body: bytes,
    kind: str,
    *,
    timeout_s: float,
    clock: Clock = CLOCK,
) -> int:
    """Send a request and return the answer's status.

    All of it has `timeout_s`, whatever the server does, once one of its addresses answers; each has
    five seconds to do so.

    Args:
        hook: where to.
        method: "POST" or "PUT".
        target: path and query.
        body: what is sent.
        kind: its media type.
        timeout_s: how long it may take.
        clock: what the limit goes by.

    Raises:
        OSError: nobody answers, or not in time.
        http.client.HTTPException: the answer is not HTTP.
    """
    connection: http.client.HTTPConnection
    if hook.secure:
        tls = ssl.create_default_context()
        connection = http.client.HTTPSConnection(hook.host, hook.port, context=tls)
    else:
        connection = http.client.HTTPConnection(hook.host, hook.port)
    connection.sock = socket.create_connection((hook.host, hook.port), _CONNECT_S)
    if hook.secure:
        connection.sock = tls.wrap_socket(
            connection.sock, server_hostname=hook.host, do_handshake_on_connect=False
        )
    cut = threading.Event()
    cancel = clock.after(timeout_s, partial(_cut, connection.sock, cut))
    try:
        # A server that takes nothing is cut off by the limit above, not by that of connecting.
        connection.sock.settimeout(None if timeout_s > _CONNECT_S else _CONNECT_S)
        if isinstance(connection.sock, ssl.SSLSocket):
            connection.sock.do_handshake()
        connection.request(method, target, body, {**hook.headers, "Content-Type": kind})
        # Where the status came in time, the rest of the headers does not matter.
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        if cut.is_set():
            raise TimeoutError(f"no answer within {timeout_s:g} s") from error
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
