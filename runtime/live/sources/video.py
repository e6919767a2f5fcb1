"""A video file, whole and in order."""

from __future__ import annotations

import logging
import math
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pocketlens.errors import PictureError, SourceError
from pocketlens.runtime.live.frames import DEFAULT_FPS
from pocketlens.runtime.live.sources import Source, SourceRequest
from pocketlens.runtime.live.sources.opencv import OpenCvSource, open_stream, plain_path
from pocketlens.runtime.pictures import Pixels

# 8K has 33; a decoder holds up to seventeen frames.
_MOST_PIXELS = 36_000_000

LOGGER = logging.getLogger("pocketlens")

# The number of frames in a container's header is an estimate.
_COMPLETE_ENOUGH = 0.9


def open_video(request: SourceRequest) -> Source:
    """Open a video file in a process of its own, which a broken file may crash or hang.

    Where processes cannot share memory by descriptors (Windows), it is opened here, and frames that
    FFmpeg complains about are not told from others.

    Raises:
        SourceError: there is no such file, or no readable frame in it.
    """
    if sys.platform == "win32":
        return VideoFile(request)
    # Only here: that process opens a video by this module.
    from pocketlens.runtime.live.capture.file import ChildSource

    return ChildSource(partial(VideoFile, request), request.name)


class Deinterlaced:
    """Stands in for cv2.VideoCapture where that gives no interlaced frames: FFmpeg's program does.

    Args:
        program: the path of `ffmpeg`.
        path: that of the video.
        opened: a capture of the video; asked for its properties.
    """

    def __init__(self, program: str, path: str, opened: Any) -> None:
        width, height = (
            int(opened.get(name)) for name in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        self._opened = opened
        self._shape = (height, width, 3)
        options = ["-nostdin", "-nostats", "-loglevel", "error", "-i"]
        raw = ["-an", "-vf", "yadif", "-f", "rawvideo", "-pix_fmt", "bgr24", "-"]
        self._process = subprocess.Popen([program, *options, path, *raw], stdout=subprocess.PIPE)

    def read(self) -> tuple[bool, Pixels | None]:
        """Return whether there is a frame, and it."""
        assert self._process.stdout is not None  # noqa: S101
        size = math.prod(self._shape)
        data = self._process.stdout.read(size)
        if len(data) < size:
            return False, None
        return True, np.frombuffer(bytearray(data), np.uint8).reshape(self._shape)

    def get(self, name: int) -> float:
        """Return a property; frames have no times of their own."""
        return 0.0 if name == cv2.CAP_PROP_POS_MSEC else float(self._opened.get(name))

    def release(self) -> None:
        """End the program."""
        self._process.kill()
        self._process.communicate()
        self._opened.release()


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
        self._time_s: float | None = None
        self._warned = False
        with plain_path(path) as plain:
            super().__init__(open_stream(plain, cv2.CAP_ANY))
            self._refuse_huge()
            try:
                # Many broken files open well and fail only here.
                self._first = self._next()
            except SourceError as error:
                ffmpeg = shutil.which("ffmpeg")
                if not (self.interlaced and ffmpeg):
                    raise SourceError(f"{self._name} cannot be read. {error}") from error
                self.begin_again(Deinterlaced(ffmpeg, plain, self._capture))
                self._first = self._next()
        if self._first is None:
            self.close()
            raise SourceError(
                f"Expected a video file with readable frames. Received: {self._name}, which has "
                "none. Copy it again or save it as MP4."
            )
        self._declared = self.count
        self._read = 0

    def read(self) -> Pixels | None:
        """Return the next frame, uint8 (height, width, 3) BGR, or None at the end.

        Raises:
            PictureError: a frame is damaged.
        """
        frame_bgr, self._first = self._first, None
        if frame_bgr is None:
            frame_bgr = self._next()
        self.time_s = self._time_s
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
        if isinstance(frame_bgr, PictureError):
            if not self._warned:
                LOGGER.warning(
                    "%s: frame %d is damaged: %s.", self._name, self._read - 1, self._complaint
                )
            self._warned = True
            raise frame_bgr
        return frame_bgr

    def _refuse_huge(self) -> None:
        width, height = self.size_wh
        if width * height > _MOST_PIXELS:
            self.close()
            raise SourceError(
                f"Expected a video of at most {_MOST_PIXELS // 1_000_000} megapixels. Received: "
                f"{self._name} with {width}x{height}. Make it smaller."
            )

    def _next(self) -> Pixels | PictureError | None:
        """Return the next frame, or why it is none, and note its time."""
        try:
            frame: Pixels | PictureError | None = super().read()
        except PictureError as error:
            frame = error
        if frame is not None:
            self._time_s = self._later(self._last_ms / 1000)
        return frame

    def _later(self, time_s: float) -> float:
        """Return a frame's own time, or what follows from the rate where the file has none."""
        if self._time_s is None:
            return max(0.0, time_s)
        if time_s > self._time_s:
            return time_s
        return self._time_s + 1 / (self.fps or DEFAULT_FPS)
