"""Serving pages that write: the live page's server and access rules, and the rules for writing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

import click
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import PocketlensError
from pocketlens.runtime.live.web.access import WebAddress, address_to_open, listen, open_access
from pocketlens.runtime.live.web.page import STYLE_HASH
from pocketlens.runtime.live.web.server import Server
from pocketlens.studio.pages import Page, shared_routes
from pocketlens.studio.protection import Protection, answer_error

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        # The second is for the page that asks for the token.
        f"style-src 'self' {STYLE_HASH}",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""The `Content-Security-Policy`: files of this server, nothing within a page, no other host."""


class Studio:
    """Serves pages from when it is made until it is closed; a context that closes it.

    Args:
        pages: the first is shown at "/".
        address: where to listen.
        token: what browsers must send. None: nothing where only this machine can reach the pages,
            otherwise a token is made.
        announce: gets one line with the address, and with a token that was made.
        clock: what limits on connections go by.

    Raises:
        OutputError: it cannot listen there.
    """

    def __init__(
        self,
        pages: Sequence[Page],
        address: WebAddress,
        *,
        token: str | None = None,
        announce: Callable[[str], None] = lambda line: click.echo(line, err=True),
        clock: Clock = CLOCK,
    ) -> None:
        listener = listen(address)
        access = open_access(address, listener, token)
        self.url = address_to_open(listener, access, given=token is not None)
        self._server = Server(
            _Pages(pages, f"{access.cookie}-session"),
            listener,
            access,
            policy=CONTENT_POLICY,
            clock=clock,
        )
        announce(f"Open {self.url}")

    def __enter__(self) -> Studio:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving, at most within two seconds. A second call does nothing."""
        self._server.close()


def routes_of(pages: Sequence[Page]) -> list[BaseRoute]:
    """Return all routes of these pages, with those that all pages use."""
    routes = shared_routes(pages)
    for page in pages:
        routes += page.routes()
    return routes


class _Pages:
    def __init__(self, pages: Sequence[Page], cookie: str) -> None:
        self._pages = pages
        self._cookie = cookie
        self._closing = False

    @property
    def closing(self) -> bool:
        return self._closing

    @closing.setter
    def closing(self, closing: bool) -> None:
        self._closing = closing
        for page in self._pages if closing else ():
            page.stop()

    def app(self) -> ASGIApp:
        routes = routes_of(self._pages)
        app = Starlette(routes=routes, exception_handlers={PocketlensError: answer_error})
        app.state.pages = self._pages
        # A path with a slash too many is none; redirecting would also read a body first.
        app.router.redirect_slashes = False
        return Protection(app, routes, self._cookie)

    def close(self) -> None:
        for page in self._pages:
            page.close()
