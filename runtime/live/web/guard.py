"""What every request passes: host, origin, token, headers that protect, a limit on writing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pocketlens.runtime.live.web.access import Access
from pocketlens.runtime.live.web.page import CONTENT_POLICY, token_page

LOGGER = logging.getLogger("pocketlens")

WRITE_S = 10.0
"""How long a viewer may leave what was sent to it before it is cut off, in seconds."""

# Guessing gets slow, and who mistyped hardly notices.
_WRONG_TOKEN_S = 0.5
_COOKIE_S = 30 * 24 * 3600
_NO_TOKEN = 401
_HEADERS = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


class Guard:
    """Stands before the routes, those that do not exist included.

    Args:
        app: the routes.
        access: whom to answer.
        cut_off: ends the connection of a request whose viewer does not read.
        admit: notes that a request was let through.
        policy: the `Content-Security-Policy` of all answers.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        cut_off: Callable[[Scope], None],
        admit: Callable[[Scope], None],
        *,
        policy: str = CONTENT_POLICY,
    ) -> None:
        self._app = app
        self._access = access
        self._cut_off = cut_off
        self._admit = admit
        headers = {"content-security-policy": policy, **_HEADERS}
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        started = gone = False

        async def guarded_send(message: Message) -> None:
            nonlocal started, gone
            if gone:
                return
            if message["type"] == "http.response.start":
                started = True
                # What an answer says of itself, such as how long it may be kept, stands.
                own = {name.lower() for name, _ in message.get("headers", ())}
                added = (pair for pair in self._headers if pair[0] not in own)
                message["headers"] = [*message.get("headers", ()), *added]
            try:
                await asyncio.wait_for(send(message), WRITE_S)
            except asyncio.TimeoutError:
                gone = True
                self._cut_off(scope)

        request = Request(scope)
        refusal = self._refusal(request)
        if refusal is None:
            self._admit(scope)
        elif refusal.status_code == _NO_TOKEN and self._brings_token(request):
            await asyncio.sleep(_WRONG_TOKEN_S)
        app: ASGIApp = refusal or self._app
        try:
            await app(scope, receive, guarded_send)
        except Exception as error:
            # The path only: a query may hold the token.
            LOGGER.warning("The web page could not answer %s: %r", request.url.path, error)
            if not started:
                await PlainTextResponse("This failed; the log says why.", 500)(
                    scope, receive, guarded_send
                )

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that gets no further."""
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or not self._access.answers_host(hosts[0]):
            return PlainTextResponse(
                "Expected a host name of this device. Open the page by the device's IP address.",
                421,
            )
        if (
            request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
            and request.headers.get("sec-fetch-mode") != "navigate"
        ):
            return PlainTextResponse("Expected a request from the page itself.", 403)
        if self._access.token is None:
            return None
        given = request.query_params.get("token") if request.url.path == "/" else None
        if given is not None and self._access.is_token(given):
            # To an address without the token, which so stays out of histories and bookmarks.
            response = RedirectResponse("/", 303)
            response.set_cookie(
                self._access.cookie,
                self._access.cookie_value,
                max_age=_COOKIE_S,
                httponly=True,
                # "strict" would leave it out after a click on a link in a message.
                samesite="lax",
            )
            return response
        if given is None and self._access.admits(request.headers, request.cookies):
            return None
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(token_page(wrong=given is not None), _NO_TOKEN)
        return PlainTextResponse(
            "Expected the token. Send it as a header: Authorization: Bearer TOKEN",
            _NO_TOKEN,
            {"www-authenticate": "Bearer"},
        )

    def _brings_token(self, request: Request) -> bool:
        """Tell whether a request brings a token in any of the ways in which one may guess it."""
        return (
            "token" in request.query_params
            or "authorization" in request.headers
            or self._access.cookie in request.cookies
        )
