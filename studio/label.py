"""The page where pictures get labels, by keys: what teaches most first, whole groups at once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from pocketlens.choices import UNKNOWN
from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import PictureError
from pocketlens.names import shown, to_label
from pocketlens.project import Project
from pocketlens.studio.changes import Changes, Outcome
from pocketlens.studio.facts import Facts
from pocketlens.studio.pages import Page, render, write_route
from pocketlens.studio.pool import INBOX, PLACES, Pool, View
from pocketlens.studio.previews import LARGE, SMALL, Previews
from pocketlens.studio.protection import fields

PAGE_ITEMS = 120
"""Pictures that are sent at once; the next come when somebody gets near the end."""

MOST_CHANGES = 2000
"""Pictures that one request may change."""

_CHANGE_BYTES = 1 << 20
_WHO = re.compile(r"[\w .-]{1,40}")
_SOMEBODY = "studio"
# A name in the address bar would be kept; the addresses of pictures change with their content.
_KEPT = "private, max-age=3600"

REASON_WORDS = {
    "collected": "collected by hand",
    "unsure": "the model was unsure",
    "unknown": "unlike what the model knows",
    "changed": "the decision changed",
    "shift": "frames began to differ from the training photos",
    "random": "random sample",
}
"""Why a frame was kept, in words."""


class LabelPage(Page):
    """Labels a project's pictures.

    Args:
        project: whose.
        cache: where small pictures and the model's answers are kept; None keeps nothing.
        clock: for the time in the journal.
    """

    path, title = "/label", "Label"

    def __init__(self, project: Project, cache: Path | None, clock: Clock = CLOCK) -> None:
        self.project = project
        self.facts = Facts(project, cache)
        self.previews = Previews(cache)
        self.pool = Pool(project, self.facts)
        self._changes = Changes(self.pool, clock)

    def routes(self) -> Sequence[BaseRoute]:
        """Return its routes."""
        return [
            Route("/label", self.show),
            *(Route(f"/label/{place}", self.show) for place in PLACES),
            Route("/label/tiles", self.tiles),
            Route("/label/group/{key}", self.group),
            Route("/label/about/{key}", self.about),
            Route("/label/photo/{key}", self.photo),
            Route("/label/large/{key}", self.large),
            Route("/label/state", self.state),
            write_route("/label/place", self.place, most_bytes=_CHANGE_BYTES),
            write_route("/label/delete", self.delete, most_bytes=_CHANGE_BYTES),
            write_route("/label/undo", self.undo),
            write_route("/label/restore", self.restore),
        ]

    def close(self) -> None:
        """End the thread that looks at pictures."""
        self.facts.close()

    async def show(self, request: Request) -> Response:
        """Show a place, its pictures sorted anew."""
        place = request.url.path.rpartition("/")[2]
        if place not in PLACES:
            return RedirectResponse(f"/label/{INBOX}", 303)

        def look() -> dict[str, Any]:
            self.pool.look()
            view = self.pool.view(place)
            return {
                **_page(view, 0),
                "labels": self.pool.labels(),
                "counts": {**self.pool.counts(), place: len(view.items)},
            }

        found = await run_in_threadpool(look)
        return render(
            request,
            "label.html",
            place=place,
            project=self.project,
            unknown=UNKNOWN,
            progress=self.facts.progress,
            **found,
        )

    async def tiles(self, request: Request) -> Response:
        """Give the next pictures of a view."""
        view = self.pool.kept_view(request.query_params.get("view", ""))
        if view is None:
            raise HTTPException(410, "The list has changed since. Load the page again.")
        start = request.query_params.get("from", "0")
        if not re.fullmatch("[0-9]{1,7}", start):
            raise HTTPException(400, "Expected the number of a picture in the list.")
        return render(request, "label_tiles.html", **_page(view, int(start)))

    async def group(self, request: Request) -> Response:
        """Give the group that a picture of a view is in."""
        view = self.pool.kept_view(request.query_params.get("view", ""))
        items = view.group(request.path_params["key"]) if view else []
        if view is None or not items:
            raise HTTPException(410, "The list has changed since. Load the page again.")
        return render(request, "label_tiles.html", view=view, items=items, more=None)

    async def about(self, request: Request) -> Response:
        """Say what is known about a picture."""
        found = await run_in_threadpool(self.pool.item, request.path_params["key"])
        view = self.pool.kept_view(request.query_params.get("view", ""))
        beside = view.group(found.key) if view else []
        # What the list says, though the model may have said something else meanwhile.
        item = next((entry for entry in beside if entry.key == found.key), found)
        at = ""
        if item.info is not None:
            moment = datetime.fromtimestamp(item.info.at_s, timezone.utc)
            at = f"{moment:%Y-%m-%d %H:%M:%S} UTC"
        return render(
            request,
            "label_about.html",
            item=item,
            group=[entry for entry in beside if entry.key != item.key],
            at=at,
            name=shown(item.path.name),
            source=shown(item.info.source) if item.info else "",
            reason=REASON_WORDS.get(item.info.reason, shown(item.info.reason)) if item.info else "",
            model=shown(self.facts.progress.model),
        )

    async def photo(self, request: Request) -> Response:
        """Give a picture for the grid."""
        return await self._preview(request, SMALL)

    async def large(self, request: Request) -> Response:
        """Give a picture to look at."""
        return await self._preview(request, LARGE)

    async def state(self, request: Request) -> Response:
        """Say how many pictures there are, and how far the model is."""
        del request
        progress = self.facts.progress
        return JSONResponse(
            {
                "counts": await run_in_threadpool(self.pool.counts),
                "labels": await run_in_threadpool(self.pool.labels),
                "version": self.facts.version,
                "done": progress.done,
                "total": progress.total,
                "model": shown(progress.model),
                "problem": progress.problem,
            }
        )

    async def place(self, request: Request) -> Response:
        """Give pictures their labels: `changes` is JSON, a list of [key, label].

        The answer says what was done with each. Where somebody else was faster with one of them it
        is 409, with the label that the picture has now.
        """
        form = await fields(request)
        changes = _changes(form.get("changes", ""))
        by_label: dict[str, list[str]] = {}
        for key, label in changes:
            by_label.setdefault(to_label(label), []).append(key)
        return await self._answer(self._changes.place, by_label, _who(form))

    async def delete(self, request: Request) -> Response:
        """Move pictures out of the project's folders: `changes` as for `place`, without labels."""
        form = await fields(request)
        keys = [key for key, _ in _changes(form.get("changes", ""))]
        return await self._answer(self._changes.delete, keys, _who(form))

    async def undo(self, request: Request) -> Response:
        """Take back what somebody did last."""
        return await self._answer(self._changes.undo, _who(await fields(request)))

    async def restore(self, request: Request) -> Response:
        """Put a deleted picture back where it was."""
        form = await fields(request)
        return await self._answer(self._changes.restore, form.get("key", ""), _who(form))

    async def _preview(self, request: Request, side: int) -> Response:
        path = self.pool.path(request.path_params["key"])
        try:
            data = await run_in_threadpool(self.previews.jpeg, path, side)
        except PictureError as error:
            raise HTTPException(404, shown(error)) from error
        return Response(data, media_type="image/jpeg", headers={"cache-control": _KEPT})

    async def _answer(self, do: Callable[..., Outcome], *args: object) -> Response:
        outcome = await run_in_threadpool(do, *args)
        return JSONResponse(
            {
                "changed": outcome.changed,
                "conflicts": outcome.conflicts,
                "error": outcome.error,
                "said": outcome.said,
                "counts": await run_in_threadpool(self.pool.counts),
                "labels": await run_in_threadpool(self.pool.labels),
            },
            outcome.status,
        )


def _page(view: View, start: int) -> dict[str, Any]:
    items = view.items[start : start + PAGE_ITEMS]
    following = start + PAGE_ITEMS
    return {
        "view": view,
        "items": items,
        "more": following if following < len(view.items) else None,
    }


def _changes(text: str) -> list[tuple[str, str]]:
    """Read what is to be done with which picture; raises HTTPException for anything else."""
    try:
        changes = json.loads(text)
        pairs = [(key, label) for key, label in changes]
    except (ValueError, TypeError, RecursionError):
        pairs = []
    good = all(isinstance(key, str) and isinstance(label, str) for key, label in pairs)
    if not pairs or not good or len(pairs) > MOST_CHANGES:
        raise HTTPException(
            400, f"Expected 1 to {MOST_CHANGES} changes as JSON: [[picture, label], ...]."
        )
    return pairs


def _who(form: Mapping[str, str]) -> str:
    """Return how the journal calls somebody: a page makes up a name for its browser."""
    who = form.get("who", "").strip()
    return who if _WHO.fullmatch(who) else _SOMEBODY
