"""A video file, whole and in order."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import cv2

from pocketlens.errors import PictureError, SourceError
from pocketlens.runtime.live.sources import SourceRequest
from pocketlens.runtime.live.sources.opencv import OpenCvSource, as_bgr, open_stream
from pocketlens.runtime.pictures import Pixels

LOGGER = logging.getLogger("pocketlens")

# The number of frames in a container's header is an estimate.
_COMPLETE_ENOUGH = 0.9


class VideoFile(OpenCvSource):
    """A video file, from its first frame to its last.

    Args:
        request: its address is the path of anything that OpenCV's VideoCapture reads.

    Raises:
        SourceError: there is no such file, or no readable frame in it.
    """

    live = False

    def __init__(self, request: SourceRequest) -> None:
        self._name = request.name
        path = Path(request.address)
        if not request.address or not path.is_file():
            raise SourceError(
                "Expected a camera, a video file, pictures or a URL as the source. Received: "
                f"{self._name or 'an empty name'} (nothing there). Check the path, or give 0 for "
                "the first camera."
            )
        super().__init__(open_stream(str(path), cv2.CAP_ANY))
        # Many broken files open well and fail only here.
        self._first = self._first_whole()
        if self._first is None:
            self.close()
            raise SourceError(
                f"Expected a video file with readable frames. Received: {self._name}, which has "
                "none. Copy it again or save it as MP4."
            )
        self._declared = self.count
        self._read = 0

    def read(self) -> Pixels | None:
        """Return the next frame, uint8 (height, width, 3) BGR, or None at the end."""
        frame_bgr, self._first = self._first, None
        if frame_bgr is None:
            frame_bgr = super().read()
        if frame_bgr is not None:
            self._read += 1
        elif self._read < _COMPLETE_ENOUGH * self._declared:
            LOGGER.warning(
                "%s ends after %d of about %d frames; the rest cannot be read.",
                self._name,
                self._read,
                self._declared,
            )
            self._declared = 0
        return frame_bgr

    def _first_whole(self) -> Pixels | None:
        while (frame := self.read_raw()) is not None:
            with contextlib.suppress(PictureError):
                return as_bgr(frame)
        return None
