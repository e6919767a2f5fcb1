"""RTSP streams, through OpenCV's FFmpeg."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import cv2

from pocketlens.errors import SourceError
from pocketlens.runtime.live.sources import SourceRequest
from pocketlens.runtime.live.sources.opencv import Frames, as_bgr, open_stream
from pocketlens.runtime.pictures import Pixels

# Shorter than the capture's own limits, so that a silent server does not cost its process.
_OPEN_TIMEOUT_MS = 5000
_READ_TIMEOUT_MS = 3000
# TCP, since over UDP lost packets smear pictures; nothing held back for the sake of smoothness.
_OPTIONS_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_OPTIONS = "rtsp_transport;tcp|fflags;nobuffer+discardcorrupt|flags;low_delay"


class RtspStream:
    """A stream of an IP camera.

    Args:
        request: its address is an `rtsp://` or `rtsps://` URL; `fps` is the rate to expect.

    Raises:
        SourceError: nothing answers there, or not with video.
    """

    live = True
    skipped = 0

    def __init__(self, request: SourceRequest) -> None:
        self._name = request.name
        timeouts = (
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            _OPEN_TIMEOUT_MS,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            _READ_TIMEOUT_MS,
        )
        with _options():
            capture = open_stream(request.address, cv2.CAP_FFMPEG, timeouts)
        if capture is None:
            raise SourceError(
                f"Expected an RTSP stream at {self._name}. Received: no answer, or none with "
                "video. Check the address, user and password, and that the camera is on."
            )
        self._frames = Frames(capture)
        self.fps = request.fps or self._frames.fps

    @property
    def stamp(self) -> float | None:
        """The time of the last frame in the stream in milliseconds; None where it has none."""
        return self._frames.stamp

    def read(self) -> Pixels | None:
        """Return the next frame, uint8 (height, width, 3) BGR, or None at the stream's end.

        Raises:
            PictureError: a frame is damaged.
        """
        frame = self._frames.read()
        return None if frame is None else as_bgr(frame)

    def close(self) -> None:
        """Leave the stream."""
        self._frames.close()


@contextlib.contextmanager
def _options() -> Iterator[None]:
    """Give FFmpeg our options, unless the user has some; a file opened later must not see them."""
    if _OPTIONS_VARIABLE in os.environ:
        yield
        return
    os.environ[_OPTIONS_VARIABLE] = _OPTIONS
    try:
        yield
    finally:
        del os.environ[_OPTIONS_VARIABLE]
