"""A model with a label for unknown photos: what it says of known ones, and what it lets pass.

Photos of its other labels count in the usual metrics by the best of those labels, since whether
they are told apart and whether they are recognised as known are two questions: a photo that is
refused is not one that was taken for another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import ModelCard
from pocketlens.errors import DataError
from pocketlens.evaluation.answers import to_answers
from pocketlens.evaluation.intervals import Interval, area_interval, up_to_quantile, wilson
from pocketlens.evaluation.metrics import roc_auc
from pocketlens.evaluation.mistakes import WrongAnswer, mistakes, with_photos
from pocketlens.runtime.answers import surprise
from pocketlens.runtime.pictures import Pixels, resize
from pocketlens.synthetic.scenes import render_empty

_TPR = 0.95
# Of scores that add up to nothing but the unknown label's.
_SMALLEST = 1e-12
# Bins of the scores that a page shows.
_BINS = 50
# Enough for an interval of some percent, drawn in two seconds; larger ones than these pixels only
# take longer.
SYNTHETIC_COUNT = 150
_SYNTHETIC_NAMES = tuple(f"synthetic image {number}" for number in range(SYNTHETIC_COUNT))
_SYNTHETIC_SIDE = 224


@dataclass(frozen=True)
class Strangers:
    """Photos of anything else: scores (M, outputs) in 0-1, and their paths.

    `synthetic` ones are images of `synthetic_strangers`, and their paths are names. `novelty` (M,)
    is that of a model that has one.
    """

    scores: NDArray[np.float32]
    photos: tuple[Path, ...]
    synthetic: bool = False
    novelty: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Refusals:
    """How many photos got the label `unknown`, which is called `label`.

    Of the `known` photos, those of the other labels, `kept` did not get it. `strangers` are photos
    of anything else, of which `accepted` did not get it; where they are `synthetic` they are images
    that the demo draws. `refused` and `passed` are those of the two that were answered otherwise,
    the surest first. Of a model with a novelty those with one above 0.5 count as having a label
    "novel".

    The other figures are of the odds of the label: its score s beside the best other one t, as
    s / (s + t), so that from 0.5 on it is the answer. `auroc` is the area under the ROC curve, 0.5
    for chance and 1 at best, and `fpr95` the share of the strangers that would be accepted by a
    threshold that keeps 95 % of these known photos; None without both. `known_bins` and
    `stranger_bins` count the photos in bins of the odds.
    """

    label: str
    known: int
    kept: int
    strangers: int = 0
    accepted: int = 0
    auroc: float | None = None
    auroc_interval: Interval | None = None
    fpr95: float | None = None
    fpr95_interval: Interval | None = None
    synthetic: bool = False
    known_bins: tuple[int, ...] = ()
    stranger_bins: tuple[int, ...] = ()
    refused: tuple[WrongAnswer, ...] = ()
    passed: tuple[WrongAnswer, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether the counts can be: what is read from a file need not."""
        return (
            0 <= self.kept <= self.known > 0 <= self.accepted <= self.strangers
            and len(self.known_bins) == len(self.stranger_bins) > 0
            and sum(self.known_bins) == self.known
            and sum(self.stranger_bins) == self.strangers
            and min(self.known_bins + self.stranger_bins) >= 0
        )

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
            name = "synthetic" if self.synthetic else "strangers"
            found[f"{name}_accepted"] = round(self.accepted / self.strangers, 4)
            found[f"{name}_count"] = self.strangers
        return found

    @property
    def doubt(self) -> str:
        """What to mind about the strangers, "" where they are photos."""
        if not self.synthetic:
            return ""
        return (
            "These strangers are synthetic images of the demo, not photos, of which more may be "
            "accepted."
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """What there is to say, as text."""
        kept = (
            f"Known photos kept: {self.kept / self.known:.1%} of {self.known} "
            f"(95 % interval {_text(self.kept_interval)}); the others are {self.label!r}."
        )
        lines = [kept]
        if self.strangers:
            more = ""
            if self.auroc is not None and self.auroc_interval is not None:
                low, high = self.auroc_interval
                more += f"; ROC AUC {self.auroc:.3f} ({low:.3f} to {high:.3f})"
            if self.fpr95 is not None and self.fpr95_interval is not None:
                more += f"; {self.fpr95:.1%} ({_text(self.fpr95_interval)}) if 95 % of the known "
                more += "are kept"
            kind = "Synthetic strangers" if self.synthetic else "Strangers"
            lines.append(
                f"{kind} accepted: {self.accepted / self.strangers:.1%} of {self.strangers} "
                f"(95 % interval {_text(self.accepted_interval)}){more}."
            )
        if self.synthetic:
            lines.append(f"{self.doubt} For photos of your place use evaluate --strangers.")
        return tuple(lines)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values, with all intervals."""
        return {
            **asdict(self),
            "kept_interval": self.kept_interval,
            "accepted_interval": self.accepted_interval if self.strangers else None,
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
    own, others = (_odds(scores, index) for scores in (known, strangers))
    found = Refusals(
        label,
        len(known),
        int((known.argmax(axis=1) != index).sum()),
        known_bins=_bins(own),
        stranger_bins=_bins(others),
    )
    if not len(strangers):
        return found
    is_stranger = np.arange(len(own) + len(others)) >= len(own)
    auroc = roc_auc(is_stranger, np.append(own, others))
    fpr95, fpr95_interval = up_to_quantile(own, others, _TPR)
    return replace(
        found,
        strangers=len(strangers),
        accepted=int((strangers.argmax(axis=1) != index).sum()),
        auroc=auroc,
        auroc_interval=None if auroc is None else area_interval(auroc, len(others), len(own)),
        fpr95=fpr95,
        fpr95_interval=fpr95_interval,
    )


def lacks_strangers(truth: NDArray[Any], card: ModelCard) -> bool:
    """Tell whether a model has the label, but photos, as `answers.truth` gives them, none of it."""
    if card.unknown_index is None:
        return card.novelty is not None
    return not bool((truth == card.unknown_index).any())


def synthetic_strangers(card: ModelCard) -> Iterator[tuple[Pixels, Path]]:
    """Yield images that show nothing known, for who has no photos of anything else.

    They are the demo's scenes without a card: hands, leaflets and faces before rooms, always the
    same. Each is uint8 (height, width, 3) in RGB of the card's input size, with its name.
    """
    side = min(_SYNTHETIC_SIDE, max(card.input_size_wh))
    for number, name in enumerate(_SYNTHETIC_NAMES):
        pixels = render_empty(number, (side, side))
        yield resize(pixels, card.input_size_wh, card.resize_mode), Path(name)


def draw_synthetic(name: str, side: int) -> Pixels | None:
    """Return the image of `synthetic_strangers` with a name, side x side; None without one."""
    if name not in _SYNTHETIC_NAMES:
        return None
    return render_empty(_SYNTHETIC_NAMES.index(name), (side, side))


def count_novel(
    novelty: NDArray[np.floating], photos: Sequence[Path], strangers: Strangers | None
) -> Refusals:
    """Count the photos with a novelty above 0.5.

    What a model has for them is no label, so they are called "novel".

    Args:
        novelty: (N,) in 0-1, of known photos.
        photos: the paths of the N.
        strangers: photos of anything else, with their novelty.
    """
    values, paths = np.asarray(novelty, np.float64), list(photos)
    if strangers is not None and strangers.novelty is not None:
        values, paths = np.append(values, strangers.novelty), [*paths, *strangers.photos]
    truth = (np.arange(len(values)) >= len(novelty)).astype(np.int64)
    scores = np.stack([1 - values, values], axis=1)
    synthetic = strangers is not None and strangers.synthetic
    return _refusals(scores, truth, 1, ("known", "novel"), paths, synthetic)


def without_unknown(scores: NDArray[np.floating], index: int) -> NDArray[np.float32]:
    """Return scores (N, labels - 1) of the other labels, as if one of them had to be right."""
    rest = np.delete(scores.astype(np.float64), index, axis=1)
    total = rest.sum(axis=1, keepdims=True)
    # An 8-bit file may leave nothing to share out: then each is as likely.
    shares = np.where(total > _SMALLEST, rest / np.maximum(total, _SMALLEST), 1 / rest.shape[1])
    return np.asarray(shares, np.float32)


def _odds(scores: NDArray[np.floating], index: int) -> NDArray[np.float64]:
    """Return (N,): the label's score as a share of its own and that of the best other label."""
    return np.asarray(1 / (1 + np.exp(-surprise(scores, index))), np.float64)


def _bins(odds: NDArray[np.float64]) -> tuple[int, ...]:
    counts, _ = np.histogram(odds, _BINS, (0, 1))
    return tuple(map(int, counts))


def _text(interval: Interval) -> str:
    return "{:.1%} to {:.1%}".format(*interval)


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
    photos: Sequence[Path],
    strangers: Strangers | None = None,
) -> Known:
    """Divide what a model says of photos into what the usual metrics want and what it refuses.

    Args:
        scores: (N, outputs) in 0-1.
        truth: as `answers.truth` returns it; photos of the label for unknown ones are strangers.
        card: the model's.
        photos: the paths of the N.
        strangers: more of them.

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
    every, right, paths = scores, truth, list(photos)
    if strangers is not None:
        every = np.concatenate([scores, strangers.scores])
        right = np.append(truth, np.full(len(strangers.scores), index))
        paths += strangers.photos
    synthetic = strangers is not None and strangers.synthetic
    known = truth[rows]
    return Known(
        without_unknown(scores[rows], index),
        known - (known > index),
        tuple(label for label in card.labels if label != card.unknown),
        rows,
        _refusals(every, right, index, card.labels, paths, synthetic),
    )


def _refusals(
    scores: NDArray[Any],
    truth: NDArray[Any],
    index: int,
    labels: tuple[str, ...],
    photos: Sequence[Path],
    synthetic: bool,
) -> Refusals:
    """Return what there is to say of photos, of which strangers are those labelled `index`."""
    own, wrong = labels[index], mistakes(to_answers(scores, truth, labels))
    is_known = truth != index
    return replace(
        count_refusals(scores[is_known], scores[~is_known], index, own),
        synthetic=synthetic,
        refused=with_photos((entry for entry in wrong if entry.answer == own), photos),
        passed=with_photos((entry for entry in wrong if entry.truth == own), photos),
    )
