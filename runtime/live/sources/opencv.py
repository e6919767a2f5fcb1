"""What the sources that OpenCV reads have in common: opening, reading, eight-bit BGR."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pocketlens.errors import PictureError, SourceError
from pocketlens.quiet import quiet
from pocketlens.runtime.live.sources.complaints import COMPLAINTS
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
# FFmpeg decodes on several threads and gives frames in another order than they are stored in: what
# it says is about one of the next frames. HEVC and H.264 rarely reorder more than four.
_REORDERED = 4
# What is predicted from a damaged frame is damaged, up to the next frame that is not. Encoders
# rarely leave more between two of these; x264's default is 250.
_MOST_PREDICTED = 250
_PREDICTED = (ord("P"), ord("B"))
# OpenCV 4.13 and later convert no interlaced frames: they are black, or the one before.
_INTERLACED = "interlaced to progressive"
_NO_DECODER = re.compile(r"hardware accelerated|Failed to get pixel format|find decoder", re.I)
_CODECS = {"AV01": "AV1", "HEV1": "HEVC", "HVC1": "HEVC", "AVC1": "H.264", "VVC1": "VVC"}


class OpenCvSource:
    """A source that OpenCV reads; `read` and `close` may come from different threads.

    `fps` is the declared rate, `count` the declared number of frames (0 if there is none), `stamp`
    the driver's or the stream's time of the last frame in milliseconds, None where it has none.

    Where `COMPLAINTS` listens, frames that FFmpeg complains about are damaged, and those that are
    predicted from them.

    Args:
        capture: an opened capture; None has no frames.
    """

    live = True
    skipped = 0
    time_s: float | None = None
    file: str | None = None

    def __init__(self, capture: cv2.VideoCapture | None) -> None:
        self._capture = capture
        self._delay = _REORDERED + (_number(capture, "CAP_PROP_N_THREADS") if capture else 0)
        self._complaint = ""
        self._since: int | None = None
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
            SourceError: OpenCV cannot decode such a video.
        """
        frame = self.read_raw()
        self._listen()
        if frame is None:
            if missing := self._missing_decoder():
                raise SourceError(
                    f"There is no decoder for {missing} in this OpenCV. Choose H.264 as the codec."
                )
            return None
        if self.interlaced:
            raise SourceError(
                "This OpenCV cannot convert interlaced frames. Choose a progressive stream of the "
                "camera, or convert the video: ffmpeg -i IN.mp4 -vf yadif OUT.mp4"
            )
        if self._since is not None:
            raise PictureError(f"A frame is damaged: {self._complaint}.")
        return as_bgr(frame)

    def begin_again(self, capture: Any) -> None:
        """Go on with another capture of the same video, from its first frame."""
        self._capture = capture
        self._complaint, self._since = "", None

    def _listen(self) -> None:
        """Note what is said of the last frame, and whether it is past what was said before."""
        said = COMPLAINTS.news()
        if said:
            self._complaint, self._since = said, 0
        elif self._since is not None:
            self._since += 1
            whole = self._since > self._delay and self._frame_type() not in _PREDICTED
            if whole or self._since > _MOST_PREDICTED:
                self._since = None

    @property
    def size_wh(self) -> tuple[int, int]:
        """The declared width and height in pixels, 0 where nothing is declared."""
        if self._capture is None:
            return 0, 0
        names = ("CAP_PROP_FRAME_WIDTH", "CAP_PROP_FRAME_HEIGHT")
        return _number(self._capture, names[0]), _number(self._capture, names[1])

    @property
    def interlaced(self) -> bool:
        """Whether FFmpeg refused to convert a frame because it is interlaced."""
        return _INTERLACED in self._complaint

    def _missing_decoder(self) -> str:
        """Return the name of the video's codec where FFmpeg has no decoder for it, else ""."""
        if self._capture is None or not _NO_DECODER.search(self._complaint):
            return ""
        code = _number(self._capture, "CAP_PROP_FOURCC")
        name = "".join(chr(code >> shift & 0x7F) for shift in (0, 8, 16, 24)).strip("\0 ").upper()
        return _CODECS.get(name, name) or "its codec"

    def _frame_type(self) -> int:
        with self._lock:
            return _number(self._capture, "CAP_PROP_FRAME_TYPE") if self._capture else 0

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


@contextlib.contextmanager
def plain_path(path: Path) -> Iterator[str]:
    """Give a path to hand to OpenCV, which takes a colon for a protocol and crashes without UTF-8.

    It is absolute, or that of a link to the file, which exists for as long as the context lasts:
    files are opened once.

    Raises:
        OSError: a link cannot be made.
    """
    absolute = os.path.abspath(path)
    if os.fsencode(absolute) == absolute.encode("utf-8", "replace"):
        yield absolute
        return
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, "video" + (path.suffix if path.suffix.isascii() else ""))
        os.symlink(absolute, link)
        yield link


def _number(capture: cv2.VideoCapture, name: str) -> int:
    """Return a property, 0 where this OpenCV does not know it."""
    entry = getattr(cv2, name, None)
    return 0 if entry is None else max(0, int(capture.get(entry)))


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
    if not COMPLAINTS.listens:
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        # OpenCV 4 has it here, OpenCV 5 there.
        (getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(_SILENT)
