"""The live view in a browser: `pocketlens live --web`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from pocketlens.extras import require_web
from pocketlens.runtime.live.frames import CaptureCounts
from pocketlens.runtime.live.web.access import WebAddress, listen, open_access, page_url
from pocketlens.runtime.live.web.feed import Feed


@contextlib.contextmanager
def open_web(
    address: WebAddress,
    *,
    token: str | None,
    model: str,
    source: str,
    counts: Callable[[], CaptureCounts],
    announce: Callable[[str], None],
) -> Iterator[Feed]:
    """Serve a page while the context lasts; the feed it gives takes what the page shall show.

    Args:
        address: where to listen.
        token: what viewers have to bring. None: nothing where only this machine can reach the page,
            otherwise a token is made.
        model: name of the model file, to show.
        source: name of the source, to show; without passwords.
        counts: says what happened while capturing.
        announce: gets one line that says where the page is, with a token that was made.

    Raises:
        MissingDependencyError: the packages of the `web` extra are not installed.
        OutputError: it cannot listen there.
    """
    require_web()
    from pocketlens.runtime.live.web.server import Server

    listener = listen(address)
    access = open_access(address, listener, token)
    made = f"?token={access.token}" if access.token and token is None else ""
    feed = Feed(model=model, source=source, counts=counts)
    server = Server(feed, listener, access)
    announce(f"Watch it at {page_url(listener)}{made}")
    try:
        yield feed
    finally:
        server.close()
