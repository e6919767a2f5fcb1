"""The server: uvicorn in a thread of its own, with limits on what a client may hold."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from typing import Any

import uvicorn
from starlette.types import Scope

from pocketlens.runtime.live.web.access import Access
from pocketlens.runtime.live.web.feed import Feed
from pocketlens.runtime.live.web.guard import Guard
from pocketlens.runtime.live.web.jpegs import Jpegs
from pocketlens.runtime.live.web.routes import Routes

LOGGER = logging.getLogger("pocketlens")

_MOST_CONNECTIONS = 64
_MOST_HEADER_BYTES = 16 * 1024
_KEEP_ALIVE_S = 5
# Longer than keep-alive: for clients that never ask, and for those that do not take the rest.
_IDLE_S = 10.0
_SWEEP_S = 1.0
_GRACE_S = 1
_JOIN_S = 2.0


class Server:
    """Serves a feed at a socket until it is closed.

    Args:
        feed: what to show.
        listener: listens already; belongs to the server from now on.
        access: whom to answer.
    """

    def __init__(self, feed: Feed, listener: socket.socket, access: Access) -> None:
        self._feed = feed
        self._listener = listener
        self._access = access
        self._uvicorn: uvicorn.Server | None = None
        self._routes: Routes | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving, at most within two seconds. A second call does nothing."""
        self._closed = True
        if self._routes and self._uvicorn:
            self._routes.closing = True
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
        jpegs = Jpegs(self._feed)
        routes = Routes(self._feed, jpegs)
        config = uvicorn.Config(
            Guard(routes.app(), self._access, self._cut_off),
            loop="asyncio",
            http="h11",
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
        self._uvicorn, self._routes = uvicorn.Server(config), routes
        self._uvicorn.should_exit = self._closed
        sweeping = asyncio.create_task(self._sweep())
        try:
            await self._uvicorn.serve([self._listener])
        finally:
            sweeping.cancel()
            jpegs.close()
            for connection in self._connections():
                connection.transport.abort()

    async def _sweep(self) -> None:
        """Cut off connections on which nothing is asked, or nothing is taken."""
        idle_since_s: dict[tuple[int, int], float] = {}
        while True:
            now_s = time.monotonic()
            # A connection is idle before its first request and after each response.
            idle = {
                (id(connection), id(connection.cycle)): connection
                for connection in self._connections()
                if connection.cycle is None or connection.cycle.response_complete
            }
            idle_since_s = {key: idle_since_s.get(key, now_s) for key in idle}
            for key, since_s in idle_since_s.items():
                if now_s - since_s > _IDLE_S:
                    idle[key].transport.abort()
            await asyncio.sleep(_SWEEP_S)

    def _cut_off(self, scope: Scope) -> None:
        """End a request's connection at once, with whatever is still to be sent on it."""
        for connection in self._connections():
            if connection.client and connection.client == tuple(scope["client"] or ()):
                connection.transport.abort()

    def _connections(self) -> list[Any]:
        return list(self._uvicorn.server_state.connections) if self._uvicorn else []
