"""What the sources that OpenCV reads have in common: opening, reading, eight-bit BGR."""

from __future__ import annotations

import os
import threading
from typing import Any

import cv2
import numpy as np

from pocketlens.errors import PictureError
from pocketlens.quiet import quiet
from pocketlens.runtime.live.sources.jpeg import decode_jpeg
from pocketlens.runtime.pictures import Pixels

# Containers without a frame rate report 0, NaN or their clock (90,000) instead.
_FPS_RANGE = (0.1, 1000.0)
# A driver that hangs inside a read must not make closing hang too.
_CLOSE_TIMEOUT_S = 1.0
# OpenCV's utils/logger.defines.hpp, CV_LOG_LEVEL_SILENT.
_SILENT = 0
# 4:2:2 with the brightness first, as nearly all cameras give it.
_TWO_BYTES = 2


class OpenCvSource:
    """A source that OpenCV reads; `read` and `close` may come from different threads.

    `fps` is the declared rate, `count` the declared number of frames (0 if there is none), `stamp`
    the driver's or the stream's time of the last frame in milliseconds, None where it has none.

    Args:
        capture: an opened capture; None has no frames.
    """

    live = True
    skipped = 0

    def __init__(self, capture: cv2.VideoCapture | None) -> None:
        self._capture = capture
        self._lock = threading.Lock()
        fps = capture.get(cv2.CAP_PROP_FPS) if capture else 0.0
        self.fps: float | None = float(fps) if _FPS_RANGE[0] <= fps <= _FPS_RANGE[1] else None
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT) if capture else 0.0
        self.count = max(0, int(count)) if np.isfinite(count) else 0
        self.stamp: float | None = None
        self._last_ms = 0.0

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._capture is None

    def read(self) -> Pixels | None:
        """Return the next frame, uint8 (height, width, 3) BGR, or None where there is none.

        Raises:
            PictureError: a frame is damaged.
        """
        frame = self.read_raw()
        return None if frame is None else as_bgr(frame)

    def read_raw(self) -> np.ndarray[Any, Any] | None:
        """Return the next frame as the driver gives it; None where it gives none."""
        with self._lock:
            if self._capture is None:
                return None
            try:
                good, frame = self._capture.read()
                time_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
            except cv2.error:
                return None
        if not good:
            return None
        # Some drivers have no clock: only one that was seen to go on tells frames apart.
        if self.stamp is not None or (time_ms > 0 and 0 < self._last_ms != time_ms):
            self.stamp = time_ms
        self._last_ms = time_ms
        return np.asarray(frame)

    def close(self) -> None:
        """Release the capture, unless another thread hangs inside a read."""
        # Releasing while another thread reads crashes the process.
        if self._lock.acquire(timeout=_CLOSE_TIMEOUT_S):
            try:
                if self._capture is not None:
                    self._capture.release()
                self._capture = None
            finally:
                self._lock.release()


def open_stream(
    target: int | str, backend: int, options: tuple[int, ...] = ()
) -> cv2.VideoCapture | None:
    """Open a device, file or URL with OpenCV; None where that fails.

    Args:
        target: a camera's number, or a path or URL.
        backend: one of `cv2.CAP_*`.
        options: pairs of a property and its value that count while opening.
    """
    silence_opencv()
    try:
        # Where OpenCV was used before, its FFmpeg ignores our log level.
        with quiet():
            capture = cv2.VideoCapture(target, backend, options)
            return capture if capture.isOpened() else None
    except (cv2.error, OverflowError):
        return None


def as_bgr(frame: np.ndarray[Any, Any]) -> Pixels:
    """Return a driver's frame as uint8 (height, width, 3) BGR.

    Takes BGR, BGR with a fourth channel, greys (infrared cameras), packed YUYV and the bytes of a
    JPEG, (1, n) or (n, 1).

    Raises:
        PictureError: it is damaged, or none of these.
    """
    if frame.ndim == 2 and 1 in frame.shape:
        return decode_jpeg(frame.tobytes())
    channels = {2: 1, 3: frame.shape[-1]}.get(frame.ndim, 0)
    conversions = {
        1: cv2.COLOR_GRAY2BGR,
        _TWO_BYTES: cv2.COLOR_YUV2BGR_YUYV,
        4: cv2.COLOR_BGRA2BGR,
    }
    if frame.dtype != np.uint8 or frame.size == 0 or channels not in (3, *conversions):
        raise PictureError(
            f"Expected eight-bit pixels from the camera. Received: {frame.dtype} "
            f"{frame.shape}. Choose another --fourcc."
        )
    if channels == 3:
        return frame
    return np.asarray(cv2.cvtColor(frame, conversions[channels]), np.uint8)


def silence_opencv() -> None:
    """Keep FFmpeg's and OpenCV's own lines off standard error; our one sentence says it all."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        # OpenCV 4 has it here, OpenCV 5 there.
        (getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(_SILENT)
