"""What a page shows while it changes: states as they become others, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from pocketlens.clock import CLOCK, Clock
from pocketlens.runtime.live.web.viewing import EndlessResponse, Places
from pocketlens.studio.pages import Page

_LOOK_S = 0.1
_HEARTBEAT_S = 2.0


def follow(
    request: Request,
    page: Page,
    places: Places,
    state: Callable[[], Any],
    *,
    clock: Clock = CLOCK,
) -> Response:
    """Answer with what `state` returns, as JSON, whenever it is another; `studio.follow` reads it.

    Args:
        request: the request.
        page: ends the answer by `closing`.
        places: of those who follow; where all are taken the answer is 503.
        state: called in the loop several times a second, so it must not wait.
        clock: what the heartbeats go by that tell a page that nothing has changed.
    """

    async def messages() -> AsyncIterator[str]:
        sent, sent_s = "", 0.0
        while not (page.closing or await request.is_disconnected()):
            text = json.dumps(state(), ensure_ascii=False)
            now_s = clock.now_s()
            if text != sent or now_s - sent_s > _HEARTBEAT_S:
                sent, sent_s = text, now_s
                yield f"data: {text}\n\n"
            await asyncio.sleep(_LOOK_S)

    return EndlessResponse(messages(), "text/event-stream", places)
