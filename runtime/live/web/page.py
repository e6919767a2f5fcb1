"""The page in one piece, so that it fits the server that gives it and needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
from functools import cache
from importlib.resources import files

from pocketlens import __version__

_HINT = "It is in the address that pocketlens printed, or was given to it."
_WRONG = "That is not the token."


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


_STYLE = _read("page.css")
_SCRIPT = _read("page.js")

STYLE_HASH = _hash(_STYLE)
"""What allows the style of the page that asks for the token in a `Content-Security-Policy`."""

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src {_hash(_SCRIPT)}",
        f"style-src {STYLE_HASH}",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""The `Content-Security-Policy`: this script, this style, and requests to this server only."""


@cache
def live_page() -> str:
    """Return the live view as HTML."""
    parts = {"style": _STYLE, "version": html.escape(__version__), "script": _SCRIPT}
    return _filled("page.html", parts)


@cache
def token_page(*, wrong: bool) -> str:
    """Return the page that asks for the token as HTML; `wrong` says that one was not right."""
    return _filled("token.html", {"style": _STYLE, "hint": f"{_WRONG} {_HINT}" if wrong else _HINT})


def _filled(name: str, parts: dict[str, str]) -> str:
    text = _read(name)
    for part, value in parts.items():
        text = text.replace(f"{{{part}}}", value, 1)
    return text
