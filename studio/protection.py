"""What a request that writes has to bring, and how much: the rules behind those of the live page.

Another site's page can make a browser send a form here, with our cookies. So what changes
something needs a token that such a page cannot know, bound to a cookie of the session, and has to
come from a page of this server by what the browser itself says of it (`Origin`, `Sec-Fetch-Site`).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pocketlens.errors import (
    BusyError,
    ConflictError,
    DataError,
    LabelsError,
    OutputError,
    OutputExistsError,
    PocketlensError,
    UsageError,
)
from pocketlens.names import shown

FORM_BYTES = 64 * 1024
"""How large a request's body may be where a route does not say so."""

CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf"
CSRF_SCOPE = "pocketlens.csrf"
"""Where a request's scope has the token of its session."""

STALE_HEADER = "x-csrf-stale"
"""Marks the refusal of a token, which a page answers by fetching the session's anew."""

# In this order: the first that an error is one of.
STATUS: tuple[tuple[type[PocketlensError], int], ...] = (
    (OutputExistsError, 409),
    (ConflictError, 409),
    (BusyError, 409),
    (UsageError, 400),
    (LabelsError, 400),
    (DataError, 400),
    (OutputError, 507),
)
"""What an endpoint's error is answered with; any other is 500."""

READ_S = 10.0
"""How long the next part of a body may take to come, in seconds."""

_READING = ("GET", "HEAD")
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 1000
_SESSION_BYTES = 32
_SESSION = re.compile(r"[0-9a-f]{64}")


class Protection:
    """Stands between the access rules and the routes.

    Args:
        app: the routes.
        routes: the same, of which some have a limit of their own (`most_bytes`).
        cookie: name of the session's cookie.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute], cookie: str) -> None:
        self._app = app
        self._routes = routes
        self._cookie = cookie
        # Tokens end with the process; a page that is still open fetches a new one.
        self._secret = secrets.token_bytes(_SESSION_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope)
        session = request.cookies.get(self._cookie, "")
        new = not _SESSION.fullmatch(session)
        if new:
            session = secrets.token_hex(_SESSION_BYTES)
        scope[CSRF_SCOPE] = self._token(session)

        async def send_with_cookie(message: Message) -> None:
            if new and message["type"] == "http.response.start":
                pair = f"{self._cookie}={session}; Path=/; HttpOnly; SameSite=lax"
                message["headers"] = [*message.get("headers", ()), (b"set-cookie", pair.encode())]
            await send(message)

        limit = self._limit(scope)
        body = _Body(receive, limit)
        try:
            refusal = _too_large(limit) if _length(request) > limit else None
            if refusal is None and scope["method"] not in _READING:
                refusal = self._refusal(request) or await self._missing_token(request, body)
        except HTTPException as error:
            refusal = _closing(error.detail, error.status_code)
        await (refusal or self._app)(scope, body.receive, send_with_cookie)

    def _token(self, session: str) -> str:
        return hmac.new(self._secret, session.encode(), hashlib.sha256).hexdigest()

    def _limit(self, scope: Scope) -> int:
        for route in self._routes:
            if route.matches(scope)[0] == Match.FULL:
                return int(getattr(route, "most_bytes", FORM_BYTES))
        return FORM_BYTES

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that comes from another page."""
        site = request.headers.get("sec-fetch-site", "same-origin")
        origin = request.headers.get("origin")
        host = request.headers.get("host", "")
        ours = origin is None or origin.lower() in (f"{s}://{host}".lower() for s in _SCHEMES)
        if site != "same-origin" or not ours:
            return _closing("Expected a request from the page itself.", 403)
        return None

    async def _missing_token(self, request: Request, body: _Body) -> Response | None:
        """Return the answer to a request without the token of its session."""
        given = request.headers.get(CSRF_HEADER)
        if given is None and request.headers.get("content-type", "").startswith(_FORM):
            given = _form_fields(await body.whole()).get(CSRF_FIELD)
        expected: str = request.scope[CSRF_SCOPE]
        if given is not None and hmac.compare_digest(given.encode(), expected.encode()):
            return None
        return _closing(
            "Expected the page's token for changes. Load the page again.", 403, {STALE_HEADER: "1"}
        )


async def fields(request: Request) -> dict[str, str]:
    """Return the fields of a form, the last of each name.

    Raises:
        HTTPException: 415 or 400, the body is no form in URL encoding.
    """
    if not request.headers.get("content-type", "").startswith(_FORM):
        raise HTTPException(415, f"Expected a form as {_FORM}.")
    return _form_fields(await request.body())


def answer_error(request: Request, error: Exception) -> Response:
    """Answer with an endpoint's error, in its sentence."""
    return PlainTextResponse(shown(error), status_of(error))


def status_of(error: Exception) -> int:
    """Return the status of the answer to an error."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


_SCHEMES = ("http", "https")


class _Body:
    """A request's body: never more than the limit, and never waited for without an end."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._came = 0
        self._complete = False
        self._replayed: bytes | None = None

    async def receive(self) -> Message:
        """Return the next part, or that the client is gone."""
        if self._replayed is not None:
            data, self._replayed = self._replayed, None
            return {"type": "http.request", "body": data, "more_body": False}
        if self._complete:
            # Not the body: this ends when the client goes away.
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), READ_S)
        except asyncio.TimeoutError:
            raise HTTPException(408, "The request did not come to its end.") from None
        if message["type"] == "http.request":
            self._came += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._came > self._limit:
                raise HTTPException(413, _too_large_text(self._limit), {"connection": "close"})
        return message

    async def whole(self) -> bytes:
        """Return all of it; `receive` gives it once more."""
        parts = []
        while not self._complete:
            message = await self.receive()
            if message["type"] != "http.request":
                raise HTTPException(400, "The request did not come to its end.")
            parts.append(message.get("body", b""))
        self._replayed = b"".join(parts)
        return self._replayed


def _form_fields(data: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            data.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise HTTPException(400, "Expected the fields of a form in UTF-8.") from None
    return dict(pairs)


def _length(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else 1 << 62


def _too_large(limit: int) -> Response:
    return _closing(_too_large_text(limit), 413)


def _too_large_text(limit: int) -> str:
    size = f"{limit / (1 << 20):.0f} MB" if limit >= 1 << 20 else f"{limit // 1024} kB"
    return f"Expected at most {size} here. Received: more. Send less at once."


def _closing(text: str, status: int, headers: dict[str, str] | None = None) -> Response:
    """Return a refusal behind which the connection ends, so that no rest of a body is read."""
    return PlainTextResponse(text, status, {"connection": "close", **(headers or {})})
