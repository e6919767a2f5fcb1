"""The server: uvicorn in a thread of its own, with limits on what a client may hold."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from pocketlens.clock import CLOCK, Clock
from pocketlens.runtime.live.web.access import Access
from pocketlens.runtime.live.web.guard import Guard
from pocketlens.runtime.live.web.page import CONTENT_POLICY

LOGGER = logging.getLogger("pocketlens")

_MOST_CONNECTIONS = 64
# Of those that have not shown a token, or asked for anything.
_MOST_STRANGERS = 16
_MOST_HEADER_BYTES = 16 * 1024
_KEEP_ALIVE_S = 5
# Longer than keep-alive: for clients that never ask, and for those that do not take the rest.
_IDLE_S = 10.0
_SWEEP_S = 1.0
_GRACE_S = 1
_JOIN_S = 2.0


class Served(Protocol):
    """What a server gives: routes, whose answers without an end stop when `closing` is set."""

    closing: bool

    def app(self) -> ASGIApp:
        """Return the routes as an application."""

    def close(self) -> None:
        """End what runs beside the answers; called in the loop that gave them."""


class Server:
    """Serves routes at a socket until it is closed.

    Args:
        served: the routes.
        listener: listens already; belongs to the server from now on.
        access: whom to answer.
        policy: the `Content-Security-Policy` of all answers.
        clock: what limits on connections go by.
    """

    def __init__(
        self,
        served: Served,
        listener: socket.socket,
        access: Access,
        *,
        policy: str = CONTENT_POLICY,
        clock: Clock = CLOCK,
    ) -> None:
        self._served = served
        self._listener = listener
        self._access = access
        self._policy = policy
        self._clock = clock
        self._uvicorn: uvicorn.Server | None = None
        self._connections: set[_Connection] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving, at most within two seconds. A second call does nothing."""
        self._closed = self._served.closing = True
        if self._uvicorn:
            self._uvicorn.should_exit = True
        self._thread.join(_JOIN_S)
        self._listener.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            # What is live goes on without a page.
            LOGGER.warning("The web page ended: %r", error)

    async def _serve(self) -> None:
        guard = Guard(
            self._served.app(), self._access, self._cut_off, self._admit, policy=self._policy
        )

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            with contextlib.ExitStack() as stack:
                for connection in self._of(scope):
                    stack.enter_context(connection.asked())
                await guard(scope, receive, send)

        config = uvicorn.Config(
            answer,
            loop="asyncio",
            http=_listed_in(self._connections, self._clock),
            ws="none",
            lifespan="off",
            log_config=None,
            # Uvicorn would report every client that goes away and write addresses down.
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GRACE_S,
            h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
        )
        self._uvicorn = uvicorn.Server(config)
        self._uvicorn.should_exit = self._closed
        sweeping = asyncio.create_task(self._sweep())
        try:
            await self._uvicorn.serve([self._listener])
        finally:
            sweeping.cancel()
            self._served.close()
            for connection in list(self._connections):
                connection.transport.abort()

    async def _sweep(self) -> None:
        """Cut off connections on which nothing is asked, or nothing is taken."""
        while True:
            until_s = self._clock.now_s() - _IDLE_S
            for connection in list(self._connections):
                # A connection is idle before its first request and after each response.
                if not connection.requests and connection.idle_since_s < until_s:
                    connection.transport.abort()
            await asyncio.sleep(_SWEEP_S)

    def _admit(self, scope: Scope) -> None:
        for connection in self._of(scope):
            connection.admitted = True

    def _cut_off(self, scope: Scope) -> None:
        """End a request's connection at once, with whatever is still to be sent on it."""
        for connection in self._of(scope):
            connection.transport.abort()

    def _of(self, scope: Scope) -> list[_Connection]:
        """Return the connection that a request came on, or nothing where it is gone already."""
        ends = tuple(tuple(scope[end] or ()) for end in ("client", "server"))
        return [connection for connection in self._connections if connection.ends == ends]


@dataclass(eq=False)
class _Connection:
    """A client's connection: how many requests are being answered, since when there are none.

    `admitted` says that a request on it was let through.
    """

    transport: asyncio.Transport
    clock: Clock
    idle_since_s: float
    requests: int = 0
    admitted: bool = False

    @property
    def ends(self) -> tuple[tuple[str, int], ...]:
        """The client's address and port, and the server's."""
        names = (self.transport.get_extra_info(name) for name in ("peername", "sockname"))
        return tuple(tuple(name or ())[:2] for name in names)

    @contextlib.contextmanager
    def asked(self) -> Iterator[None]:
        """Be answering a request while the context lasts."""
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1
            self.idle_since_s = self.clock.now_s()


def _listed_in(connections: set[_Connection], clock: Clock) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol, whose connections stand in the set while they are open."""

    class Listed(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            strangers = [entry for entry in connections if not entry.admitted]
            if len(strangers) >= _MOST_STRANGERS:
                # Who has the token asks at once; who only holds places loses the oldest.
                oldest = min(strangers, key=lambda entry: entry.idle_since_s)
                # Now, since its end is heard of only when all that wait have been taken in.
                connections.discard(oldest)
                oldest.transport.abort()
            self._listed = _Connection(transport, clock, clock.now_s())
            connections.add(self._listed)
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.discard(self._listed)
            super().connection_lost(exc)

    return Listed
