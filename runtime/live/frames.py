"""What goes through a live run: frames, states, results, decisions, and who receives them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pocketlens.choices import (
    BLURRED,
    BRIGHTER,
    DARKER,
    GREY,
    MULTICLASS,
    OTHER,
    UNKNOWN,
)
from pocketlens.names import OR, shown
from pocketlens.runtime.classifier import Category, Timing, to_json
from pocketlens.runtime.pictures import Pixels

DEFAULT_FPS = 25.0
"""Assumed where a file declares no rate."""

LIVE = "live"
STALE = "stale"


def wall_clock(at_s: float) -> str:
    """Return seconds since 1970 as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at_s, timezone.utc).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Captured:
    """A frame and when it came.

    `number` counts all frames that the source gave, from 0. `time_s` is the time in the video for
    a file, the time since the start for a camera. `capture_ms` is how long reading it took: the
    decoding of a file, the wait for a camera. `frame_bgr` is uint8 (height, width, 3). `file` is
    the name of the picture that it is, None for a frame of a camera or video.
    """

    number: int
    time_s: float
    capture_ms: float
    frame_bgr: Pixels
    file: str | None = None


@dataclass(frozen=True)
class SourceState:
    """A change of whether frames come.

    `state` is "live" or "stale", `time_s` the time since the start, `reason` why it is stale (""
    where it is live); passwords are left out. `reconnects` counts how often the source was opened
    again until then. `at_s` is the wall clock's time, in seconds since 1970.
    """

    state: str
    time_s: float
    reason: str
    reconnects: int
    at_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the change as plain JSON values."""
        reason = {"reason": self.reason} if self.reason else {}
        return {
            "at": wall_clock(self.at_s),
            "state": self.state,
            "time_s": round(self.time_s, 6),
            **reason,
            "reconnects": self.reconnects,
        }


SHIFT_TEXTS = {
    DARKER: "The pictures are darker than the photos the model was made with.",
    BRIGHTER: "The pictures are brighter than the photos the model was made with.",
    BLURRED: "The pictures are less sharp than the photos the model was made with.",
    GREY: "The pictures have less colour than the photos the model was made with.",
    OTHER: "The pictures differ from the photos the model was made with.",
    None: "The pictures are like the photos the model was made with, again.",
}
"""What each kind of shift says to people, and the end of one."""


@dataclass(frozen=True)
class ShiftState:
    """A change of whether frames are like the photos the model was made with.

    `kind` is one of `SHIFT_KINDS`, None where they are again, `time_s` the time of the frame by
    which that was found, as in `FrameResult`, and `samples` the number of frames that were looked
    at. `at_s` is the wall clock's time, in seconds since 1970.
    """

    kind: str | None
    time_s: float
    samples: int
    at_s: float = 0.0

    @property
    def text(self) -> str:
        """What it says, as a sentence."""
        return SHIFT_TEXTS[self.kind]

    def to_dict(self) -> dict[str, Any]:
        """Return the change as plain JSON values."""
        return {
            "at": wall_clock(self.at_s),
            "shift": self.kind,
            "text": self.text,
            "time_s": round(self.time_s, 6),
            "samples": self.samples,
        }


@dataclass(frozen=True)
class CaptureCounts:
    """What happened until now.

    `dropped` frames came from a camera and were pushed out unread by newer ones or were too old
    when they were asked for, `damaged` ones could not be decoded, `repeated` ones were the same
    once more. `stalls` is how often the source was stale, `reconnects` how often it was opened
    again.
    """

    dropped: int = 0
    damaged: int = 0
    repeated: int = 0
    stalls: int = 0
    reconnects: int = 0


@dataclass(frozen=True)
class CaptureLimits:
    """How long what may take, in seconds.

    Without a frame for `stale_s` a source is stale, without one for `silence_s` its process is
    replaced; a declared rate below 1.5 frames per second stretches both. `starting_s` is for
    importing, `opening_s` for opening. Pauses between attempts double up to `pause_s`.
    """

    stale_s: float = 1.5
    silence_s: float = 4.0
    starting_s: float = 20.0
    opening_s: float = 6.0
    pause_s: float = 1.0


class Capture(Protocol):
    """Gives the frames of a source one after the other, while it reads on in the background.

    Of a file none is lost and their order is kept; of a camera `next` gives the newest, and none
    twice. `live` says which of the two it is, `fps` is the declared rate, None if unknown.
    """

    live: bool
    fps: float | None

    @property
    def counts(self) -> CaptureCounts:
        """What happened until now."""

    def next(self, stop: threading.Event) -> Captured | SourceState | None:
        """Wait for the next frame or change of state; None at the end or when `stop` is set.

        Raises:
            SourceError: the source failed for good.
        """

    def close(self) -> None:
        """Give the source back. A second call does nothing."""


@dataclass(frozen=True)
class Decision:
    """What is held to be true at a frame.

    `categories` is the answer with its smoothed scores, best first: one label, for a multilabel
    model any number. Empty means that nothing is known; `absent` is what that is called: "unknown",
    or "nothing" for a multilabel model. `changed` says that this frame is an event: the answer
    differs from that of the frame before. The first answer of a run, and the first after the frames
    stayed away, is an event too, whatever it is.
    """

    categories: tuple[Category, ...]
    changed: bool
    absent: str = UNKNOWN

    @property
    def text(self) -> str:
        """The labels, or what it is called when there are none."""
        return ", ".join(entry.label for entry in self.categories) or self.absent


@dataclass(frozen=True)
class FrameResult:
    """The answers for one frame.

    `number` counts the source's frames from 0, so that dropped ones leave gaps. `time_s` is the
    time in the video for a file, the time since the start for a camera. `categories`, `answers` and
    `label_set` are those of the classifier's `Result`, `decision` is what follows from them and
    from the frames before. `capture_ms` is how long reading the frame took (for a camera: waiting
    for it), `classify_ms` how long the answer took, `timing` its parts. `at_s` is the wall clock's
    time at which the frame came, in seconds since 1970, `file` the name of the picture that it is.
    `novelty`, `scores` of all labels and `unknown` are the `Result`'s.
    """

    number: int
    time_s: float
    categories: tuple[Category, ...]
    answers: tuple[Category, ...]
    decision: Decision
    capture_ms: float
    classify_ms: float
    timing: Timing = field(default_factory=Timing)
    at_s: float = 0.0
    file: str | None = None
    label_set: tuple[str, ...] = ()
    novelty: float | None = None
    scores: NDArray[np.float32] = field(
        default_factory=lambda: np.empty(0, np.float32), repr=False, compare=False
    )
    unknown: int | None = field(default=None, repr=False, compare=False)

    @property
    def alternatives(self) -> tuple[Category, ...]:
        """The labels of the set beside the decided one, best first; none where none is decided."""
        held = {entry.index for entry in self.decision.categories}
        among = self.categories[: len(self.label_set)] if held else ()
        return tuple(entry for entry in among if entry.index not in held)

    @property
    def text(self) -> str:
        """The decision, and what it may be instead: "tulips or roses"."""
        return OR.join((self.decision.text, *(entry.label for entry in self.alternatives)))

    @property
    def latencies_ms(self) -> dict[str, float]:
        """What took how long: capture, then resize, invoke and post, and classify, their whole."""
        return {
            "capture": self.capture_ms,
            "resize": self.timing.resize_ms,
            "invoke": self.timing.invoke_ms,
            "post": self.timing.post_ms,
            "classify": self.classify_ms,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        file = {} if self.file is None else {"file": shown(self.file)}
        return {
            "at": wall_clock(self.at_s),
            "frame": self.number,
            "time_s": round(self.time_s, 6),
            **file,
            **to_json(self.categories, self.answers, self.label_set, self.novelty),
            "decision": to_json(self.decision.categories, ())["categories"],
            "event": self.decision.changed,
            "latency_ms": {name: round(value, 3) for name, value in self.latencies_ms.items()},
        }


@dataclass(frozen=True)
class KeepCounts:
    """What a run kept for labelling until now, and what is in the folder.

    `kept` counts frames by reason, those of `KEEP_REASONS` that a run knows. `near_copies` were
    left out for being like a frame that is kept, `dropped` because the one before was still being
    written, `lost` because there was no room on the disk or it could not be written. `trouble` says
    why nothing is kept now, "" where nothing prevents it. The folder has `pictures` that runs kept,
    with `size_bytes` of the `limit_bytes` that they may take. `sent` and `unsent` of them were
    taken by the receiver and not yet; None where there is none.
    """

    kept: Mapping[str, int]
    near_copies: int = 0
    dropped: int = 0
    lost: int = 0
    trouble: str = ""
    pictures: int = 0
    size_bytes: int = 0
    limit_bytes: int = 0
    sent: int | None = None
    unsent: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain JSON values; without a receiver nothing is said of one."""
        receiver = {} if self.sent is None else {"sent": self.sent, "unsent": self.unsent}
        return {
            "kept": dict(self.kept),
            "near_copies": self.near_copies,
            "dropped": self.dropped,
            "lost": self.lost,
            "trouble": self.trouble,
            "pictures": self.pictures,
            "bytes": self.size_bytes,
            "limit_bytes": self.limit_bytes,
            **receiver,
        }


@dataclass(frozen=True)
class RunInfo:
    """What a sink may want to know of a run before its first result.

    `model` is the name of the model file, `model_hash` returns the SHA-256 of its bytes as hex,
    `task` and `labels` are the model's, `threshold` is the score from which a label is an answer of
    a binary or multilabel model, `source` is the source's name without passwords, `device` this
    machine's. `watches_shift` says that frames are compared with the photos the model was made
    with. `live` and `fps` are the capture's, `counts` tells what happened while capturing until
    now, `keeping` what was kept for labelling, None where nothing is, and setting `stop` ends the
    run.
    """

    model: str = ""
    model_hash: Callable[[], str] = str
    task: str = MULTICLASS
    labels: tuple[str, ...] = ()
    threshold: float = 0.5
    source: str = ""
    device: str = ""
    watches_shift: bool = False
    live: bool = True
    fps: float | None = None
    counts: Callable[[], CaptureCounts] = CaptureCounts
    keeping: Callable[[], KeepCounts | None] = lambda: None
    stop: threading.Event = field(default_factory=threading.Event)

    def entry(self, came: FrameResult | SourceState | ShiftState) -> dict[str, Any]:
        """Return a result or state as plain JSON values that say where it is from."""
        return {**came.to_dict(), "source": self.source, "device": self.device}


class Sink:
    """Receives the results of a run. A sink is a subclass that overrides what it needs.

    `result`, `state` and `shift` are called in the thread that classifies, in order, and must
    neither wait nor change the frame. With `own_thread` they are called in a thread of the sink's
    own, still in order, and the frame belongs to the sink. There, a camera's frames that find no
    room are left out, and a file's wait for room. `opened` and `closed` are always called in the
    caller's thread.
    """

    own_thread: bool = False

    def opened(self, run: RunInfo) -> None:
        """Begin; raises what prevents it, for example OutputError."""

    def result(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a frame, uint8 (height, width, 3) BGR, and its result."""

    def state(self, state: SourceState) -> None:
        """Take a change of the source's state."""

    def shift(self, shift: ShiftState) -> None:
        """Take a change of whether frames are like the photos the model was made with."""

    def closed(self) -> None:
        """End. Called once where `opened` succeeded, also after an error elsewhere."""

    def counts(self) -> Mapping[str, int]:
        """Return what belongs into the run's summary, by name, once it is closed."""
        return {}

    def keeping(self) -> KeepCounts | None:
        """Return what it kept for labelling until now, from any thread; None where it does not."""
        return None
