"""Recording what is seen: an .mp4 that is playable however the run ends."""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from pocketlens.errors import OutputError, UsageError
from pocketlens.files import one_call, refuse_files, replacing
from pocketlens.names import shown
from pocketlens.runtime.live.frames import DEFAULT_FPS, FrameResult, RunInfo, Sink
from pocketlens.runtime.live.sinks import SinkRequest
from pocketlens.runtime.live.sinks.overlay import draw_decision
from pocketlens.runtime.live.sources.opencv import plain_path
from pocketlens.runtime.pictures import Pixels

LOGGER = logging.getLogger("pocketlens")

SUFFIX = ".mp4"

_CODEC = "mp4v"
# The MPEG-4 encoder refuses clocks beyond 65,535 ticks per second; nobody plays beyond this.
_FPS_RANGE = (0.5, 240.0)
_SMALLEST = 2
_LONGEST_GAP_S = 10.0
# What is kept free for the index at a file's end, without which nothing of it plays.
_RESERVE_BYTES = 16 << 20
_INDEX_BYTES = 32
_CHECK_FRAMES = 25


def make_sink(request: SinkRequest) -> Sink:
    """Return the recording that `--record` asks for."""
    return Recorder(Path(request.record or ""), overwrite=request.overwrite)


class Recorder(Sink):
    """Records the frames of a run with their decisions, in a thread of its own.

    Args:
        path: where the video goes; ends in .mp4.
        overwrite: replace an existing file.
        told: say where it is when it is finished.
    """

    own_thread = True

    def __init__(self, path: Path, *, overwrite: bool = False, told: bool = True) -> None:
        self._path = path
        self._overwrite = overwrite
        self._told = told

    def opened(self, run: RunInfo) -> None:
        """Begin the file; raises what `Recording` does."""
        self._recording = Recording(self._path, run.fps, overwrite=self._overwrite)

    def result(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Draw the decision on a frame, in place, and record it."""
        draw_decision(frame_bgr, result.decision, result.categories, result.alternatives)
        self._recording.write(frame_bgr, result.time_s)

    def closed(self) -> None:
        """Finish the file."""
        self._recording.close()
        if not self._told:
            return
        if self._recording.frames:
            LOGGER.info("Written to %s", shown(self._path))
        else:
            LOGGER.warning("No frame came, so %s was not written.", shown(self._path))


class Recording:
    """A video file being written; close it, or use it in a `with` block.

    It takes its name when it is closed, also by an error or an interruption, since what was
    recorded until then is worth keeping. Only a recording that cannot be played, and one without
    a frame, leaves nothing behind. When the disk is nearly full, it ends while there is room for
    the file's index; the frames after that are counted, and `close` says so. The size is that of
    the first frame, made even; later frames of another size are resized.

    Args:
        path: where it goes; ends in .mp4.
        fps: frames per second of the file; 25 where it is missing or impossible.
        overwrite: replace an existing file.

    Raises:
        UsageError: `path` does not end in .mp4.
        OutputExistsError: `path` exists.
        OutputError: it cannot be written; from any method.
    """

    def __init__(self, path: Path, fps: float | None, *, overwrite: bool = False) -> None:
        if path.suffix.lower() != SUFFIX:
            raise UsageError(
                f"Expected a recording's name to end in {SUFFIX}. Received: {path}. "
                f"Name it {path.with_suffix(SUFFIX).name}."
            )
        self.path = path
        self.fps = playable_fps(fps)
        self.frames = 0
        self.left_out = 0
        self._checked_at = 0
        self._stack = contextlib.ExitStack()
        with one_call():
            refuse_files([path], overwrite=overwrite)
            self._partial = self._stack.enter_context(replacing(path, keep=True))
        self._writer: cv2.VideoWriter | None = None
        self._size_wh = (0, 0)
        self._last: Pixels | None = None
        self._first_time_s: float | None = None

    def write(self, frame_bgr: Pixels, time_s: float | None = None) -> None:
        """Add a frame.

        Args:
            frame_bgr: uint8 (height, width, 3). It must not change afterwards.
            time_s: when it was taken. The file then plays at true speed: the frame
                before is repeated until this one is due, and it is left out where the rate of the
                file has no place for it. A source that was away for more than ten seconds goes on
                at once. None adds just this frame.
        """
        if self.left_out or not self._has_room():
            self.left_out += 1
            return
        if time_s is not None:
            if self._first_time_s is None:
                self._first_time_s = time_s
            # The small term keeps times that are exact but for rounding from going either way.
            place = math.floor((time_s - self._first_time_s) * self.fps + 0.5 + 1e-6)
            if place < self.frames:
                return
            if place - self.frames > _LONGEST_GAP_S * self.fps:
                # A still of the hours in which a camera was away is of no use to anybody.
                self._first_time_s += (place - self.frames) / self.fps
                place = self.frames
            while self._last is not None and self.frames < place:
                self._encode(self._last)
        self._last = self._fitted(frame_bgr)
        self._encode(self._last)

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except OutputError:
            if error is None:
                raise

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises:
            OutputError: it cannot be played, or the disk was too full for all of it.
        """
        if self._writer is None:
            self._abandon(OutputError("No frame was recorded."))
            if self.left_out:
                raise self._full()
            return
        self._writer.release()
        self._writer = self._last = None
        if not self._playable():
            failure = OutputError(
                f"Expected to write a playable recording to {self.path}. Received: a file without "
                "an end. Make room on the disk."
            )
            self._abandon(failure)
            raise failure
        self._stack.close()
        if self.left_out:
            raise self._full()

    def _has_room(self) -> bool:
        if self.frames < self._checked_at:
            return True
        self._checked_at = self.frames + _CHECK_FRAMES
        if has_room(self.path.parent, _INDEX_BYTES * self.frames):
            return True
        LOGGER.warning("The disk is full: %s ends after %d frames.", self.path, self.frames)
        return False

    def _full(self) -> OutputError:
        return OutputError(
            f"The disk is full: the recording {self.path} ends after {self.frames} frames, with "
            f"{self.left_out} left out. Make room on the disk."
        )

    def _abandon(self, reason: OutputError) -> None:
        # The partial file goes only when its context sees an exception.
        with contextlib.suppress(OutputError):
            self._stack.__exit__(type(reason), reason, None)

    def _playable(self) -> bool:
        # The writer says nothing when the disk is full; the index at the file's end shows it.
        with plain_path(self._partial) as plain:
            capture = cv2.VideoCapture(plain)
            try:
                return capture.isOpened() and capture.grab()
            finally:
                capture.release()

    def _encode(self, frame_bgr: Pixels) -> None:
        if self._writer is None:
            codec = cv2.VideoWriter.fourcc(*_CODEC)
            with plain_path(self._partial) as plain:
                writer = cv2.VideoWriter(plain, codec, self.fps, self._size_wh)
            if not writer.isOpened():
                raise OutputError(
                    f"Cannot write the video {self.path}: no {self._size_wh[0]}x{self._size_wh[1]} "
                    f"{_CODEC} encoder for it. Choose a place where you may write."
                )
            self._writer = writer
        self._writer.write(frame_bgr)
        self.frames += 1

    def _fitted(self, frame_bgr: Pixels) -> Pixels:
        height, width = frame_bgr.shape[:2]
        even_wh = (max(_SMALLEST, width // 2 * 2), max(_SMALLEST, height // 2 * 2))
        if self._writer is None:
            self._size_wh = even_wh
        if even_wh != self._size_wh or min(width, height) < _SMALLEST:
            return cv2.resize(  # type: ignore[return-value]
                frame_bgr, self._size_wh, interpolation=cv2.INTER_AREA
            )
        if (width, height) != even_wh:
            # The codec stores colour for 2x2 pixels; a row less is better than a blurred frame.
            return np.ascontiguousarray(frame_bgr[: even_wh[1], : even_wh[0]])
        return frame_bgr


def playable_fps(fps: float | None) -> float:
    """Return a rate that a video may have: the given one, or 25."""
    return fps if fps and _FPS_RANGE[0] <= fps <= _FPS_RANGE[1] else DEFAULT_FPS


def has_room(folder: Path, more_bytes: int = 0) -> bool:
    """Return whether a folder's disk has room for a video's end; True where it does not say."""
    try:
        return shutil.disk_usage(folder).free >= _RESERVE_BYTES + more_bytes
    except OSError:
        return True
