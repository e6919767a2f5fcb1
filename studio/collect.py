"""The page of `pocketlens collect`: the live picture, and a button per label to hold."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from pocketlens.names import shown
from pocketlens.runtime.live.collecting import Collector
from pocketlens.runtime.live.watching import Watcher
from pocketlens.runtime.live.web.jpegs import Jpegs
from pocketlens.runtime.live.web.viewing import PictureRoutes, Places
from pocketlens.runtime.variety import ENOUGH_PHOTOS, WHY_ENOUGH
from pocketlens.studio.following import follow
from pocketlens.studio.pages import Page, render, write_route
from pocketlens.studio.protection import fields


class CollectPage(Page):
    """Shows a camera and lets browsers hold labels.

    Args:
        watcher: what the camera is watched by.
        collector: keeps what it gives; both stay open, whoever made them closes them.
    """

    path, title = "/collect", "Collect"

    def __init__(self, watcher: Watcher, collector: Collector) -> None:
        self._watcher = watcher
        self._collector = collector
        self._pictures = PictureRoutes(watcher, Jpegs(watcher))
        self._following = Places()
        # Photos are numbered anew by the next run, which pages that stay open have to know.
        self._run = secrets.token_hex(8)

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes of the page."""
        return [
            Route(self.path, self.show),
            Route(f"{self.path}/events", self.events),
            *self._pictures.routes(self.path),
            Route(f"{self.path}/thumbnail/{{number:int}}", self.thumbnail),
            write_route(f"{self.path}/hold", self.hold),
            write_route(f"{self.path}/release", self.release),
            write_route(f"{self.path}/undo", self.undo),
            write_route(f"{self.path}/label", self.label),
        ]

    def stop(self) -> None:
        """Let answers without an end stop."""
        super().stop()
        self._pictures.closing = True

    def close(self) -> None:
        """Stop making pictures."""
        self._pictures.close()

    async def show(self, request: Request) -> Response:
        """Answer with the page."""
        return render(
            request,
            "collect.html",
            source=shown(self._watcher.name),
            folder=shown(self._collector.store.photos),
            rate=f"{self._collector.rate:g}",
            enough=ENOUGH_PHOTOS,
            why=WHY_ENOUGH,
        )

    async def events(self, request: Request) -> Response:
        """Answer with the state as it changes, for the page that the query names."""
        who = _page(request.query_params.get("page", ""))
        return follow(
            request, self, self._following, lambda: self._state(who), clock=self._watcher.clock
        )

    async def thumbnail(self, request: Request) -> Response:
        """Answer with the thumbnail of a photo."""
        data = self._collector.thumbnail(request.path_params["number"])
        if data is None:
            raise HTTPException(404, "There is no such photo among the last ones.")
        return Response(data, media_type="image/jpeg")

    async def hold(self, request: Request) -> Response:
        """Hold a label; to be repeated while it is held."""
        form = await fields(request)
        self._collector.hold(_page(form.get("page", "")), form.get("label", ""))
        return Response(status_code=204)

    async def release(self, request: Request) -> Response:
        """Hold a label no more."""
        self._collector.release(_page((await fields(request)).get("page", "")))
        return Response(status_code=204)

    async def undo(self, request: Request) -> Response:
        """Take back the page's last recording, or one photo."""
        form = await fields(request)
        text = form.get("number")
        if text is not None and not re.fullmatch("[0-9]{1,9}", text):
            raise HTTPException(400, "Expected the number of a photo.")
        number = None if text is None else int(text)
        who = _page(form.get("page", ""))
        done = await run_in_threadpool(self._collector.undo, who, number)
        return JSONResponse({"labels": done})

    async def label(self, request: Request) -> Response:
        """Add a label."""
        name = (await fields(request)).get("name", "")
        label = await run_in_threadpool(self._collector.add_label, name)
        return JSONResponse({"label": label})

    def _state(self, who: str) -> dict[str, Any]:
        state, reason = self._watcher.state()
        return {
            **self._collector.to_dict(who),
            "run": self._run,
            "camera": state,
            "reason": shown(reason),
            "enough": ENOUGH_PHOTOS,
        }


def _page(name: str) -> str:
    """Return what a page calls itself, by which its recordings are told from those of others."""
    if not re.fullmatch("[0-9a-zA-Z]{1,32}", name):
        raise HTTPException(400, "Expected the page's name: letters and digits.")
    return name
