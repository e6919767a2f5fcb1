"""Decisions: from the answers of single frames, which flicker, to events."""

from __future__ import annotations

import difflib
import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pocketlens.choices import BINARY, MULTICLASS, MULTILABEL, UNKNOWN
from pocketlens.errors import UsageError
from pocketlens.names import shown, to_label
from pocketlens.runtime.classifier import Category, Result
from pocketlens.runtime.live.frames import Decision

NOTHING = "nothing"

_LONGEST_WINDOW = 1000
_NAMED_LABELS = 10


@dataclass(frozen=True)
class DecisionSettings:
    """How decisions are made; as it is, each frame's answer is the decision.

    Args:
        smooth_s: time constant in seconds of an exponential average of the scores: a step of the
            scores is followed to 63 % within it. Being a time and not a factor, it means the same
            at any frame rate.
        confirm: (n, m): an answer becomes the decision when it was that of n of the last m frames.
        hysteresis: how far below the threshold the score of what is decided may fall before it is
            dropped, and for multiclass how far another label has to exceed it; in 0-1.
        threshold: score in 0-1 from which a label is an answer. None takes the model's own for
            binary and multilabel models, and none for multiclass.
        allow: the only labels that may be decided; empty: any.
        deny: labels that are never decided. Where one is the answer, the answer is unknown.

    Raises:
        UsageError: a value that cannot be.
    """

    smooth_s: float = 0.0
    confirm: tuple[int, int] = (1, 1)
    hysteresis: float = 0.0
    threshold: float | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that cannot be."""
        for name in ("allow", "deny"):
            object.__setattr__(self, name, tuple(map(to_label, getattr(self, name))))
        if not 0 <= self.smooth_s < math.inf:
            raise UsageError(
                f"Expected --smooth as seconds, 0 or more. Received: {self.smooth_s}. Try 1."
            )
        needed, frames = self.confirm
        if not 1 <= needed <= frames <= _LONGEST_WINDOW:
            raise UsageError(
                f"Expected --confirm N/M with N from 1 to M and M up to {_LONGEST_WINDOW}. "
                f"Received: {needed}/{frames}. Write it like 3/5."
            )
        for name, value in (("--hysteresis", self.hysteresis), ("--threshold", self.threshold)):
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"Expected {name} in 0 to 1. Received: {value}.")
        both = sorted(set(self.allow) & set(self.deny))
        if both:
            raise UsageError(
                "Expected labels to be allowed or denied. "
                f"Received: both for {', '.join(both)}. Take one of the two out."
            )


class Decisions(Protocol):
    """Turns results into decisions."""

    def decide(self, result: Result, time_s: float) -> Decision:
        """Take the next frame's result and its time in seconds."""

    def forget(self) -> None:
        """Begin anew: what comes next has nothing to do with what was before."""


class FrameAnswers:
    """Takes each frame's answers for the decision, as the classifier gives them."""

    def __init__(self) -> None:
        self._held: frozenset[int] | None = None

    def decide(self, result: Result, time_s: float) -> Decision:
        """Take the next frame's result."""
        before, self._held = self._held, frozenset(entry.index for entry in result.answers)
        return Decision(result.answers, self._held != before)

    def forget(self) -> None:
        """Begin anew."""
        self._held = None


class Decider:
    """Makes decisions from the scores of all labels.

    The scores are smoothed, an answer is taken from them by threshold and hysteresis, and it
    becomes the decision when enough frames agree. A multilabel model's labels are decided one by
    one. A binary model's answer is the positive label from the threshold up, else the negative.

    Args:
        labels: the model's labels, in the order of `Result.scores`.
        task: the model's task.
        threshold: the model's own threshold.
        settings: what is asked for.

    Raises:
        UsageError: an allowed or denied label is none of the model's, no label is left, or the
            hysteresis is so large that nothing would ever be dropped.
    """

    def __init__(
        self, labels: Sequence[str], task: str, threshold: float, settings: DecisionSettings
    ) -> None:
        own = 0.0 if task == MULTICLASS else threshold
        self._threshold = own if settings.threshold is None else settings.threshold
        if settings.hysteresis and settings.hysteresis >= self._threshold > 0:
            raise UsageError(
                f"Expected --hysteresis below the threshold of {self._threshold:g}, or "
                f"no answer would ever be dropped. Received: {settings.hysteresis:g}."
            )
        self._labels = tuple(labels)
        self._task = task
        self._absent = NOTHING if task == MULTILABEL else UNKNOWN
        self._settings = settings
        self._permitted = _permitted(self._labels, settings)
        self.forget()

    def forget(self) -> None:
        """Begin anew: what comes next has nothing to do with what was before."""
        self._smoothed: NDArray[np.float32] | None = None
        self._time_s = 0.0
        self._votes: deque[tuple[int, ...]] = deque(maxlen=self._settings.confirm[1])
        self._held: tuple[int, ...] = ()
        self._decided = False

    def decide(self, result: Result, time_s: float) -> Decision:
        """Take the next frame's result and its time in seconds.

        Args:
            result: of a classifier with these labels; its `scores` are finite.
            time_s: later than those before.
        """
        scores = self._smooth(result.scores, time_s)
        self._votes.append(self._answer(scores))
        before, decided = self._held, self._decided
        self._confirm()
        best_first = sorted(self._held, key=lambda index: (-scores[index], index))
        return Decision(
            tuple(Category(self._labels[i], float(scores[i]), i) for i in best_first),
            self._decided and (not decided or self._held != before),
            self._absent,
        )

    def _smooth(self, scores: NDArray[np.float32], time_s: float) -> NDArray[np.float32]:
        if self._smoothed is None or not self._settings.smooth_s:
            self._smoothed = scores.copy()
        else:
            # Exact for any distance of the frames: steps of t and u do what one of t + u does.
            share = -math.expm1(min(0.0, self._time_s - time_s) / self._settings.smooth_s)
            self._smoothed = self._smoothed + np.float32(share) * (scores - self._smoothed)
        self._time_s = time_s
        return self._smoothed

    def _answer(self, scores: NDArray[np.float32]) -> tuple[int, ...]:
        """Return a frame's answer, ascending, given what is decided."""
        low = self._threshold - self._settings.hysteresis
        if self._task == MULTILABEL:
            limits = np.full(len(scores), self._threshold, np.float32)
            limits[list(self._held)] = low
            return tuple(np.flatnonzero((scores >= limits) & self._permitted).tolist())
        if self._task == BINARY:
            best = int(scores[1] >= (low if self._held == (1,) else self._threshold))
            return (best,) if self._permitted[best] else ()
        best = int(scores.argmax())
        limit = self._threshold
        if self._held:
            held = self._held[0]
            if scores[held] >= low and scores[best] <= scores[held] + self._settings.hysteresis:
                best, limit = held, low
        return (best,) if scores[best] >= limit and self._permitted[best] else ()

    def _confirm(self) -> None:
        """Let what enough of the last frames say become the decision."""
        needed = self._settings.confirm[0]
        if self._task != MULTILABEL or self._votes.maxlen == 1:
            if self._votes.count(self._votes[-1]) >= needed:
                self._held, self._decided = self._votes[-1], True
            return
        said = Counter(chain.from_iterable(self._votes))
        now, held, frames = set(self._votes[-1]), set(self._held), len(self._votes)
        kept = {index for index in held - now if frames - said[index] < needed}
        new = {index for index in now if index in held or said[index] >= needed}
        self._held = tuple(sorted(kept | new))
        # None of the labels is a decision too, when enough frames agree on each.
        none = frames - max(said.values(), default=0) >= needed
        self._decided = self._decided or bool(self._held) or none


def _permitted(labels: tuple[str, ...], settings: DecisionSettings) -> NDArray[np.bool_]:
    for option, given in (("--allow", settings.allow), ("--deny", settings.deny)):
        for label in given:
            if label not in labels:
                near = difflib.get_close_matches(label, labels, n=3, cutoff=0.4)
                more = [f"… ({len(labels)} in all)"] if len(labels) > _NAMED_LABELS else []
                named = near or [*labels[:_NAMED_LABELS], *more]
                raise UsageError(
                    f"Expected {option} to name labels of the model. Received: {shown(label)}. "
                    f"{'The nearest are' if near else 'They are'}: {shown(', '.join(named))}."
                )
    permitted = [
        (not settings.allow or label in settings.allow) and label not in settings.deny
        for label in labels
    ]
    if not any(permitted):
        raise UsageError(
            "Expected at least one label to be left. Received: all denied. Deny fewer of them."
        )
    return np.array(permitted)
