"""Which frames of a run are worth a label, and which of those that were kept go first.

What decides here looks at answers and times only, so that it costs a run next to nothing: pixels
are copied, compared and encoded of the few frames that it chooses.

Four reasons make a frame worth a label: the model is unsure, it says that it does not know what it
sees, the decision changed, or frames are not like the photos the model was made with. How much a
frame teaches is a number in 0-1 by the reason. Each reason has an allowance that refills by the
hour and holds that of two hours. The less is left of it, the more a frame has to teach; so an hour
in which the model is always unsure gives its best frames and leaves the other hours and reasons
theirs.

Random frames are another matter: they are there to measure the accuracy, so neither answers nor
other frames may have a say in them. One moment is drawn in each interval of time, and the frame of
that moment is kept whatever it is, near copies included. Moments without frames give none.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pocketlens.choices import (
    BINARY,
    CHANGED,
    MULTICLASS,
    MULTILABEL,
    RANDOM,
    SHIFTED,
    UNKNOWN,
    UNSURE,
)
from pocketlens.runtime.live.frames import FrameResult

DAY_S = 24 * 3600.0
FILE_DAY_S = 600.0
"""Seconds of a video that count as a day: it is material that somebody chose, and short."""

MOST_A_DAY = 500
"""Frames a day that are kept at most beside the random ones: more than anybody labels."""
DAYS = 7
"""Days that the folder has room for at least, however much there is to keep."""
RANDOM_SHARE = 0.25
"""The part of the room that random frames have where the others want all of it."""

TAUGHT_BY = (UNKNOWN, UNSURE, CHANGED, SHIFTED)
"""The reasons by what a frame teaches; where two are equal the first one counts."""

# From a sureness (see `unsureness`) of 0.3 on, for two labels 0.65 to 0.35, a frame is not unsure.
_SURE = 0.3
# How much a frame of a shift teaches, about whose answer nothing is odd.
_SHIFT_TEACHES = 0.5
# From this novelty on a binary or multilabel model knows nothing of the kind (`Result.novelty`).
_NOVEL = 0.5
# Allowances hold that of two hours, so that what is rare need not come in time.
_HELD_DAYS = 2 / 24
# From a chosen frame to the next: the same scene again would only be found to be a near copy.
_GAP_S = 1.0
_FILE_GAP_S = 0.5
# What a frame teaches is worth half as much after so many days.
_HALF_LIFE_S = DAYS * DAY_S


class Chosen(NamedTuple):
    """Why a frame is worth keeping, and how much it teaches in 0-1; 0 for a random one."""

    reason: str
    teaches: float


class Kept(NamedTuple):
    """A frame in the folder: what it takes on the disk, and what says when it goes.

    `name` is that of its picture. `at_s` is when it came, in seconds since 1970, `teaches` as in
    `Chosen`, `sent` that a receiver has it.
    """

    name: str
    size_bytes: int
    at_s: float
    reason: str
    teaches: float = 0.0
    sent: bool = False


def unsureness(scores: NDArray[np.float32], task: str, threshold: float) -> float:
    """Return how near an answer was to being another one, in 0-1.

    It is 1 less the sureness: for multiclass the margin between the two best scores; else how far a
    score is from the threshold, as a share of the way to 0 or 1, of the label nearest to it.

    Args:
        scores: (labels,), in 0-1.
        task: the model's.
        threshold: from which a label is an answer; not used for multiclass.
    """
    if len(scores) < 2 and task != MULTILABEL:
        return 0.0
    if task == MULTICLASS:
        second, first = np.partition(scores, -2)[-2:]
        return 1.0 - float(first - second)
    own = scores[1:2] if task == BINARY else scores
    up = (own - threshold) / max(1.0 - threshold, 1e-6)
    down = (threshold - own) / max(threshold, 1e-6)
    return 1.0 - min(1.0, float(np.where(own >= threshold, up, down).min(initial=1.0)))


def teaching(
    scores: NDArray[np.float32],
    novelty: float | None,
    *,
    task: str,
    threshold: float,
    is_unknown: bool,
    changed: bool,
    shifted: bool,
) -> dict[str, float]:
    """Return how much a frame teaches, in 0-1, by each reason that it has.

    Args:
        scores: (labels,), in 0-1.
        novelty: the result's.
        task: the model's.
        threshold: as for `unsureness`.
        is_unknown: the answer is the label for unknown photos.
        changed: the decision changed with this frame, from another one.
        shifted: frames differ from the photos the model was made with.
    """
    unsure = unsureness(scores, task, threshold)
    found = {}
    if is_unknown and novelty is not None:
        found[UNKNOWN] = novelty
    elif task != MULTICLASS and novelty is not None and novelty >= _NOVEL:
        found[UNKNOWN] = (novelty - _NOVEL) / (1 - _NOVEL)
    if unsure > 1 - _SURE:
        found[UNSURE] = (unsure - 1 + _SURE) / _SURE
    if changed:
        found[CHANGED] = unsure
    if shifted:
        found[SHIFTED] = max(_SHIFT_TEACHES, unsure)
    return {reason: min(1.0, max(0.0, value)) for reason, value in found.items()}


class Chooser:
    """Chooses frames, in the thread that classifies, in some microseconds each.

    Args:
        task: the model's.
        threshold: as for `unsureness`.
        random_a_day: how many random frames a day are kept, 0 for none.
        day_s: seconds of the source's time that are a day.
        gap_s: seconds from a chosen frame, random ones aside, to the next.
        chance: where random moments come from.
    """

    def __init__(
        self,
        *,
        task: str = MULTICLASS,
        threshold: float = 0.5,
        random_a_day: int = 0,
        day_s: float = DAY_S,
        gap_s: float = _GAP_S,
        chance: random.Random | None = None,
    ) -> None:
        self._task = task
        self._threshold = threshold
        self._gap_s = gap_s
        self._next_s = -math.inf
        self._known = False
        self._allowances = Allowances(TAUGHT_BY, day_s)
        self._moments = Moments(day_s / random_a_day, chance) if random_a_day else None
        self.shifted = False

    def choose(self, result: FrameResult) -> Chosen | None:
        """Return why a frame is worth keeping, None where it is not.

        Args:
            result: the frame's; later in the source's time than those before.
        """
        now_s = result.time_s
        # The first decision of all, and after frames stayed away, is no change of anything.
        changed = result.decision.changed and self._known
        self._known |= result.decision.changed
        if self._moments and self._moments.come(now_s):
            return Chosen(RANDOM, 0.0)
        if now_s < self._next_s:
            return None
        found = teaching(
            result.scores,
            result.novelty,
            task=self._task,
            threshold=self._threshold,
            is_unknown=result.unknown is not None
            and bool(result.answers)
            and result.answers[0].index == result.unknown,
            changed=changed,
            shifted=self.shifted,
        )
        reason = self._allowances.best(found, now_s) if found else None
        if reason is None:
            return None
        self._next_s = now_s + self._gap_s
        return Chosen(reason, found[reason])

    def stay_away(self) -> None:
        """Note that no frames come: moments until the next one are nobody's."""
        self._known = False
        if self._moments:
            self._moments.stay_away()

    def pay(self, reason: str, days: float) -> None:
        """Note that a frame was kept; from any thread.

        Args:
            reason: why.
            days: what it takes of the allowance of a day for all reasons together, in days.
        """
        if reason != RANDOM:
            self._allowances.pay(reason, days)


def chooser_for(
    *, task: str, threshold: float, live: bool, random_a_day: int, chance: random.Random | None
) -> Chooser:
    """Return the chooser of a run; of a file that ends, ten minutes count as a day."""
    return Chooser(
        task=task,
        threshold=threshold,
        random_a_day=random_a_day,
        day_s=DAY_S if live else FILE_DAY_S,
        gap_s=_GAP_S if live else _FILE_GAP_S,
        chance=chance,
    )


class Allowances:
    """What each reason may still keep: the same for each, refilled as time goes by.

    Amounts are days of the allowance for all reasons together.

    Args:
        reasons: what has an allowance.
        day_s: seconds that are a day.
    """

    def __init__(self, reasons: Iterable[str], day_s: float) -> None:
        self._day_s = day_s
        reasons = tuple(reasons)
        self._most = _HELD_DAYS / len(reasons)
        self._left = dict.fromkeys(reasons, self._most)
        self._time_s: float | None = None
        # Frames are paid for in the thread that writes them.
        self._lock = threading.Lock()

    def _refill(self, now_s: float) -> None:
        before_s = now_s if self._time_s is None else self._time_s
        self._time_s = now_s
        share = max(0.0, now_s - before_s) / self._day_s / len(self._left)
        with self._lock:
            for reason, left in self._left.items():
                self._left[reason] = min(self._most, left + share)

    def best(self, teaches: dict[str, float], now_s: float) -> str | None:
        """Return the reason whose frame exceeds by most what its allowance asks for at a time."""
        self._refill(now_s)
        beyond = {
            reason: value + self._left[reason] / self._most - 1
            for reason, value in teaches.items()
            if self._left[reason] > 0
        }
        found = [reason for reason in self._left if beyond.get(reason, -1.0) >= -1e-9]
        return max(found, key=lambda reason: beyond[reason], default=None)

    def pay(self, reason: str, days: float) -> None:
        """Take from an allowance, below nothing where a frame is larger than what is left."""
        with self._lock:
            self._left[reason] -= days


class Moments:
    """One moment in each interval, every one with the same chance.

    A frame is that of a moment if it is the first one at or after it, and frames came all along.

    Args:
        interval_s: how long an interval is.
        chance: what draws; None for one that nobody can foresee.
    """

    def __init__(self, interval_s: float, chance: random.Random | None = None) -> None:
        self._interval_s = interval_s
        self._chance = chance or random.SystemRandom()
        self._begin_s: float | None = None
        self._moment_s = 0.0
        self._away = False

    def come(self, now_s: float) -> bool:
        """Take the time of a frame; return whether it is that of a moment."""
        if self._begin_s is None:
            self._begin_s = now_s
            self._draw()
        mine = self._moment_s <= now_s and not self._away
        self._away = False
        while self._moment_s <= now_s:
            # Of many intervals without a frame, as after a night, none needs a moment.
            passed = math.floor((now_s - self._begin_s) / self._interval_s)
            self._begin_s += max(1, passed) * self._interval_s
            self._draw()
        return mine

    def stay_away(self) -> None:
        """Note that no frames come until the next one: moments in between are nobody's."""
        self._away = True

    def _draw(self) -> None:
        self._moment_s = (self._begin_s or 0.0) + self._chance.random() * self._interval_s


def day_share(size_bytes: int, limit_bytes: int) -> float:
    """Return what a frame takes of a day's allowance, in days.

    A day's allowance is a seventh of the room, but never more than `MOST_A_DAY` frames.
    """
    return max(size_bytes * DAYS / limit_bytes, 1 / MOST_A_DAY)


def first_to_go(kept: Iterable[Kept], excess_bytes: int, now_s: float) -> list[Kept]:
    """Return what has to go so that at least `excess_bytes` become free, in this order.

    Random frames go, the oldest first, while they take more than their quarter, or there are no
    others. Of the others those go first that teach least, which halves with each week of age; those
    that a receiver has go before the rest.

    Args:
        kept: what is in the folder.
        excess_bytes: how much is too much.
        now_s: the time, in seconds since 1970.
    """
    if excess_bytes <= 0:
        return []
    kept = list(kept)
    at_random = [entry for entry in kept if entry.reason == RANDOM]
    others = [entry for entry in kept if entry.reason != RANDOM]
    at_random.sort(key=lambda entry: (entry.at_s, entry.name), reverse=True)
    others.sort(key=lambda entry: _order(entry, now_s), reverse=True)
    random_bytes = sum(entry.size_bytes for entry in at_random)
    all_bytes = random_bytes + sum(entry.size_bytes for entry in others)
    going = []
    freed = 0
    while freed < excess_bytes and (at_random or others):
        much = random_bytes > RANDOM_SHARE * (all_bytes - freed)
        entry = (at_random if at_random and (much or not others) else others).pop()
        random_bytes -= entry.size_bytes * (entry.reason == RANDOM)
        freed += entry.size_bytes
        going.append(entry)
    return going


def _order(entry: Kept, now_s: float) -> tuple[bool, float, str]:
    age_s = max(0.0, now_s - entry.at_s)
    # In logarithms, where what is older than years does not become 0 with all the rest.
    worth = math.log2(max(entry.teaches, 1e-3)) - age_s / _HALF_LIFE_S
    return not entry.sent, worth, entry.name
