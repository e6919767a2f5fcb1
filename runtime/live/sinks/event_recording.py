"""Recording only what matters: a short video around each event."""

from __future__ import annotations

import contextlib
import logging
import re
import unicodedata
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np

from pocketlens.choices import UNKNOWN
from pocketlens.errors import OutputError, PocketlensError, UsageError
from pocketlens.files import output_errors, remove_abandoned, rename_new
from pocketlens.names import shown
from pocketlens.runtime.live.frames import (
    STALE,
    FrameResult,
    RunInfo,
    Sink,
    SourceState,
)
from pocketlens.runtime.live.sinks import SinkRequest
from pocketlens.runtime.live.sinks.overlay import draw_decision
from pocketlens.runtime.live.sinks.recording import SUFFIX, Recording, has_room, playable_fps
from pocketlens.runtime.pictures import Pixels

LOGGER = logging.getLogger("pocketlens")

BEFORE_S = 3.0
AFTER_S = 5.0
LONGEST_S = 60.0

# What waits is held as JPEG and in bounds, since a Raspberry Pi has little memory and its cores
# are needed for other things.
_JPEG_QUALITY = 90
_MOST_FPS = 15.0
_LONGEST_SIDE = 1280
# Frames before an event are written a few at a time, so that none after it is missed.
_WRITTEN_AT_ONCE = 2
_ROUNDING_S = 1e-6

_NAME = re.compile(r"([0-9]{6,})_[0-9][^_]*_.+\.mp4")
_LABEL_BYTES = 60


def make_sink(request: SinkRequest) -> Sink:
    """Return the videos that `--record-events` asks for."""
    return EventRecording(Path(request.record_events or ""), keep=request.keep_events)


class EventRecording(Sink):
    """Writes a video around each event, with the decision drawn on each frame.

    A video begins 3 s before its event and ends 5 s after it, or after the last of those that came
    in the meantime, but after a minute at the latest. A decision that nothing is known is an event
    where something was known before. Videos have at most 15 frames per second and 1,280 pixels on
    the longer side; while there is no event, at most 16 MB of JPEGs are held.

    A name is a number that grows, the time of the event (local time for a camera, seconds in the
    video for a file), and the labels that were decided meanwhile, or "unknown". Each file appears
    whole or not at all. One that cannot be written is counted and logged, and costs the others
    nothing.

    Args:
        folder: where they go; made if it is missing.
        keep: how many videos the folder may hold; the oldest are deleted.
        held_bytes: how many bytes of JPEGs are held at most.

    Raises:
        UsageError: `keep` is less than 1.
        OutputError: from `opened`, the folder cannot be made.
    """

    own_thread = True

    def __init__(self, folder: Path, *, keep: int = 500, held_bytes: int = 16 << 20) -> None:
        if keep < 1:
            raise UsageError(f"Expected to keep at least one video. Received: {keep}.")
        self.folder = folder
        self.written = 0
        self.lost = 0
        self.held_bytes = 0
        self._most_bytes = held_bytes
        self._fps = _MOST_FPS
        self._live = False
        self._keep = keep
        self._next = 1
        self._held: deque[tuple[float, bytes]] = deque()
        self._due_s = 0.0
        self._known = False
        self._troubled = False
        self._video: Recording | None = None
        self._begun_s = self._until_s = 0.0
        self._labels: list[str] = []

    def opened(self, run: RunInfo) -> None:
        """Make the folder; numbers go on from the videos that are in it."""
        with output_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._fps = min(playable_fps(run.fps), _MOST_FPS)
        self._live = run.live
        self._next = max(_numbered(self.folder), default=0) + 1
        remove_abandoned(self.folder)

    def result(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a frame and its result."""
        decision, now_s = result.decision, result.time_s
        event = decision.changed and (bool(decision.categories) or self._known)
        self._known |= decision.changed
        if self._video and now_s > self._until_s:
            self._finish()
        if event:
            if self._video is None:
                self._begin(now_s, result.at_s)
            self._labels += [entry.label for entry in decision.categories]
            self._until_s = min(now_s + AFTER_S, self._begun_s + LONGEST_S)
        if event or now_s >= self._due_s - _ROUNDING_S:
            self._due_s = max(self._due_s + 1 / self._fps, now_s)
            draw_decision(frame_bgr, decision, result.categories, result.alternatives)
            self._hold(frame_bgr, now_s)

    def state(self, state: SourceState) -> None:
        """Take a change of state: the frames before and after it are not one scene."""
        if state.state == STALE:
            self._finish()
            self._held.clear()
            self.held_bytes = 0
            self._known = False

    def closed(self) -> None:
        """Finish the video that is being written."""
        self._finish()

    def counts(self) -> Mapping[str, int]:
        """Return the numbers of videos that were written, and that could not be."""
        return {"event_videos": self.written, "event_videos_lost": self.lost}

    def _hold(self, frame_bgr: Pixels, time_s: float) -> None:
        share = _LONGEST_SIDE / max(frame_bgr.shape[:2])
        if share < 1:
            frame_bgr = cv2.resize(  # type: ignore[assignment]
                frame_bgr, None, fx=share, fy=share, interpolation=cv2.INTER_AREA
            )
        jpeg = cv2.imencode(".jpg", frame_bgr, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))[1]
        self._held.append((time_s, jpeg.tobytes()))
        self.held_bytes += len(jpeg)
        if self._video:
            for _ in range(_WRITTEN_AT_ONCE):
                self._write_one()
        while len(self._held) > 1 and (
            self.held_bytes > self._most_bytes
            or (self._video is None and self._held[0][0] < time_s - BEFORE_S)
        ):
            if self._video:
                self._write_one()
            else:
                self._take()

    def _take(self) -> tuple[float, bytes]:
        time_s, jpeg = self._held.popleft()
        self.held_bytes -= len(jpeg)
        return time_s, jpeg

    def _write_one(self) -> None:
        if self._video is None or not self._held or self._held[0][0] > self._until_s:
            return
        time_s, jpeg = self._take()
        frame_bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        try:
            self._video.write(frame_bgr, time_s)  # type: ignore[arg-type]
        except PocketlensError as error:
            self._lose(error)
            with contextlib.suppress(PocketlensError):
                self._video.close()
            self._video = None

    def _begin(self, now_s: float, at_s: float) -> None:
        # Only names show the time of day: a clock may jump, so that nothing is decided by it.
        day = datetime.fromtimestamp(at_s, timezone.utc).astimezone()
        when = day.strftime("%Y%m%dT%H%M%S%z") if self._live else f"{now_s:.3f}s"
        path = self.folder / f"{self._next:06}_{when}_{UNKNOWN}{SUFFIX}"
        self._next += 1
        self._begun_s = now_s
        self._labels = []
        try:
            if not has_room(self.folder):
                raise OutputError(f"The disk is full: {path} is not written. Make room.")
            self._video = Recording(path, self._fps)
        except PocketlensError as error:
            self._lose(error)

    def _finish(self) -> None:
        """Write what belongs to the video and end it."""
        while self._video and self._held and self._held[0][0] <= self._until_s:
            self._write_one()
        if self._video is None:
            return
        video, self._video = self._video, None
        try:
            video.close()
        except PocketlensError as error:
            self._lose(error)
            return
        self.written += 1
        name = safe_name("+".join(dict.fromkeys(self._labels)))
        if name:
            # Only now is it known what is to be seen in it.
            stem = video.path.stem.removesuffix(UNKNOWN) + name
            with contextlib.suppress(OSError):
                rename_new(video.path, video.path.with_name(stem + SUFFIX))
        if self._troubled:
            LOGGER.warning("Events are recorded again; %d were lost.", self.lost)
        self._troubled = False
        self._remove_oldest()

    def _lose(self, error: PocketlensError) -> None:
        self.lost += 1
        if not self._troubled:
            # Once, since a full disk stays full for a while.
            LOGGER.warning("An event is not recorded: %s", shown(error))
        self._troubled = True

    def _remove_oldest(self) -> None:
        with contextlib.suppress(OSError):
            found = _numbered(self.folder)
            for number in sorted(found)[: -self._keep]:
                found[number].unlink()


def safe_name(label: str) -> str:
    """Return a label as part of a file's name on any system: at most 60 bytes, maybe none."""
    text = re.sub(r"[^\w+-]+", "-", unicodedata.normalize("NFC", label))
    return text.encode("utf-8")[:_LABEL_BYTES].decode("utf-8", "ignore").strip("-_")


def _numbered(folder: Path) -> dict[int, Path]:
    """Return the videos of a folder by their numbers, which no clock that is set can confuse."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return {int(match[1]): path for match, path in found if match}
