"""RTSP streams, through OpenCV's FFmpeg."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import cv2

from pocketlens.errors import SourceError
from pocketlens.runtime.live.sources import SourceRequest
from pocketlens.runtime.live.sources.opencv import OpenCvSource, open_stream

# Shorter than the capture's own limits, so that a silent server does not cost its process.
_OPEN_TIMEOUT_MS = 5000
_READ_TIMEOUT_MS = 3000
# TCP, since over UDP lost packets smear pictures; nothing buffered for the sake of smoothness.
_OPTIONS_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_OPTIONS = "rtsp_transport;tcp|fflags;nobuffer+discardcorrupt|flags;low_delay"


class RtspStream(OpenCvSource):
    """A stream of an IP camera.

    Args:
        request: its address is an `rtsp://` or `rtsps://` URL; `fps` is the rate to expect.

    Raises:
        SourceError: nothing answers there, or not with video.
    """

    def __init__(self, request: SourceRequest) -> None:
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
                f"Expected an RTSP stream at {request.name}. Received: no answer, or none with "
                "video. Check the address, user and password, and that the camera is on."
            )
        super().__init__(capture)
        self.fps = request.fps or self.fps


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
