"""The live view in a browser: `pocketlens live --web`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from pocketlens.clock import CLOCK, Clock
from pocketlens.imports import require_web
from pocketlens.runtime.live.frames import FrameResult, RunInfo, ShiftState, Sink, SourceState
from pocketlens.runtime.live.sinks import SinkRequest
from pocketlens.runtime.live.web.access import (
    WebAddress,
    address_to_open,
    check_token,
    listen,
    open_access,
    parse_address,
)
from pocketlens.runtime.live.web.feed import Feed
from pocketlens.runtime.pictures import Pixels


def make_sink(request: SinkRequest) -> Sink:
    """Return the page that `--web` asks for."""
    require_web()
    token = None if request.web_token is None else check_token(request.web_token)
    inbox = None if request.keep is None else Path(request.keep)
    return WebPage(parse_address(request.web or ""), token=token, inbox=inbox)


class WebPage(Sink):
    """Serves a page with the newest frame and its result; `feed` is what it shows.

    Args:
        address: where to listen.
        token: what viewers must send. None: nothing where only this machine can reach the page,
            otherwise a token is made.
        inbox: the folder that frames are kept in, None where there is none.
        announce: gets one line with the address of the page, and with a token that was made.
        clock: what the page and its server go by.

    Raises:
        OutputError: from `opened`, it cannot listen there.
    """

    def __init__(
        self,
        address: WebAddress,
        *,
        token: str | None = None,
        inbox: Path | None = None,
        announce: Callable[[str], None] = lambda line: click.echo(line, err=True),
        clock: Clock = CLOCK,
    ) -> None:
        self._clock = clock
        self._address = address
        self._token = token
        self._inbox = inbox
        self._announce = announce

    def opened(self, run: RunInfo) -> None:
        """Begin to serve."""
        from pocketlens.runtime.live.web.jpegs import Jpegs
        from pocketlens.runtime.live.web.routes import Routes
        from pocketlens.runtime.live.web.server import Server

        listener = listen(self._address)
        access = open_access(self._address, listener, self._token)
        self.feed = Feed(
            model=run.model,
            source=run.source,
            watches_shift=run.watches_shift,
            counts=run.counts,
            keeping=run.keeping,
            inbox=self._inbox,
            clock=self._clock,
        )
        routes = Routes(self.feed, Jpegs(self.feed))
        self._server = Server(routes, listener, access, clock=self._clock)
        opened = address_to_open(listener, access, given=self._token is not None)
        self._announce(f"Watch it at {opened}")

    def result(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Show a result."""
        self.feed.put(frame_bgr, result)

    def state(self, state: SourceState) -> None:
        """Show a change of state."""
        self.feed.watch(state)

    def shift(self, shift: ShiftState) -> None:
        """Show a change of shift."""
        self.feed.note_shift(shift)

    def closed(self) -> None:
        """Stop serving."""
        self._server.close()
