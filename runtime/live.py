"""Classifying a camera or a video: capture, inference and recording side by side."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from pocketlens.runtime.captures import Capture, CaptureCounts, SourceState
from pocketlens.runtime.classifier import Category, Result, Timing, to_json
from pocketlens.runtime.decisions import Decision, Decisions, FrameAnswers
from pocketlens.runtime.pictures import Pixels

# A camera may run for months; the latencies of the last frames say enough.
_LATENCIES = 10_000
_RECORD_ROOM = 3
_POLL_S = 0.1


class FrameClassifier(Protocol):
    """What classifies frames: a `Classifier`, or anything that looks like one."""

    def classify(self, frame_bgr: Pixels) -> Result:
        """Classify a frame, uint8 (height, width, 3) BGR."""


@dataclass(frozen=True)
class FrameResult:
    """The answers for one frame.

    `number` counts the source's frames from 0, so that dropped ones leave gaps. `time_s` is the
    time in the video for a file, the time since the start for a camera. `categories` and
    `answers` are those of the classifier's `Result`, `decision` is what follows from them and from
    the frames before. `capture_ms` is how long reading the frame took (for a camera: waiting for
    it), `classify_ms` how long the answer took, `timing` its parts.
    """

    number: int
    time_s: float
    categories: tuple[Category, ...]
    answers: tuple[Category, ...]
    decision: Decision
    capture_ms: float
    classify_ms: float
    timing: Timing = field(default_factory=Timing)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        return {
            "frame": self.number,
            "time_s": round(self.time_s, 6),
            **to_json(self.categories, self.answers),
            "decision": [entry.label for entry in self.decision.categories],
            "event": self.decision.changed,
            "latency_ms": {
                "capture": round(self.capture_ms, 3),
                "resize": round(self.timing.resize_ms, 3),
                "invoke": round(self.timing.invoke_ms, 3),
                "post": round(self.timing.post_ms, 3),
                "classify": round(self.classify_ms, 3),
            },
        }


@dataclass(frozen=True)
class Latency:
    """Median and 95th percentile in milliseconds, over the last 10,000 frames."""

    median_ms: float
    p95_ms: float


@dataclass(frozen=True)
class LiveSummary:
    """What a run came to.

    `frames` were classified; `counts` is what happened while capturing. `fps` is the rate of
    answers per second.
    """

    frames: int
    counts: CaptureCounts
    seconds: float
    fps: float
    capture: Latency
    classify: Latency

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain JSON values."""
        return {
            "frames": self.frames,
            **asdict(self.counts),
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 3),
            "latency_ms": {
                name: {"median": round(entry.median_ms, 3), "p95": round(entry.p95_ms, 3)}
                for name, entry in (("capture", self.capture), ("classify", self.classify))
            },
        }


Observer = Callable[[Pixels, FrameResult], None]
"""Gets a frame, uint8 (height, width, 3) BGR, and the answers for it."""

Watcher = Callable[[SourceState], None]
"""Gets told when frames stop coming and when they come again."""


def classify_source(
    classifier: FrameClassifier,
    capture: Capture,
    *,
    decisions: Decisions | None = None,
    observers: Sequence[Observer] = (),
    watchers: Sequence[Watcher] = (),
    recorder: Observer | None = None,
    max_frames: int | None = None,
    stop: threading.Event | None = None,
) -> LiveSummary:
    """Classify what a capture gives until it ends.

    Of a file every frame is classified, in order; of a camera always the newest, and none twice.
    Reading, classifying and recording overlap: they run in a thread each, classifying in the
    caller's.

    Args:
        classifier: classifies the frames.
        capture: stays open; whoever opened it closes it.
        decisions: make the decision of each result; None takes the frame's own answers.
        observers: called with every result, in the caller's thread; must not change the frame.
        watchers: called when a camera's frames stop coming and when they come again, in the
            caller's thread.
        recorder: called with every result in a thread of its own, in order; may draw on the
            frame. A camera's frames that it has no time for are left out, a file's are waited for.
        max_frames: ends after so many classified frames.
        stop: ends the run when it is set, from a signal handler, an observer or another thread.

    Raises:
        SourceError: the source failed for good.
        Exception: what an observer, a watcher or the recorder raised.
    """
    stop = stop or threading.Event()
    decisions = decisions or FrameAnswers()
    measures = _Measures()
    recording = _RecordThread(recorder, patient=not capture.live) if recorder else None
    try:
        while max_frames is None or measures.frames < max_frames:
            captured = capture.next(stop)
            if captured is None:
                break
            if isinstance(captured, SourceState):
                # What was true before the frames stayed away may be so no more.
                decisions.forget()
                for watcher in watchers:
                    watcher(captured)
                continue
            before_s = time.perf_counter()
            said = classifier.classify(captured.frame_bgr)
            after_s = time.perf_counter()
            result = FrameResult(
                captured.number,
                captured.time_s,
                said.categories,
                said.answers,
                decisions.decide(said, captured.time_s),
                captured.capture_ms,
                1000 * (after_s - before_s),
                said.timing,
            )
            measures.add(result, after_s)
            for observer in observers:
                observer(captured.frame_bgr, result)
            if recording:
                recording.put(captured.frame_bgr, result)
    finally:
        if recording:
            recording.finish()
    if recording:
        recording.check()
    return measures.summary(capture.counts)


class _RecordThread:
    """Calls the recorder in a thread, with a few frames of room between."""

    def __init__(self, recorder: Observer, *, patient: bool) -> None:
        self._recorder = recorder
        self._patient = patient
        self._queue: queue.Queue[tuple[Pixels, FrameResult] | None] = queue.Queue(_RECORD_ROOM)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    def put(self, frame_bgr: Pixels, result: FrameResult) -> None:
        self.check()
        if self._patient or not self._queue.full():
            self._put((frame_bgr, result))

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Wait until everything that was handed over is recorded."""
        self._put(None)
        self._thread.join()

    def _put(self, entry: tuple[Pixels, FrameResult] | None) -> None:
        # In small steps, since a recorder that failed takes nothing more out.
        while self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._queue.put(entry, timeout=_POLL_S)
                return

    def _run(self) -> None:
        try:
            while (entry := self._queue.get()) is not None:
                self._recorder(*entry)
        except BaseException as error:  # It belongs to the thread that classifies.
            self._error = error


class _Measures:
    """Counts and latencies of a run."""

    def __init__(self) -> None:
        self.frames = 0
        self._started_s = time.perf_counter()
        self._first_s = self._last_s = self._started_s
        self._capture_ms: deque[float] = deque(maxlen=_LATENCIES)
        self._classify_ms: deque[float] = deque(maxlen=_LATENCIES)

    def add(self, result: FrameResult, now_s: float) -> None:
        if not self.frames:
            self._first_s = now_s
        self._last_s = now_s
        self.frames += 1
        self._capture_ms.append(result.capture_ms)
        self._classify_ms.append(result.classify_ms)

    def summary(self, counts: CaptureCounts) -> LiveSummary:
        # From answer to answer, so that a camera's warming up does not count.
        between_s = self._last_s - self._first_s
        seconds = time.perf_counter() - self._started_s
        fps = (self.frames - 1) / between_s if between_s > 0 else self.frames / max(seconds, 1e-9)
        return LiveSummary(
            self.frames,
            counts,
            seconds,
            fps,
            _latency(self._capture_ms),
            _latency(self._classify_ms),
        )


def _latency(values_ms: deque[float]) -> Latency:
    if not values_ms:
        return Latency(0.0, 0.0)
    median_ms, p95_ms = np.percentile(list(values_ms), (50, 95))
    return Latency(float(median_ms), float(p95_ms))
