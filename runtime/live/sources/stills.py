"""Pictures one after the other: a folder, a pattern or a single file."""

from __future__ import annotations

import glob
import logging
from collections import deque
from pathlib import Path

import cv2

from pocketlens.errors import PictureError, SourceError
from pocketlens.runtime.live.sources import SourceRequest
from pocketlens.runtime.photos import find_pictures, in_natural_order
from pocketlens.runtime.pictures import Pixels, decode

LOGGER = logging.getLogger("pocketlens")


class Stills:
    """Pictures in the order of their names, in which 2 comes before 10.

    A picture that cannot be read is logged and raised as its PictureError; the next goes on.

    Args:
        request: its address is a folder, of which all pictures at any depth are taken, a pattern
            like `photos/*.jpg`, or a picture; `fps` is the rate at which they count as shown.

    Raises:
        SourceError: there is no picture.
    """

    live = False
    time_s: float | None = None
    file: str | None = None
    stamp: float | None = None
    skipped = 0

    def __init__(self, request: SourceRequest) -> None:
        self.fps = request.fps
        self._paths = deque(sorted(_paths(request.address), key=in_natural_order))
        if not self._paths:
            raise SourceError(
                f"Expected pictures as the source. Received: {request.name} without any. "
                "Check the path."
            )

    def read(self) -> Pixels | None:
        """Return the next picture, uint8 (height, width, 3) BGR, or None at the end.

        Raises:
            PictureError: it cannot be read.
        """
        if not self._paths:
            return None
        path = self._paths.popleft()
        self.file = str(path)
        try:
            pixels = decode(path)
            cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR, dst=pixels)
            return pixels
        except PictureError as error:
            LOGGER.warning("%s", error)
            raise

    def close(self) -> None:
        """End the pictures."""
        self._paths.clear()


def _paths(address: str) -> list[Path]:
    path = Path(address)
    if path.is_dir():
        return list(find_pictures(path))
    if path.exists():
        return [path]
    found = [Path(name) for name in glob.glob(address, recursive=True)]
    return [entry for entry in found if entry.is_file()]
