"""A camera of the operating system, through V4L2 on Linux."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path

import cv2

from pocketlens.clock import CLOCK
from pocketlens.errors import SourceError
from pocketlens.runtime.live.sources import DEVICES, SourceRequest, by_id
from pocketlens.runtime.live.sources.opencv import OpenCvSource, open_stream
from pocketlens.runtime.pictures import Pixels

LOGGER = logging.getLogger("pocketlens")

# A loose cable costs a camera single frames; only silence in a row means that it is gone.
_ATTEMPTS = 5
_PAUSE_S = 0.05
# 29.97 is 30.
_FPS_SHARE = 0.05
_JPEG_CODES = ("MJPG", "JPEG")


class Camera(OpenCvSource):
    """A camera.

    The pixel format is set before the size and both before the rate, since each limits the next.
    JPEGs are decoded here and not by OpenCV, which gives the picture before once more, or a black
    one, where it cannot decode one.

    Args:
        request: its address is a number (0 is the first camera), a path below `devices`, or a name
            in its `v4l/by-id`, which is looked up each time, so that a camera keeps its name
            whatever number it gets when it is plugged in again.
        devices: where the devices are.

    Raises:
        SourceError: there is no such camera, or no permission to use it.
    """

    def __init__(self, request: SourceRequest, devices: Path = DEVICES) -> None:
        number = request.address.isdecimal()
        self._name = f"camera {request.address}" if number else request.name
        target = int(request.address) if number else _device(request.address, devices)
        # Left to itself, OpenCV may choose GStreamer, which ignores the buffer's size.
        backend = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
        capture = open_stream(target, backend)
        if capture is None:
            raise SourceError(
                f"Expected {self._name} to open. Received: {_obstacle(target, devices)}"
            )
        _ask(capture, request, self._name)
        super().__init__(capture)
        self.fps = self.fps or request.fps

    def read(self) -> Pixels | None:
        """Wait for the next frame and return it, uint8 (height, width, 3) BGR.

        Raises:
            PictureError: a frame is damaged.
            SourceError: the camera gives no more frames.
        """
        for _ in range(_ATTEMPTS):
            if (frame_bgr := super().read()) is not None:
                return frame_bgr
            if self.closed:
                return None
            CLOCK.sleep(_PAUSE_S)
        raise SourceError(
            f"Expected another frame from {self._name}. Received: none. "
            "Check its cable and power, then start again."
        )


def _ask(capture: cv2.VideoCapture, request: SourceRequest, name: str) -> None:
    """Ask for format, size and rate in this order, and say where the camera does otherwise."""
    if request.fourcc:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*request.fourcc))
    if request.size_wh:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, request.size_wh[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, request.size_wh[1])
    if request.fps:
        capture.set(cv2.CAP_PROP_FPS, request.fps)
    given_fps = capture.get(cv2.CAP_PROP_FPS)
    # Older frames than the newest would only add delay.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    given = "".join(chr(code >> shift & 0xFF) for shift in (0, 8, 16, 24)) if code > 0 else ""
    if given in _JPEG_CODES:
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
    size_wh = tuple(
        int(capture.get(entry)) for entry in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    )
    if request.fourcc and given and given != request.fourcc:
        LOGGER.warning("%s gives %s, not %s.", name, given, request.fourcc)
    if request.fps and abs(given_fps - request.fps) > _FPS_SHARE * request.fps:
        does = f"gives {given_fps:g}" if given_fps > 0 else "does not say how many"
        LOGGER.warning("%s %s frames per second, asked for %g.", name, does, request.fps)
    if request.size_wh and size_wh != request.size_wh:
        LOGGER.warning("%s gives %dx%d, not %dx%d.", name, *size_wh, *request.size_wh)


def _device(address: str, devices: Path) -> int | str:
    path = os.path.realpath(by_id(address, devices) or address)
    # OpenCV's V4L2 is at its best with a number.
    number = re.fullmatch(re.escape(f"{os.path.realpath(devices)}/video") + "([0-9]+)", path)
    return int(number[1]) if number else path


def _obstacle(target: int | str, devices: Path) -> str:
    path = devices / f"video{target}" if isinstance(target, int) else Path(target)
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return (
            f"no permission for {path}. Add yourself to its group and log in again: "
            "sudo usermod -aG video $USER"
        )
    return (
        "no such camera, or one that is in use. "
        "Connect it, close other programs that use it, or choose another."
    )
