"""Small pictures for pages: made once, kept in the system's cache, whatever format a photo has."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import threading
from pathlib import Path

from PIL import Image

from pocketlens.errors import OutputError, PictureError
from pocketlens.files import replacing
from pocketlens.runtime.pictures import decode_resized, read_header

SMALL, LARGE = SIDES = (320, 1280)
"""The longer side of what pages show, in pixels: in a grid, and of one photo."""

_QUALITY = 82
# As many as pages ask for at once; more only take each other's memory.
_AT_ONCE = 2


class Previews:
    """JPEGs of photos in a folder of the cache.

    They are known by a photo's name, size and time, and not by its folder: a photo that gets a
    label keeps them.

    Args:
        folder: where they are kept; None keeps none.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._slots = threading.Semaphore(_AT_ONCE)

    def jpeg(self, photo: Path, side: int = SMALL) -> bytes:
        """Return a photo, upright, as a JPEG whose longer side has at most `side` pixels.

        Raises:
            PictureError: the photo is gone, or cannot be decoded.
        """
        kept = self._place(photo, side)
        if kept is not None:
            with contextlib.suppress(OSError):
                return kept.read_bytes()
        with self._slots:
            data = _shrunk(photo, side)
        if kept is not None:
            # A cache that cannot be written slows a page down and breaks nothing.
            with contextlib.suppress(OutputError, OSError), replacing(kept) as partial:
                partial.write_bytes(data)
        return data

    def _place(self, photo: Path, side: int) -> Path | None:
        if self._folder is None:
            return None
        digest = hashlib.sha256(f"{side} {state_key(photo)}".encode()).hexdigest()
        return self._folder / digest[:2] / f"{digest[2:34]}.jpg"


def state_key(photo: Path) -> str:
    """Return what a photo is known by as long as nobody writes it anew, wherever it is moved.

    Raises:
        PictureError: it is gone.
    """
    try:
        found = os.stat(photo)
    except OSError as error:
        raise PictureError(f"Cannot read {photo.name!r}: {error.strerror}.") from error
    # Hexadecimal digits, since a name may have bytes that are no UTF-8.
    return f"{os.fsencode(photo.name).hex()}-{found.st_size}-{found.st_mtime_ns}"


def _shrunk(photo: Path, side: int) -> bytes:
    try:
        data = photo.read_bytes()
    except OSError as error:
        raise PictureError(f"Cannot read {photo.name!r}: {error.strerror}.") from error
    header = read_header(data)
    if header is None:
        raise PictureError(f"{photo.name!r} is not a picture, or damaged.")
    width, height = header.size_wh if header.orientation < 5 else header.size_wh[::-1]
    scale = min(1.0, side / max(width, height))
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    buffer = io.BytesIO()
    pixels = decode_resized(data, size_wh, name=photo.name)
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=_QUALITY)
    return buffer.getvalue()
