"""Looking at frames from a browser: one picture, a stream of them, and how many may do so."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pocketlens.runtime.live.frames import STALE
from pocketlens.runtime.live.web.jpegs import Jpeg, Jpegs, Watched

MOST_VIEWERS = 8

_BOUNDARY = "frame"
# A page asks again; a browser or a proxy would give up after longer.
_PICTURE_S = 5.0
_PICTURE_POLL_S = 0.5


class PictureRoutes:
    """The newest frame as a picture, and as a stream of pictures."""

    def __init__(self, feed: Watched, jpegs: Jpegs) -> None:
        self._feed = feed
        self._jpegs = jpegs
        self._looking = Places()
        self.closing = False

    def routes(self, below: str = "") -> list[Route]:
        """Return the routes, below a path such as "/collect"."""
        return [
            Route(f"{below}/snapshot.jpg", self.snapshot),
            Route(f"{below}/stream.mjpg", self.stream),
        ]

    def close(self) -> None:
        """Stop making pictures."""
        self._jpegs.close()

    async def snapshot(self, request: Request) -> Response:
        """Answer with the next frame, other than number `after`, as a JPEG."""
        text = request.query_params.get("after", "")
        after = int(text) if re.fullmatch("[0-9]{1,18}", text) else None
        if not self._looking.take():
            return self._looking.full()
        try:
            jpeg = await self._picture(after, request)
        finally:
            self._looking.give_back()
        if jpeg is None:
            state, reason = self._feed.state()
            return PlainTextResponse(f"There is no picture now: {reason or state}.", 503)
        return Response(
            jpeg.data, media_type="image/jpeg", headers={"x-frame-number": str(jpeg.number)}
        )

    async def stream(self, request: Request) -> Response:
        """Answer with frames without end, as multipart JPEGs, for programs that read cameras."""

        async def parts() -> AsyncIterator[bytes]:
            number: int | None = None
            # A frame is shown when the boundary behind it is there.
            yield f"--{_BOUNDARY}\r\n".encode()
            while not (self.closing or await request.is_disconnected()):
                jpeg = await self._picture(number, request)
                if jpeg is None:
                    await asyncio.sleep(_PICTURE_POLL_S)
                    continue
                number = jpeg.number
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg.data)}\r\n\r\n"
                yield head.encode() + jpeg.data + f"\r\n--{_BOUNDARY}\r\n".encode()

        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        return PlacedResponse(parts(), {"content-type": kind}, self._looking)

    async def _picture(self, after: int | None, request: Request) -> Jpeg | None:
        """Wait for a picture; None where the source is stale or none comes."""
        until_s = self._feed.clock.now_s() + _PICTURE_S
        waiting = asyncio.ensure_future(self._jpegs.other_than(after))
        try:
            while self._feed.clock.now_s() < until_s and not self.closing:
                if self._feed.state()[0] == STALE:
                    return None
                done, _ = await asyncio.wait([waiting], timeout=_PICTURE_POLL_S)
                if done:
                    return waiting.result()
                if await request.is_disconnected():
                    return None
            return None
        finally:
            waiting.cancel()


class Places:
    """Counts those who are there, up to the most that may be.

    Args:
        most: how many may be there.
        whose: what a refusal says that they do.
    """

    def __init__(self, most: int = MOST_VIEWERS, whose: str = "viewers are watching") -> None:
        self.taken = 0
        self._most = most
        self._whose = whose

    def take(self) -> bool:
        """Take a place; returns False where none is left."""
        if self.taken >= self._most:
            return False
        self.taken += 1
        return True

    def give_back(self) -> None:
        """Give a place back."""
        self.taken -= 1

    def full(self) -> Response:
        """Return the answer to one too many."""
        return PlainTextResponse(
            f"{self._most} {self._whose}, which is the limit. Close one of them.",
            503,
            {"retry-after": "5"},
        )


class PlacedResponse(StreamingResponse):
    """A response that takes a place for as long as it is read."""

    def __init__(
        self,
        content: AsyncIterator[str] | AsyncIterator[bytes],
        headers: Mapping[str, str],
        places: Places,
    ) -> None:
        super().__init__(content, headers=headers)
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["method"] == "HEAD":
            await Response(headers=dict(self.headers))(scope, receive, send)
        elif not self._places.take():
            await self._places.full()(scope, receive, send)
        else:
            try:
                await super().__call__(scope, receive, send)
            finally:
                self._places.give_back()
