"""HTML pages by Jinja2: each is one file that requests nothing from anywhere."""

from __future__ import annotations

import base64
import io
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from pocketlens.errors import PictureError
from pocketlens.runtime.pictures import Pixels, decode, resize

if TYPE_CHECKING:
    from jinja2 import Environment

# Pixels on a thumbnail's longer side: some 5 kB each.
THUMBNAIL_SIDE = 160

_TEMPLATES = Path(__file__).parent / "templates"
# What is not text of the page: a tag, or an element whose content is not ours to change.
_NOT_TEXT = re.compile(r"(<(style|title|pre|svg)\b.*?</\2>|<[^>]*>)", re.DOTALL)
# A word that a phone may have no room for, and where it may break: behind "_", "-" and "/", before
# the ending of a file's name.
_LONG_WORD = re.compile(r"[^\s<>]{14,}")
_BREAK = re.compile(r"(?<=\w[_/-])(?=\w)|(?<=\w)(?=\.[A-Za-z])")


def render(template: str, **context: object) -> str:
    """Return a page from a file in `templates/`, readable on a phone, in light and dark.

    Values are escaped unless they are `markupsafe.Markup`, as charts are; a name that the context
    lacks is an error. Long names get places where a line may break, so that it does not break
    inside their words. Filters: `percent` (a share of 1 as "93.1 %", None as "–"), `fixed` (a
    number with so many digits, None as "–"), `counted` (1 photo, 2 photos).
    """
    page = _environment().get_template(template).render(context)
    # Of each three, the first is text, then a tag, then the tag's name, if it is one that is kept.
    parts = _NOT_TEXT.split(page)
    parts[::3] = [_LONG_WORD.sub(lambda word: _BREAK.sub("<wbr>", word[0]), t) for t in parts[::3]]
    del parts[2::3]
    return "".join(parts)


def data_url(content: bytes, kind: str) -> str:
    """Return the content of an image file as an address; `kind` is "jpeg", "png", …."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def pixels_url(pixels: Pixels) -> str:
    """Return pixels uint8 (height, width, 3) in RGB as the address of a JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=80)
    return data_url(buffer.getvalue(), "jpeg")


def thumbnail_url(path: Path) -> str:
    """Return a photo, made small, as the address of a JPEG; "" for one that cannot be read."""
    try:
        pixels = decode(path)
        height, width = pixels.shape[:2]
        scale = THUMBNAIL_SIDE / max(height, width)
        size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
        return pixels_url(resize(pixels, size_wh))
    except PictureError:
        return ""


def counted(number: int, one: str = "photo", several: str = "") -> str:
    """Return a number with its noun, which has an "s" where nothing else is said."""
    return f"{number} {one if number == 1 else several or one + 's'}"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share of 1 in percent, with a space that no line breaks at; None as "–"."""
    return "–" if share is None else f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def fixed(value: float | None, digits: int = 2) -> str:
    """Return a number with so many digits behind the point; None as "–"."""
    return "–" if value is None else f"{value:.{digits}f}"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(percent=percent, fixed=fixed, counted=counted)
    return environment
