"""The Raspberry Pi's own camera, through picamera2 and its low-resolution stream."""

from __future__ import annotations

import logging
import math
from importlib import import_module
from typing import Any

import cv2
import numpy as np

from pocketlens.errors import MissingDependencyError, SourceError
from pocketlens.runtime.live.sources import SourceRequest
from pocketlens.runtime.pictures import Pixels

LOGGER = logging.getLogger("pocketlens")

_SIZE_WH = (640, 480)
# libcamera stalls with fewer: one is filled, one is processed, one is read, one waits.
_BUFFERS = 4


class Picamera:
    """The camera on the Raspberry Pi's flat cable.

    The low-resolution stream is scaled by the camera's own hardware and costs no processor time.

    Args:
        request: `size_wh` is the size of the frames, 640x480 where nothing is said.

    Raises:
        MissingDependencyError: picamera2 is not installed.
        SourceError: there is no camera, or it cannot do what is asked.
    """

    live = True
    time_s: float | None = None
    file: str | None = None
    skipped = 0

    def __init__(self, request: SourceRequest) -> None:
        try:
            picamera2 = import_module("picamera2")
        except ImportError as error:
            raise MissingDependencyError(
                "Expected picamera2 for this source. Received: none. Install it: sudo apt install "
                "python3-picamera2, and make the virtual environment with --system-site-packages."
            ) from error
        self.fps = request.fps
        self.stamp: float | None = None
        self._width, height = request.size_wh or _SIZE_WH
        size_wh = (self._width, height)
        self._camera: Any = None
        try:
            self._camera = picamera2.Picamera2()
            # Both streams show the same part of the sensor only if their proportions are the same.
            self._camera.configure(
                self._camera.create_video_configuration(
                    main={"size": size_wh},
                    lores={"size": size_wh, "format": "YUV420"},
                    buffer_count=_BUFFERS,
                    queue=False,
                    controls={"FrameRate": request.fps} if request.fps else {},
                )
            )
            self._check_fps(request)
            self._camera.start()
        except (RuntimeError, IndexError, ValueError) as error:
            self.close()
            raise SourceError(
                f"Expected picamera2 to open a camera at {self._width}x{height}. Received: "
                f"{error}. Check the ribbon cable, and that no other program uses the camera."
            ) from error

    def _check_fps(self, request: SourceRequest) -> None:
        """Say where the sensor's mode has another rate; libcamera takes the nearest silently."""
        controls = getattr(self._camera, "camera_controls", {})
        # Shortest and longest duration of a frame, in microseconds.
        shortest_us, longest_us = controls.get("FrameDurationLimits", (0, math.inf))[:2]
        if request.fps and not shortest_us <= 1.01e6 / request.fps <= 1.02 * longest_us:
            LOGGER.warning(
                "picamera2 gives %.3g to %.3g frames per second at this size, not %g.",
                *(1e6 / longest_us, 1e6 / max(1, shortest_us), request.fps),
            )

    def read(self) -> Pixels | None:
        """Wait for the next frame and return it, uint8 (height, width, 3) BGR."""
        if self._camera is None:
            return None
        request = self._camera.capture_request()
        try:
            yuv420 = request.make_array("lores")
            # In nanoseconds since the system's start.
            self.stamp = request.get_metadata().get("SensorTimestamp")
        finally:
            request.release()
        # Rows are padded to the hardware's liking.
        frame_bgr = cv2.cvtColor(yuv420, cv2.COLOR_YUV2BGR_I420)[:, : self._width]
        return np.ascontiguousarray(frame_bgr, np.uint8)

    def close(self) -> None:
        """Give the camera back."""
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()
