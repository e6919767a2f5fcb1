"""Classifying a camera or a video: capture, inference and recording side by side."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import ScoresError
from pocketlens.runtime.classifier import Result
from pocketlens.runtime.live.decisions import Decisions, FrameAnswers
from pocketlens.runtime.live.frames import (
    LIVE,
    STALE,
    Capture,
    Captured,
    FrameResult,
    RunInfo,
    ShiftState,
    Sink,
    SourceState,
)
from pocketlens.runtime.live.measures import LiveSummary, Measures
from pocketlens.runtime.live.shifts import ShiftWatch
from pocketlens.runtime.pictures import Pixels

LOGGER = logging.getLogger("pocketlens")

UNUSABLE = "the model gives NaN or infinite scores"
"""The reason of the state "stale" while frames come and have no answer."""

_QUEUE_ROOM = 3
_POLL_S = 0.1


class FrameClassifier(Protocol):
    """What classifies frames: a `Classifier`, or anything that looks like one."""

    def classify(self, frame_bgr: Pixels) -> Result:
        """Classify a frame, uint8 (height, width, 3) BGR."""


def classify_source(
    classifier: FrameClassifier,
    capture: Capture,
    *,
    sinks: Sequence[Sink] = (),
    decisions: Decisions | None = None,
    shifts: ShiftWatch | None = None,
    run: RunInfo | None = None,
    max_frames: int | None = None,
    stop: threading.Event | None = None,
    clock: Clock = CLOCK,
) -> LiveSummary:
    """Classify what a capture gives until it ends.

    Of a file every frame is classified, in order; of a camera always the newest, and none twice.
    Reading, classifying and sinks with a thread of their own overlap; classifying is done in the
    caller's thread. A frame for which the model gives NaN or infinite scores is counted and has no
    result; until there is one again, the state is stale.

    Args:
        classifier: classifies the frames.
        capture: stays open; whoever opened it closes it.
        sinks: receive the results; opened in this order and closed in reverse.
        decisions: make the decision of each result; None takes the frame's own answers.
        shifts: watches whether frames are like the photos the model was made with.
        run: names that sinks are given; the rest of it is filled in here.
        max_frames: ends after this number of frames.
        stop: ends the run when it is set, from a signal handler, a sink or another thread.
        clock: what times are taken by.

    Raises:
        SourceError: the source failed for good.
        Exception: what a sink raised.
    """
    stop = stop or threading.Event()
    decisions = decisions or FrameAnswers()
    run = replace(
        run or RunInfo(),
        watches_shift=shifts is not None,
        live=capture.live,
        fps=capture.fps,
        counts=lambda: capture.counts,
        keeping=lambda: next(filter(None, (sink.keeping() for sink in sinks)), None),
        stop=stop,
    )
    measures = Measures(clock)
    usable = True
    with _opened(sinks, run) as receivers:
        while max_frames is None or measures.frames + measures.unusable < max_frames:
            captured = capture.next(stop)
            if captured is None:
                break
            at_s = clock.wall_s()
            if isinstance(captured, SourceState):
                usable = True
                _tell(replace(captured, at_s=at_s), decisions, receivers)
                continue
            before_s = clock.now_s()
            answered = _usable(classifier, captured.frame_bgr)
            after_s = clock.now_s()
            if usable != (answered is not None):
                usable = not usable
                state = _state(captured, usable, capture.counts.reconnects)
                _tell(replace(state, at_s=at_s), decisions, receivers)
            if answered is None:
                measures.unusable += 1
                continue
            result = FrameResult(
                captured.number,
                captured.time_s,
                answered.categories,
                answered.answers,
                decisions.decide(answered, captured.time_s),
                captured.capture_ms,
                1000 * (after_s - before_s),
                answered.timing,
                at_s,
                captured.file,
                answered.label_set,
                answered.novelty,
                answered.scores,
                answered.unknown,
            )
            measures.add(result.latencies_ms, event=result.decision.changed, now_s=after_s)
            # Before the sinks, one of which may draw on the frame.
            shift = shifts and shifts.look(captured.frame_bgr, answered, captured.time_s)
            for sink in receivers:
                sink.result(captured.frame_bgr, result)
            if shift:
                LOGGER.warning("%s (frame %d)", shift.text, captured.number)
                measures.shifts += shift.kind is not None
                for sink in receivers:
                    sink.shift(replace(shift, at_s=at_s))
    return measures.summary(capture.counts)


@contextlib.contextmanager
def _opened(sinks: Sequence[Sink], run: RunInfo) -> Iterator[list[Sink]]:
    """Open sinks, give them in the order in which they take results, and close all of them.

    The first error is raised, whatever fails while closing.
    """
    threads = [sink for sink in sinks if sink.own_thread]
    opened: list[Sink] = []
    first: BaseException | None = None
    try:
        for sink in sinks:
            receiver = sink
            if sink.own_thread:
                receiver = _OwnThread(sink, patient=not run.live, copy=sink is not threads[-1])
            receiver.opened(run)
            opened.append(receiver)
        # Those in threads draw on the frame, so they get it last.
        yield sorted(opened, key=lambda receiver: receiver.own_thread)
    except BaseException as error:
        first = error
    errors = [first, *map(_close, reversed(opened))]
    if raised := [error for error in errors if error is not None]:
        raise raised[0]


def _close(receiver: Sink) -> BaseException | None:
    try:
        receiver.closed()
    except BaseException as error:  # The others are closed, too, before it is raised.
        return error
    return None


def _tell(state: SourceState, decisions: Decisions, receivers: Sequence[Sink]) -> None:
    # What held before the frames stopped may not hold when they come again.
    decisions.forget()
    for sink in receivers:
        sink.state(state)


def _usable(classifier: FrameClassifier, frame_bgr: Pixels) -> Result | None:
    try:
        return classifier.classify(frame_bgr)
    except ScoresError:
        return None


def _state(captured: Captured, usable: bool, reconnects: int) -> SourceState:
    """Return the state that follows when the model's scores become unusable, or usable again."""
    if usable:
        LOGGER.warning("The model's scores are finite again, at frame %d.", captured.number)
        return SourceState(LIVE, captured.time_s, "", reconnects)
    LOGGER.warning("No answers: %s (frame %d).", UNUSABLE, captured.number)
    return SourceState(STALE, captured.time_s, UNUSABLE, reconnects)


class _OwnThread(Sink):
    """Calls another sink in a thread, in order, with a short queue in between.

    Args:
        sink: what to call.
        patient: `result` waits for room in the queue; otherwise it drops the frame.
        copy: hand over a copy of each frame, because another sink gets the frame, too.
    """

    own_thread = True

    def __init__(self, sink: Sink, *, patient: bool, copy: bool) -> None:
        self._sink = sink
        self._patient = patient
        self._copy = copy
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(_QUEUE_ROOM)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=type(sink).__name__, daemon=True)

    def opened(self, run: RunInfo) -> None:
        self._sink.opened(run)
        self._thread.start()

    def result(self, frame_bgr: Pixels, result: FrameResult) -> None:
        self._check()
        if self._patient or not self._queue.full():
            frame_bgr = frame_bgr.copy() if self._copy else frame_bgr
            self._put(partial(self._sink.result, frame_bgr, result))

    def state(self, state: SourceState) -> None:
        self._check()
        self._put(partial(self._sink.state, state))

    def shift(self, shift: ShiftState) -> None:
        self._check()
        self._put(partial(self._sink.shift, shift))

    def closed(self) -> None:
        self._put(None)
        self._thread.join()
        try:
            self._sink.closed()
        finally:
            self._check()

    def _check(self) -> None:
        """Raise what a call raised; there are no more calls after it."""
        if self._error is not None:
            raise self._error

    def _put(self, call: Callable[[], None] | None) -> None:
        # In small steps, because a thread whose call failed takes nothing more out.
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
