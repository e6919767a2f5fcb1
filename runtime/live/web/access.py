"""Who may see the page: where it listens, which hosts it answers for, and its token."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from pocketlens.errors import OutputError, UsageError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080

_SHORTEST_TOKEN = 8
_MADE_TOKEN_BYTES = 16
_HOST_HEADER = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/@?#\[\]]+)(?::[0-9]{1,5})?")
# What is on its way to a viewer is old when it arrives; a slow one gets newer frames with less.
_SEND_BUFFER_BYTES = 128 * 1024
_UNACKNOWLEDGED_MS = 15_000
_BACKLOG = 64


@dataclass(frozen=True)
class WebAddress:
    """Where the page is to be served: a host name or address, and a port; 0 takes a free one."""

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT


@dataclass(frozen=True)
class Access:
    """Whom the page answers.

    `token` is what every request has to bring, None if none is needed. `names` are the host names
    that the page is called by. An IP address as the host is answered too: any where `everywhere`,
    else those of this machine's loopback. Names that others control never are, so that a page from
    elsewhere cannot make a browser read this one by pointing its own name here (DNS rebinding).
    """

    token: str | None = field(repr=False)
    names: frozenset[str]
    everywhere: bool
    cookie: str

    def answers_host(self, header: str) -> bool:
        """Return whether a `Host` header is one of ours."""
        match = _HOST_HEADER.fullmatch(header)
        if not match:
            return False
        host = match[1].strip("[]").rstrip(".").lower()
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return host in self.names
        return self.everywhere or address.is_loopback

    def admits(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> bool:
        """Return whether a request brings the token: as Bearer, Basic password or cookie."""
        if self.token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self.is_token(given.strip())
        if kind.lower() == "basic":
            try:
                return self.is_token(base64.b64decode(given).decode().partition(":")[2])
            except (binascii.Error, UnicodeDecodeError):
                return False
        return _same(cookies.get(self.cookie, ""), self.cookie_value)

    def is_token(self, text: str) -> bool:
        """Return whether a text is the token, in a time that does not tell how much of it is."""
        return self.token is not None and _same(text, self.token)

    @property
    def cookie_value(self) -> str:
        """What a browser keeps in place of the token, which a new run with the same one accepts."""
        return hashlib.sha256(f"pocketlens page {self.token}".encode()).hexdigest()


def parse_address(text: str) -> WebAddress:
    """Read what `--web` takes: a port, or a host and a port.

    Raises:
        UsageError: it is neither.
    """
    match = re.fullmatch(r"(?:(\[[0-9a-fA-F:.]+\]|[\w.-]+):)?([0-9]{1,5})", text, re.ASCII)
    if not match or int(match[2]) > 65535:
        raise UsageError(
            f"Expected --web as a port, or an address and a port. Received: {text}. "
            f"Write it like {DEFAULT_PORT} or 0.0.0.0:{DEFAULT_PORT}."
        )
    return WebAddress((match[1] or DEFAULT_HOST).strip("[]"), int(match[2]))


def check_token(token: str) -> str:
    """Return a token that can be one.

    Raises:
        UsageError: it is too short, or has characters that a URL or header does not.
    """
    if len(token) < _SHORTEST_TOKEN or not re.fullmatch(r"[!-~]+", token):
        raise UsageError(
            f"Expected a token of at least {_SHORTEST_TOKEN} letters, digits or signs without "
            f"spaces for --web-token. Received: one of {len(token)} characters. "
            "Leave it out, and one is made."
        )
    return token


def listen(address: WebAddress) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        OutputError: the address is not this machine's, or the port is taken or not allowed.
    """
    host, port = address.host, address.port
    try:
        family, _, _, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        both = host == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server(
            (str(place[0]), port), family=family, backlog=_BACKLOG, dualstack_ipv6=both
        )
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"Expected a free port at {host}:{port} for --web. "
            f"Received: {reason}. Choose another port, or an address of this machine."
        ) from error
    # Every connection inherits these.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
    return listener


def open_access(address: WebAddress, listener: socket.socket, token: str | None) -> Access:
    """Return whom a page answers that listens at an address.

    A page that only this machine can reach needs a token only if one is given; for any other one
    is made.
    """
    host, port = listener.getsockname()[:2]
    everywhere = not ipaddress.ip_address(host).is_loopback
    own = socket.gethostname().lower()
    names = {"localhost", address.host.lower()} | ({own, f"{own}.local"} if everywhere else set())
    if token is None and everywhere:
        token = secrets.token_urlsafe(_MADE_TOKEN_BYTES)
    # Cookies are shared by all ports of a host.
    return Access(token, frozenset(names), everywhere, f"pocketlens-{port}")


def page_url(listener: socket.socket) -> str:
    """Return the address to open in a browser, on another device where that can be."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = _own_address() or socket.gethostname()
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def address_to_open(listener: socket.socket, access: Access, *, given: bool) -> str:
    """Return the address to open, with the token if it was made and nobody knows it yet."""
    made = f"?token={access.token}" if access.token and not given else ""
    return page_url(listener) + made


def _own_address() -> str | None:
    # Connecting a datagram socket sends nothing; it only chooses the interface that leads outside.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def _same(given: str, expected: str) -> bool:
    # Half a character of a broken encoding must not raise.
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())
