"""What can be asked for: the page, the picture, the state, the events, figures, health."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
)
from starlette.routing import Route

from pocketlens import __version__
from pocketlens.choices import SHIFT_KINDS
from pocketlens.errors import DataError, UsageError
from pocketlens.runtime.live.frames import LIVE, KeepCounts
from pocketlens.runtime.live.web.archive import find, in_thread, parse_since, zip_of
from pocketlens.runtime.live.web.feed import Feed
from pocketlens.runtime.live.web.jpegs import Jpegs
from pocketlens.runtime.live.web.page import live_page
from pocketlens.runtime.live.web.viewing import PictureRoutes, PlacedResponse, Places

MOST_DOWNLOADS = 2

_LOOK_S = 0.2
_HEARTBEAT_S = 2.0

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
        self._pictures = PictureRoutes(feed, jpegs)
        self._following = Places()
        self._fetching = Places(MOST_DOWNLOADS, "downloads are running")
        self.routes = [
            Route("/", self.page),
            *self._pictures.routes(),
            Route("/inbox.zip", self.inbox),
            Route("/events", self.events),
            Route("/api/state", self.state),
            Route("/metrics", self.metrics),
            Route("/healthz", self.health),
        ]

    def app(self) -> Starlette:
        """Return the routes as an application."""
        return Starlette(routes=self.routes)

    @property
    def closing(self) -> bool:
        """Whether answers without an end are to stop."""
        return self._pictures.closing

    @closing.setter
    def closing(self, closing: bool) -> None:
        self._pictures.closing = closing

    def close(self) -> None:
        """Stop making pictures."""
        self._pictures.close()

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
        content = in_thread(zip_of(found.files, found.newest or ""))
        return PlacedResponse(content, headers, self._fetching)

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

        return PlacedResponse(messages(), {"content-type": "text/event-stream"}, self._following)


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
