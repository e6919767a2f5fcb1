"""Classifying a camera or a video: capture, inference and recording side by side."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from pocketlens.errors import ScoresError
from pocketlens.runtime.classifier import Result
from pocketlens.runtime.live.decisions import Decisions, FrameAnswers
from pocketlens.runtime.live.frames import (
    LIVE,
    STALE,
    Capture,
    Captured,
    FrameResult,
    SourceState,
)
from pocketlens.runtime.live.measures import LiveSummary, Measures
from pocketlens.runtime.pictures import Pixels

LOGGER = logging.getLogger("pocketlens")

UNUSABLE = "the model gives scores that are no numbers"
"""Why a source is stale whose frames come and have no answer."""

_RECORD_ROOM = 3
_POLL_S = 0.1


class FrameClassifier(Protocol):
    """What classifies frames: a `Classifier`, or anything that looks like one."""

    def classify(self, frame_bgr: Pixels) -> Result:
        """Classify a frame, uint8 (height, width, 3) BGR."""


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
    record_watcher: Watcher | None = None,
    max_frames: int | None = None,
    stop: threading.Event | None = None,
) -> LiveSummary:
    """Classify what a capture gives until it ends.

    Of a file every frame is classified, in order; of a camera always the newest, and none twice.
    Reading, classifying and recording overlap: they run in a thread each, classifying in the
    caller's. A frame for which the model gives scores that are no numbers is counted and has no
    result; until there is one again, the state is stale.

    Args:
        classifier: classifies the frames.
        capture: stays open; whoever opened it closes it.
        decisions: make the decision of each result; None takes the frame's own answers.
        observers: called with every result, in the caller's thread; must not change the frame.
        watchers: called when a camera's frames stop coming and when they come again, in the
            caller's thread.
        recorder: called with every result in a thread of its own, in order; may draw on the
            frame. A camera's frames that it has no time for are left out, a file's are waited for.
        record_watcher: called as watchers are, in the recorder's thread, in order with its frames.
        max_frames: ends after so many frames.
        stop: ends the run when it is set, from a signal handler, an observer or another thread.

    Raises:
        SourceError: the source failed for good.
        Exception: what an observer, a watcher or the recorder raised.
    """
    stop = stop or threading.Event()
    decisions = decisions or FrameAnswers()
    measures = Measures()
    recording = _RecordThread(patient=not capture.live) if recorder else None
    usable = True

    def tell(state: SourceState) -> None:
        # What was true before the frames stayed away may be so no more.
        decisions.forget()
        for watcher in watchers:
            watcher(state)
        if recording and record_watcher:
            recording.put(partial(record_watcher, state))

    try:
        while max_frames is None or measures.frames + measures.unusable < max_frames:
            captured = capture.next(stop)
            if captured is None:
                break
            if isinstance(captured, SourceState):
                usable = True
                tell(captured)
                continue
            before_s = time.perf_counter()
            said = _usable(classifier, captured.frame_bgr)
            after_s = time.perf_counter()
            if usable != (said is not None):
                usable = not usable
                tell(_state(captured, usable, capture.counts.reconnects))
            if said is None:
                measures.unusable += 1
                continue
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
            measures.add(result.latencies_ms, event=result.decision.changed, now_s=after_s)
            for observer in observers:
                observer(captured.frame_bgr, result)
            if recording and recorder:
                recording.offer(partial(recorder, captured.frame_bgr, result))
    finally:
        if recording:
            recording.finish()
    if recording:
        recording.check()
    return measures.summary(capture.counts)


def _usable(classifier: FrameClassifier, frame_bgr: Pixels) -> Result | None:
    try:
        return classifier.classify(frame_bgr)
    except ScoresError:
        return None


def _state(captured: Captured, usable: bool, reconnects: int) -> SourceState:
    """Return that the model's scores are no numbers, or are again."""
    if usable:
        LOGGER.warning("The model's scores are numbers again, at frame %d.", captured.number)
        return SourceState(LIVE, captured.time_s, "", reconnects)
    LOGGER.warning("No answers: %s (frame %d).", UNUSABLE, captured.number)
    return SourceState(STALE, captured.time_s, UNUSABLE, reconnects)


class _RecordThread:
    """Makes calls in a thread, in order, with a little room between.

    Args:
        patient: the caller waits for room; otherwise it does without when there is none.
    """

    def __init__(self, *, patient: bool) -> None:
        self._patient = patient
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(_RECORD_ROOM)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    def offer(self, call: Callable[[], None]) -> None:
        """Have a call made if there is room.

        Raises:
            Exception: what an earlier call raised; there are no more after it.
        """
        self.check()
        if self._patient or not self._queue.full():
            self._put(call)

    def put(self, call: Callable[[], None]) -> None:
        """Have a call made as soon as there is room; raises what `offer` does."""
        self.check()
        self._put(call)

    def check(self) -> None:
        """Raise what a call raised."""
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Wait until every call is made."""
        self._put(None)
        self._thread.join()

    def _put(self, call: Callable[[], None] | None) -> None:
        # In small steps, since a thread whose call failed takes nothing more out.
        while self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._queue.put(call, timeout=_POLL_S)
                return

    def _run(self) -> None:
        try:
            while (call := self._queue.get()) is not None:
                call()
        except BaseException as error:  # It belongs to the thread that classifies.
            self._error = error
