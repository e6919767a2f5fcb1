"""Photos as small pictures inside a page."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

from PIL import Image

from pocketlens.errors import PictureError
from pocketlens.runtime.pictures import Pixels, decode, resize

# Pixels on the longer side: some 5 kB each.
SIDE = 160


def thumbnail(path: Path, caption: str) -> str:
    """Return a photo as an HTML figure with its picture inside; `caption` is HTML.

    One that cannot be read any more is its caption only.
    """
    try:
        pixels = decode(path)
        height, width = pixels.shape[:2]
        scale = SIDE / max(height, width)
        size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = embedded(resize(pixels, size_wh))
    except PictureError:
        picture = ""
    return f'<figure class="photo">{picture}<figcaption>{caption}</figcaption></figure>'


def embedded(pixels: Pixels, alt: str = "") -> str:
    """Return pixels uint8 (height, width, 3) in RGB as an HTML image."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=80)
    return embedded_file(buffer.getvalue(), "jpeg", alt)


def embedded_file(content: bytes, kind: str, alt: str = "") -> str:
    """Return the content of a JPEG, PNG, … file as an HTML image; `kind` is "jpeg", "png", …."""
    data = base64.b64encode(content).decode()
    return f'<img src="data:image/{kind};base64,{data}" alt="{html.escape(alt)}" loading="lazy">'
