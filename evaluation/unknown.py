"""A model with a label for unknown photos: what it says of known ones, and what it lets pass.

Photos of its other labels count in the usual metrics by the best of those labels, since whether
they are told apart and whether they are recognised as known are two questions: a photo that is
refused is not one that was taken for another.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import ModelCard
from pocketlens.errors import DataError
from pocketlens.evaluation.intervals import Interval, wilson
from pocketlens.evaluation.metrics import roc_auc

_TPR = 0.95
# Of scores that add up to nothing but the unknown label's.
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Refusals:
    """How many photos got the label `unknown`, which is called `label`.

    Of the `known` photos, those of the other labels, `kept` did not get it. `strangers` are photos
    of anything else, of which `accepted` did not get it. Of a model with a novelty those with one
    above 0.5 count as having a label "novel". `auroc` is the area under the ROC curve of its score,
    0.5 for chance and 1 at best, and `fpr95` the share of the strangers that would be accepted by a
    threshold that keeps 95 % of these known photos; None without both.
    """

    label: str
    known: int
    kept: int
    strangers: int = 0
    accepted: int = 0
    auroc: float | None = None
    fpr95: float | None = None

    @property
    def is_sound(self) -> bool:
        """Whether the counts can be: what is read from a file need not."""
        return 0 <= self.kept <= self.known > 0 <= self.accepted <= self.strangers

    @property
    def kept_interval(self) -> Interval:
        """The 95 % Wilson score interval of the share of known photos that are kept."""
        return wilson(self.kept, self.known)

    @property
    def accepted_interval(self) -> Interval:
        """The 95 % Wilson score interval of the share of strangers that are accepted."""
        return wilson(self.accepted, self.strangers)

    @property
    def figures(self) -> dict[str, float | int]:
        """The shares of known photos that are kept and of strangers that are accepted, in 0-1."""
        found: dict[str, float | int] = {"known_kept": round(self.kept / self.known, 4)}
        if self.strangers:
            found["strangers_accepted"] = round(self.accepted / self.strangers, 4)
            found["strangers_count"] = self.strangers
        return found

    @property
    def sentences(self) -> tuple[str, ...]:
        """What there is to say, as text."""
        low, high = self.kept_interval
        kept = (
            f"Known photos kept: {self.kept / self.known:.1%} of {self.known} "
            f"(95 % interval {low:.1%} to {high:.1%}); the others are {self.label!r}."
        )
        lines = [kept]
        if self.strangers:
            low, high = self.accepted_interval
            more = "" if self.auroc is None else f"; ROC AUC {self.auroc:.3f}"
            more += "" if self.fpr95 is None else f"; {self.fpr95:.1%} if 95 % of known are kept"
            lines.append(
                f"Strangers accepted: {self.accepted / self.strangers:.1%} of {self.strangers} "
                f"(95 % interval {low:.1%} to {high:.1%}){more}."
            )
        return tuple(lines)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values, with both intervals."""
        return {
            **asdict(self),
            "kept_interval": list(self.kept_interval),
            "accepted_interval": list(self.accepted_interval) if self.strangers else None,
        }


def count_refusals(
    known: NDArray[np.floating], strangers: NDArray[np.floating], index: int, label: str
) -> Refusals:
    """Count what got the label for unknown photos.

    Args:
        known: scores (N, labels), N at least 1, of photos of the other labels.
        strangers: scores (M, labels) of photos of anything else; M may be 0.
        index: of the label.
        label: its name.
    """
    kept = int((known.argmax(axis=1) != index).sum())
    accepted = int((strangers.argmax(axis=1) != index).sum()) if len(strangers) else 0
    auroc = fpr95 = None
    if len(strangers):
        own, others = (_surprise(scores, index) for scores in (known, strangers))
        is_stranger = np.arange(len(own) + len(others)) >= len(own)
        auroc = roc_auc(is_stranger, np.append(own, others))
        fpr95 = float((others <= np.quantile(own, _TPR, method="higher")).mean())
    return Refusals(label, len(known), kept, len(strangers), accepted, auroc, fpr95)


def count_novel(known: NDArray[np.floating], strangers: NDArray[np.floating]) -> Refusals:
    """Count the photos with a novelty above 0.5, from those of known ones (N,) and others (M,).

    What a model has for them is no label, so they are called "novel".
    """
    own, others = (np.stack([1 - values, values], axis=1) for values in (known, strangers))
    return count_refusals(own, others, 1, "novel")


def without_unknown(scores: NDArray[np.floating], index: int) -> NDArray[np.float32]:
    """Return scores (N, labels - 1) of the other labels, as if one of them had to be right."""
    rest = np.delete(scores.astype(np.float64), index, axis=1)
    total = rest.sum(axis=1, keepdims=True)
    # An 8-bit file may leave nothing to share out: then each is as likely.
    shares = np.where(total > _SMALLEST, rest / np.maximum(total, _SMALLEST), 1 / rest.shape[1])
    return np.asarray(shares, np.float32)


def _surprise(scores: NDArray[np.floating], index: int) -> NDArray[np.float64]:
    """Return (N,): by how much the label is ahead of the best other one, as a ratio of scores."""
    best = np.delete(scores, index, axis=1).max(axis=1).astype(np.float64)
    return np.asarray(np.log(scores[:, index] + _SMALLEST) - np.log(best + _SMALLEST))


@dataclass(frozen=True)
class Known:
    """Photos that show something a model knows, as if it had no label for unknown photos.

    `scores` (N, labels) of its other `labels`, `truth` as `answers.truth` returns it, for these;
    `rows` tells which photos they are. `refusals` is None for a model without such a label, of
    which these are all.
    """

    scores: NDArray[np.float32]
    truth: NDArray[Any]
    labels: tuple[str, ...]
    rows: NDArray[np.intp]
    refusals: Refusals | None


def known_part(
    scores: NDArray[np.float32],
    truth: NDArray[Any],
    card: ModelCard,
    strangers: NDArray[np.float32] | None = None,
) -> Known:
    """Divide what a model says of photos into what the usual metrics want and what it refuses.

    Args:
        scores: (N, outputs) in 0-1.
        truth: as `answers.truth` returns it; photos of the label for unknown ones are strangers.
        card: the model's.
        strangers: scores (M, outputs) of more of them.

    Raises:
        DataError: all photos are strangers.
    """
    index = card.unknown_index
    if index is None:
        return Known(scores, truth, card.labels, np.arange(len(scores)), None)
    rows = np.flatnonzero(truth != index)
    if not len(rows):
        raise DataError(
            f"Expected photos of labels that the model knows. Received: only of {card.unknown!r}. "
            "Add photos of known classes; photos of other things can go to --strangers."
        )
    others = scores[truth == index]
    if strangers is not None:
        others = np.concatenate([others, strangers])
    known = truth[rows]
    return Known(
        without_unknown(scores[rows], index),
        known - (known > index),
        tuple(label for label in card.labels if label != card.unknown),
        rows,
        count_refusals(scores[rows], others, index, card.unknown),
    )
