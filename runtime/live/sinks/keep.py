"""`pocketlens live --keep`: frames worth a label, in a folder of bounded size."""

from __future__ import annotations

import hashlib
import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pocketlens.choices import COLLECTED, KEEP_REASONS, RANDOM
from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import DataError, OutputError, UsageError
from pocketlens.files import output_errors, remove_abandoned
from pocketlens.names import shown
from pocketlens.runtime.inbox import (
    FrameInfo,
    NearCopies,
    encode_jpeg,
    fingerprint,
    remove_litter,
    to_hex,
)
from pocketlens.runtime.live.frames import (
    STALE,
    FrameResult,
    KeepCounts,
    RunInfo,
    ShiftState,
    Sink,
    SourceState,
)
from pocketlens.runtime.live.keeping import Chooser, Chosen, chooser_for, day_share
from pocketlens.runtime.live.sinks import SinkRequest
from pocketlens.runtime.live.sinks.hooks import Hook
from pocketlens.runtime.live.sinks.keep_folder import DIGEST_DIGITS, KeptFolder, Room, room_at
from pocketlens.runtime.live.sinks.keep_push import Push, SentList, parse_receiver
from pocketlens.runtime.pictures import Pixels, resize

LOGGER = logging.getLogger("pocketlens")

MB = 1_000_000

# Of random frames, which are as good as all others only if none is left out.
_WAITING = 3
# All that ends with a run has five seconds together.
_JOIN_S = 1.0
# The last pictures among which near copies are looked for.
_REMEMBERED = 1000
_DIGITS = 6
# From a frame that is halved exactly until its shorter side is below this, the fingerprint differs
# by two of its 64 bits at most (1,280x720, 200 photos), in a sixth of the time.
_SHORT_SIDE = 256


def make_sink(request: SinkRequest) -> Sink:
    """Return what keeps frames for `--keep`."""
    if request.keep is None:
        raise UsageError(
            "Expected --keep DIR beside --keep-to, since frames wait in a folder until they are "
            "sent. Received: no folder. Add --keep DIR."
        )
    to = None if request.keep_to is None else parse_receiver(request.keep_to, request.keep_token)
    return Keep(
        Path(request.keep),
        limit_bytes=request.keep_mb * MB,
        random_a_day=request.keep_random,
        to=to,
    )


class _Job(NamedTuple):
    frame_bgr: Pixels
    result: FrameResult
    chosen: Chosen


class Keep(Sink):
    """Keeps frames that are worth a label, and random ones, each with what is known of it.

    What is chosen and why is told by `keeping`. Which frames, is decided in the thread that
    classifies, by answers alone; those few are copied, and compared, encoded and written in a
    thread of their own. While one of a camera is at work there, others are counted as dropped, but
    random ones wait. A file waits itself. A disk that is full or away costs frames that would have
    been kept; it stops nothing and removes nothing.

    Args:
        folder: where they go; made if it is missing.
        limit_bytes: what they may take there.
        random_a_day: how many random frames a day, 0 for none.
        to: where they are sent, None for nowhere.
        chance: where random moments come from; None for one that nobody can foresee.
        room: tells how much room a disk has.
        clock: what ages, pauses and limits go by.

    Raises:
        OutputError: from `opened`, the folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limit_bytes: int = 500 * MB,
        random_a_day: int = 48,
        to: Hook | None = None,
        chance: random.Random | None = None,
        room: Callable[[Path], Room] = room_at,
        clock: Clock = CLOCK,
    ) -> None:
        self.folder = folder
        self._limit_bytes = limit_bytes
        self._random_a_day = random_a_day
        self._to = to
        self._chance = chance
        self._room = room
        self._clock = clock
        self._chooser = Chooser()
        self._copies = NearCopies(_REMEMBERED)
        self._run = RunInfo()
        self._model_hash = ""
        self._earlier: frozenset[str] = frozenset()
        self._push: Push | None = None
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        # The memory of the frame that was dealt with last.
        self._free: list[Pixels] = []
        self._working = self._closing = self._ended = False
        # In the thread that classifies.
        self._busy = 0
        self._troubled = False
        self._counts = KeepCounts(
            {reason: 0 for reason in KEEP_REASONS if reason != COLLECTED}, limit_bytes=limit_bytes
        )

    def opened(self, run: RunInfo) -> None:
        """Make the folder, take note of what is in it, and begin to send."""
        with output_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(self.folder)
        remove_litter(self.folder, self._clock)
        self._run = run
        self._model_hash = run.model_hash()
        self._chooser = chooser_for(
            task=run.task,
            threshold=run.threshold,
            live=run.live,
            random_a_day=self._random_a_day,
            chance=self._chance,
        )
        self._kept = KeptFolder(
            self.folder,
            self._limit_bytes,
            run.task,
            run.threshold,
            room=self._room,
            clock=self._clock,
        )
        try:
            self._kept.look()
        except DataError as error:
            raise OutputError(str(error)) from error
        self._copies.recall(self.folder)
        self._earlier = self._kept.digests()
        if self._to:
            sent = SentList(self.folder, self._to)
            sent.read([path.name for path in self._kept.unsent()])
            self._kept.is_sent = sent.__contains__
            self._push = Push(self._to, sent, self._kept.unsent, self._clock)
            self._push.open()
        self._tell()
        threading.Thread(target=self._work, name="keep", daemon=True).start()

    def result(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result."""
        chosen = self._chooser.choose(result)
        if chosen is None:
            return
        with self._changed:
            busy = len(self._jobs) + self._working
            if not self._run.live:
                self._clock.wait(self._changed, lambda: self._ended or not self._jobs)
            elif busy >= (_WAITING if chosen.reason == RANDOM else 1):
                self._busy += 1
                return
        # Whoever gave it may use its memory for the next one.
        job = _Job(self._copied(frame_bgr), result, chosen)
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()

    def state(self, state: SourceState) -> None:
        """Take a change of state."""
        if state.state == STALE:
            self._chooser.stay_away()

    def shift(self, shift: ShiftState) -> None:
        """Take a change of shift."""
        self._chooser.shifted = shift.kind is not None

    def closed(self) -> None:
        """Write what was chosen, for a moment, and send what is left, for another."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._clock.wait(
                self._changed, lambda: self._ended, _JOIN_S if self._run.live else None
            )
        if self._push:
            self._push.close()

    def keeping(self) -> KeepCounts:
        """Return what was kept until now, from any thread."""
        counts = self._counts
        counts = replace(counts, dropped=counts.dropped + self._busy)
        if self._push:
            counts = replace(counts, sent=self._push.sent, unsent=self._kept.count_unsent())
        return counts

    def counts(self) -> Mapping[str, int]:
        """Return the numbers of frames that were kept, and that could not be."""
        counts = self.keeping()
        return {"kept_frames": sum(counts.kept.values()), "kept_frames_lost": counts.lost}

    def _copied(self, frame_bgr: Pixels) -> Pixels:
        """Return a copy of a frame, in memory that an earlier one had: new memory takes longer."""
        with self._changed:
            room = self._free.pop() if self._free else None
        if room is None or room.shape != frame_bgr.shape:
            return frame_bgr.copy()
        np.copyto(room, frame_bgr)
        return room

    def _work(self) -> None:
        try:
            while True:
                with self._changed:
                    self._working = False
                    self._changed.notify_all()
                    self._clock.wait(self._changed, lambda: self._jobs or self._closing)
                    if not self._jobs:
                        return
                    job = self._jobs.popleft()
                    self._working = True
                    self._changed.notify_all()
                self._take(job)
                with self._changed:
                    self._free = [job.frame_bgr]
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _take(self, job: _Job) -> None:
        try:
            self._keep(job)
        except (OutputError, DataError) as error:
            self._lose(job, str(error))
        except OSError as error:
            self._lose(job, str(error.strerror or error))
        except Exception as error:  # What is live goes on, whatever happened to a frame.
            self._lose(job, repr(error))

    def _keep(self, job: _Job) -> None:
        result, reason = job.result, job.chosen.reason
        labels = self._run.labels
        scores = {
            label: round(float(score), _DIGITS)
            for label, score in zip(labels, result.scores, strict=False)
        }
        value = fingerprint(_halved(job.frame_bgr))
        if reason != RANDOM and self._copies.is_copy(value, scores):
            self._tell(near_copies=self._counts.near_copies + 1)
            return
        self._kept.check()
        jpeg = encode_jpeg(job.frame_bgr)
        if not self._run.live and _digits(jpeg) in self._earlier:
            # The same file as in an earlier run. What stands still in this one is random all right.
            self._tell(near_copies=self._counts.near_copies + 1)
            return
        height, width = job.frame_bgr.shape[:2]
        info = FrameInfo(
            at_s=result.at_s,
            source=self._run.source,
            size_wh=(width, height),
            reason=reason,
            scores=scores,
            model=self._run.model,
            model_hash=self._model_hash,
            decision=result.decision.text,
            novelty=result.novelty,
            fingerprint=to_hex(value),
            extra={} if result.file is None else {"file": shown(result.file)},
        )
        entry = self._kept.add(jpeg, info)
        size_bytes = len(jpeg) if entry is None else entry.size_bytes
        self._chooser.pay(reason, day_share(size_bytes, self._limit_bytes))
        self._copies.remember(value, scores)
        if self._troubled:
            LOGGER.warning("Frames are kept again; %d lost.", self._counts.lost)
        self._troubled = False
        kept = dict(self._counts.kept)
        kept[reason] += entry is not None
        self._tell(kept=kept, dropped=self._counts.dropped + (entry is None), trouble="")
        if self._push:
            self._push.wake()

    def _lose(self, job: _Job, why: str) -> None:
        if not self._troubled:
            # Once, since a full disk stays full for a while.
            LOGGER.warning("Frames are not kept: %s", shown(why))
        self._troubled = True
        # As if it had been kept: a full disk is asked no more often than a good one.
        self._chooser.pay(job.chosen.reason, day_share(0, self._limit_bytes))
        self._tell(lost=self._counts.lost + 1, trouble=shown(why))

    def _tell(self, **changes: Any) -> None:
        kept = self._kept
        self._counts = replace(
            self._counts, pictures=kept.pictures, size_bytes=kept.size_bytes, **changes
        )


def _digits(jpeg: bytes) -> str:
    """Return what the name of a picture says of its content."""
    return hashlib.sha256(jpeg).hexdigest()[:DIGEST_DIGITS]


def _halved(frame_bgr: Pixels) -> Pixels:
    """Return a frame halved by averaging while its shorter side is 256 or more."""
    height, width = frame_bgr.shape[:2]
    while min(height, width) >= _SHORT_SIDE:
        height, width = height // 2, width // 2
    return resize(frame_bgr, (width, height))
