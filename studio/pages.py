"""What pages share: their routes, templates, and the files that they load."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from pocketlens import __version__
from pocketlens.report.html import counted, fixed, percent
from pocketlens.studio.protection import CSRF_FIELD, CSRF_SCOPE, FORM_BYTES

if TYPE_CHECKING:
    from jinja2 import Environment

Endpoint = Callable[[Request], Awaitable[Response]]

HTMX_PACKAGE, HTMX_VERSION = "htmx.org", "2.0.11"
HTMX_INTEGRITY = (
    "sha512-Thx/WtpeOQqSrqBCw/A1cwGJGg4UrVa3+sW0GmrM3p4g"
    "JgO89ecH4qtbnyzDDWFvBTqjnIMCgELTNt636dtamA=="
)
"""The npm package's checksum, as the registry and package-lock files write it."""

HTMX_SHA256 = "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"
"""That of `static/htmx.min.js`, which is the package's `dist/htmx.min.js`, unchanged. Its licence,
Zero-Clause BSD, is `static/htmx.LICENSE`."""

_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
# The address of a file has its checksum, and a file of another content has another address.
_FOREVER = "private, max-age=31536000, immutable"


class Page:
    """A page: `path` is where it begins, `title` what the navigation calls it.

    Answers without an end stop when `closing` is set.
    """

    path: str
    title: str
    closing: bool = False

    def routes(self) -> Sequence[BaseRoute]:
        """Return its routes, all of which begin with `path`."""
        raise NotImplementedError

    def stop(self) -> None:
        """Let answers without an end stop; called in any thread."""
        self.closing = True

    def close(self) -> None:
        """End what runs beside the answers; called in the loop that gave them."""


def write_route(
    path: str,
    endpoint: Endpoint,
    *,
    methods: Sequence[str] = ("POST",),
    most_bytes: int = FORM_BYTES,
) -> Route:
    """Return a route that may change something.

    Args:
        path: as Starlette writes it.
        endpoint: answers a request that brought the session's token.
        methods: none that only reads.
        most_bytes: how large the body may be; what is larger is refused unread.
    """
    if {"GET", "HEAD"} & set(methods):
        raise ValueError(f"{path}: what writes has no GET")
    route = Route(path, endpoint, methods=list(methods))
    vars(route)["most_bytes"] = most_bytes
    return route


def shared_routes(pages: Sequence[Page]) -> list[BaseRoute]:
    """Return the routes that all pages use: the way in, their files, the session's token."""

    async def home(request: Request) -> Response:
        return RedirectResponse(pages[0].path, 303)

    return [
        Route("/", home),
        Route("/static/{name}", _static),
        Route("/session", _session),
    ]


def render(request: Request, template: str, *, status: int = 200, **context: object) -> Response:
    """Answer with a page from a file in `templates/`.

    Beside the context a template has `request_path`, `pages`, `version`, `csrf` and the functions
    `asset(name)` and `csrf_field()`.
    """
    from markupsafe import Markup

    token: str = request.scope[CSRF_SCOPE]
    field = Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, token)
    text = (
        _environment()
        .get_template(template)
        .render(
            request_path=request.url.path,
            pages=request.app.state.pages,
            version=__version__,
            csrf=token,
            csrf_field=lambda: field,
            asset=asset,
            **context,
        )
    )
    return HTMLResponse(text, status)


def asset(name: str) -> str:
    """Return the address of a file in `static/`."""
    return f"/static/{name}?v={_asset(name)[1]}"


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    # Among what is there, not by joining paths.
    if name not in _asset_names():
        raise HTTPException(404)
    data, checksum = _asset(name)
    kept = {"cache-control": _FOREVER} if request.query_params.get("v") == checksum else {}
    return Response(data, headers={"content-type": _TYPES[Path(name).suffix], **kept})


async def _session(request: Request) -> Response:
    """Give a page that is still open the token of its session; no other page may read it."""
    return JSONResponse({"csrf": request.scope[CSRF_SCOPE]})


@cache
def _asset_names() -> frozenset[str]:
    folder = files("pocketlens.studio") / "static"
    return frozenset(entry.name for entry in folder.iterdir() if Path(entry.name).suffix in _TYPES)


@cache
def _asset(name: str) -> tuple[bytes, str]:
    data = (files("pocketlens.studio") / "static" / name).read_bytes()
    return data, hashlib.sha256(data).hexdigest()[:16]


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {"percent": percent, "fixed": fixed, "counted": counted}
    environment.filters.update(filters)
    return environment
