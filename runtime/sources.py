"""Where frames come from: opening what `--source` names."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from pocketlens.errors import SourceError
from pocketlens.quiet import quiet
from pocketlens.runtime.pictures import Pixels

LOGGER = logging.getLogger("pocketlens")

# Containers without a frame rate report 0, NaN or their clock (90,000) instead.
_FPS_RANGE = (0.1, 1000.0)
# A loose cable costs a camera single frames; only silence in a row means that it is gone.
_CAMERA_ATTEMPTS = 5
_CAMERA_PAUSE_S = 0.05
# A driver that hangs inside a read must not make closing hang too.
_CLOSE_TIMEOUT_S = 1.0
# The number of frames in a container's header is an estimate.
_COMPLETE_ENOUGH = 0.9


class Source(Protocol):
    """Something that gives frames one after the other.

    `live` says whether time passes while nobody reads: from a camera only the newest frame counts,
    of a file every frame does. `fps` is the declared rate in frames per second, None if unknown.
    """

    @property
    def live(self) -> bool:
        """Whether frames are lost while nobody reads."""

    @property
    def fps(self) -> float | None:
        """Frames per second as declared."""

    def read(self) -> Pixels | None:
        """Return the next frame, uint8 (height, width, 3) BGR, or None at the end.

        Raises:
            SourceError: the frames stopped coming before the end.
        """

    def close(self) -> None:
        """Give the device or file back. A second call does nothing."""


def open_source(source: str) -> Source:
    """Open a camera by its index ("0") or a video file by its path.

    Raises:
        SourceError: it is not there, does not open, or has no readable frame.
    """
    _silence_opencv()
    if source.isascii() and source.isdecimal():
        return Camera(int(source))
    return VideoFile(Path(source))


class VideoFile:
    """A video file, from its first frame to its last.

    Args:
        path: anything that OpenCV's VideoCapture reads.

    Raises:
        SourceError: there is no such file, or no readable frame in it.
    """

    live = False

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            came = "a folder" if path.is_dir() else "nothing there"
            raise SourceError(
                f"Expected a camera's number or a video file as the source. Received: {path} "
                f"({came}). Check the path, or give 0 for the first camera."
            )
        self._path = path
        self._frames = _Frames(_open(str(path), cv2.CAP_ANY))
        # Many broken files open well and fail only here.
        self._first = self._frames.read()
        if self._first is None:
            self._frames.close()
            raise SourceError(
                f"Expected a video file with readable frames. Received: {path}, which has none. "
                "Copy it again or save it as MP4."
            )
        self.fps = self._frames.fps
        self._declared = self._frames.count
        self._read = 0

    def read(self) -> Pixels | None:
        """Return the next frame, uint8 (height, width, 3) BGR, or None at the end."""
        frame_bgr, self._first = self._first, None
        if frame_bgr is None:
            frame_bgr = self._frames.read()
        if frame_bgr is not None:
            self._read += 1
        elif self._read < _COMPLETE_ENOUGH * self._declared:
            LOGGER.warning(
                "%s ends after %d of about %d frames; the rest cannot be read.",
                self._path,
                self._read,
                self._declared,
            )
            self._declared = 0
        return frame_bgr

    def close(self) -> None:
        """Close the file."""
        self._frames.close()


class Camera:
    """A camera of the operating system.

    Args:
        index: 0 for the first camera.

    Raises:
        SourceError: there is no such camera or it gives no frame.
    """

    live = True

    def __init__(self, index: int) -> None:
        self._name = f"camera {index}"
        # Left to itself, OpenCV may choose GStreamer, which ignores the buffer's size.
        backend = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
        capture = _open(index, backend)
        if capture is None:
            raise SourceError(
                f"Expected {self._name} to open. Received: no such camera, or one that is in use. "
                "Connect it, close other programs that use it, or choose another number."
            )
        # Older frames than the newest would only add delay.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._frames = _Frames(capture)
        self.fps = self._frames.fps

    def read(self) -> Pixels | None:
        """Wait for the next frame and return it, uint8 (height, width, 3) BGR.

        Raises:
            SourceError: the camera gives no more frames.
        """
        for _ in range(_CAMERA_ATTEMPTS):
            frame_bgr = self._frames.read()
            if frame_bgr is not None or self._frames.closed:
                return frame_bgr
            time.sleep(_CAMERA_PAUSE_S)
        raise SourceError(
            f"Expected another frame from {self._name}. Received: none. "
            "Check its cable and power, then start again."
        )

    def close(self) -> None:
        """Give the camera back, unless it hangs inside a read."""
        self._frames.close()


class _Frames:
    """An OpenCV capture whose `read` and `close` may come from different threads."""

    def __init__(self, capture: cv2.VideoCapture | None) -> None:
        self._capture = capture
        self._lock = threading.Lock()
        fps = capture.get(cv2.CAP_PROP_FPS) if capture else 0.0
        self.fps = float(fps) if _FPS_RANGE[0] <= fps <= _FPS_RANGE[1] else None
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT) if capture else 0.0
        self.count = max(0, int(count)) if np.isfinite(count) else 0

    @property
    def closed(self) -> bool:
        return self._capture is None

    def read(self) -> Pixels | None:
        with self._lock:
            if self._capture is None:
                return None
            try:
                good, frame_bgr = self._capture.read()
            except cv2.error:
                return None
        return _three_channels(np.asarray(frame_bgr, np.uint8)) if good else None

    def close(self) -> None:
        # Releasing while another thread reads crashes the process.
        if self._lock.acquire(timeout=_CLOSE_TIMEOUT_S):
            try:
                if self._capture is not None:
                    self._capture.release()
                self._capture = None
            finally:
                self._lock.release()


def _open(target: int | str, backend: int) -> cv2.VideoCapture | None:
    try:
        # Where OpenCV was used before, its FFmpeg does not look at our log level any more.
        with quiet():
            capture = cv2.VideoCapture(target, backend)
            return capture if capture.isOpened() else None
    except (cv2.error, OverflowError):
        return None


def _three_channels(frame: Pixels) -> Pixels:
    # Infrared and some industrial cameras give greys.
    if frame.ndim == 2 or frame.shape[2] == 1:
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR), np.uint8)
    return frame


def _silence_opencv() -> None:
    """Keep FFmpeg's and OpenCV's own lines off standard error; our one sentence says it all."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
