"""What can be asked for: the page, the picture, the state, the events, figures, health."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import asdict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pocketlens import __version__
from pocketlens.choices import SHIFT_KINDS
from pocketlens.errors import DataError, UsageError
from pocketlens.runtime.live.frames import LIVE, STALE, KeepCounts
from pocketlens.runtime.live.web.archive import find, in_thread, parse_since, zip_of
from pocketlens.runtime.live.web.feed import Feed
from pocketlens.runtime.live.web.jpegs import Jpeg, Jpegs
from pocketlens.runtime.live.web.page import live_page

MOST_VIEWERS = 8
MOST_DOWNLOADS = 2

_BOUNDARY = "frame"
_LOOK_S = 0.2
_HEARTBEAT_S = 2.0
# A page asks again; a browser or a proxy would give up after longer.
_PICTURE_S = 5.0
_PICTURE_POLL_S = 0.5

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_COUNTS = {
    "dropped": "Frames dropped because a newer one came.",
    "damaged": "Frames that could not be decoded.",
    "repeated": "Frames that came twice.",
    "stalls": "Times that frames stopped coming.",
    "reconnects": "Times that the source was opened again.",
}


class Routes:
    """The answers, all from one feed. Nothing can be changed from here."""

    def __init__(self, feed: Feed, jpegs: Jpegs) -> None:
        self._feed = feed
        self._jpegs = jpegs
        self._following = _Places(MOST_VIEWERS)
        self._looking = _Places(MOST_VIEWERS)
        self._fetching = _Places(MOST_DOWNLOADS, "downloads are running")
        self.closing = False
        self.routes = [
            Route("/", self.page),
            Route("/snapshot.jpg", self.snapshot),
            Route("/stream.mjpg", self.stream),
            Route("/inbox.zip", self.inbox),
            Route("/events", self.events),
            Route("/api/state", self.state),
            Route("/metrics", self.metrics),
            Route("/healthz", self.health),
        ]

    def app(self) -> Starlette:
        """Return the routes as an application."""
        return Starlette(routes=self.routes)

    async def page(self, request: Request) -> Response:
        """Answer with the page."""
        return HTMLResponse(live_page())

    async def state(self, request: Request) -> Response:
        """Answer with what holds now and the last events."""
        return JSONResponse({**self._feed.to_dict(), "events": self._feed.events()})

    async def metrics(self, request: Request) -> Response:
        """Answer with figures for Prometheus."""
        text = _metrics(self._feed, self._following.taken)
        return PlainTextResponse(text, headers={"content-type": _METRICS_TYPE})

    async def health(self, request: Request) -> Response:
        """Answer 200 where fresh frames are classified, else 503."""
        state, reason = self._feed.state()
        entry = {"state": state, **({"reason": reason} if reason else {})}
        return JSONResponse(entry, 200 if state == LIVE else 503)

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
        return _Stream(parts(), {"content-type": kind}, self._looking)

    async def inbox(self, request: Request) -> Response:
        """Answer with the kept frames after the time `since`, oldest first, as a ZIP file."""
        if self._feed.inbox is None:
            return PlainTextResponse(
                "This run keeps no frames. Start pocketlens live with --keep DIR.", 404
            )
        text = request.query_params.get("since", "")
        try:
            since_s = parse_since(text) if text else None
            found = await asyncio.to_thread(find, self._feed.inbox, since_s)
        except UsageError as error:
            return PlainTextResponse(str(error), 400)
        except DataError as error:
            return PlainTextResponse(str(error), 503)
        headers = {
            "content-type": "application/zip",
            "content-disposition": 'attachment; filename="inbox.zip"',
            "x-pictures": str(len(found.pictures)),
            "x-left": str(found.left),
            **({} if found.newest is None else {"x-newest": found.newest}),
        }
        return _Stream(in_thread(zip_of(found.files, found.newest or "")), headers, self._fetching)

    async def events(self, request: Request) -> Response:
        """Answer with the state and the events as they come, as server-sent events."""

        async def messages() -> AsyncIterator[str]:
            last = request.headers.get("last-event-id")
            sent, sent_s = "", 0.0
            yield "retry: 1000\n\n"
            while not (self.closing or await request.is_disconnected()):
                for event in self._feed.events(last):
                    last = event["id"]
                    yield _message("event", json.dumps(event, ensure_ascii=False), last)
                text = json.dumps(self._feed.to_dict(), ensure_ascii=False)
                now_s = self._feed.clock.now_s()
                if text != sent or now_s - sent_s > _HEARTBEAT_S:
                    sent, sent_s = text, now_s
                    yield _message("state", text)
                await asyncio.sleep(_LOOK_S)

        return _Stream(messages(), {"content-type": "text/event-stream"}, self._following)

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


class _Places:
    """Counts those who are there, up to the most that may be.

    Args:
        most: how many may be there.
        whose: what a refusal says that they do.
    """

    def __init__(self, most: int, whose: str = "viewers are watching") -> None:
        self.taken = 0
        self._most = most
        self._whose = whose

    def take(self) -> bool:
        if self.taken >= self._most:
            return False
        self.taken += 1
        return True

    def give_back(self) -> None:
        self.taken -= 1

    def full(self) -> Response:
        """Return the answer to one too many."""
        return PlainTextResponse(
            f"{self._most} {self._whose}, which is the limit. Close one of them.",
            503,
            {"retry-after": "5"},
        )


class _Stream(StreamingResponse):
    """A response that takes a place for as long as it is read."""

    def __init__(
        self,
        content: AsyncIterator[str] | AsyncIterator[bytes],
        headers: dict[str, str],
        places: _Places,
    ) -> None:
        super().__init__(content, headers=headers)
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await Response(headers=dict(self.headers))(scope, receive, send)
        elif not self._places.take():
            await self._places.full()(scope, receive, send)
        else:
            try:
                await super().__call__(scope, receive, send)
            finally:
                self._places.give_back()


def _message(kind: str, data: str, number: str = "") -> str:
    return f"event: {kind}\n" + (f"id: {number}\n" if number else "") + f"data: {data}\n\n"


def _metrics(feed: Feed, viewers: int) -> str:
    """Return what holds now; the format is that of Prometheus's exposition format 0.0.4."""
    latest = feed.latest
    state, _ = feed.state()
    build = f'{{version="{_escape(__version__)}",model="{_escape(feed.model)}"}}'
    lines = [
        *_metric("info", "gauge", "What runs.", (build, 1)),
        *_metric("source_up", "gauge", "Whether fresh frames come.", ("", int(state == LIVE))),
        *_metric("frames_total", "counter", "Frames classified.", ("", feed.frames)),
    ]
    if feed.watches_shift:
        shift = feed.shift
        kinds = (
            (f'{{kind="{name}"}}', int(shift is not None and name == shift.kind))
            for name in SHIFT_KINDS
        )
        lines += _metric("shift", "gauge", "Whether frames differ from the model's photos.", *kinds)
    for name, count in asdict(feed.counts()).items():
        lines += _metric(f"{name}_total", "counter", _COUNTS[name], ("", count))
    lines += _keeping(feed.keeping())
    lines += _metric("viewers", "gauge", "Pages that follow the events.", ("", viewers))
    if latest:
        seconds = (
            (f'{{stage="{stage}"}}', round(value / 1000, 9))
            for stage, value in latest.latency_ms.items()
        )
        age_s = round(feed.clock.now_s() - latest.at_s, 3)
        lines += [
            *_metric("fps", "gauge", "Answers per second.", ("", round(latest.fps, 3))),
            *_metric("latency_seconds", "gauge", "Averaged time of a stage.", *seconds),
            *_metric("answer_age_seconds", "gauge", "Age of the newest answer.", ("", age_s)),
        ]
    return "".join(f"{line}\n" for line in lines)


def _keeping(counts: KeepCounts | None) -> list[str]:
    """Return what was kept for labelling, nothing where nothing is."""
    if counts is None:
        return []
    kept = ((f'{{reason="{reason}"}}', count) for reason, count in counts.kept.items())
    left_out = (
        (f'{{why="{why}"}}', getattr(counts, why)) for why in ("near_copies", "dropped", "lost")
    )
    return [
        *_metric("kept_total", "counter", "Frames kept for labelling.", *kept),
        *_metric("not_kept_total", "counter", "Frames that were left out.", *left_out),
        *_metric("keep_up", "gauge", "Whether frames can be kept.", ("", int(not counts.trouble))),
        *_metric("keep_pictures", "gauge", "Kept frames in the folder.", ("", counts.pictures)),
        *_metric("keep_bytes", "gauge", "What they take on the disk.", ("", counts.size_bytes)),
        *_metric("keep_limit_bytes", "gauge", "What they may take.", ("", counts.limit_bytes)),
        *(
            [
                *_metric("keep_sent_total", "counter", "Kept frames sent.", ("", counts.sent)),
                *_metric("keep_unsent", "gauge", "Kept frames to be sent.", ("", counts.unsent)),
            ]
            if counts.sent is not None and counts.unsent is not None
            else []
        ),
    ]


def _metric(name: str, kind: str, text: str, *values: tuple[str, float]) -> list[str]:
    full = f"pocketlens_{name}"
    return [
        f"# HELP {full} {text}",
        f"# TYPE {full} {kind}",
        *(f"{full}{labels} {value}" for labels, value in values),
    ]


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
