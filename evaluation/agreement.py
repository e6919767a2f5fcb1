"""Where two models differ on the same photos, and whether that is too much or chance.

`convert` compares each file with the Keras model, `benchmark` with the float32 file, `recommend`
with the most accurate one; what counts as lost is decided here for all of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import ModelCard
from pocketlens.evaluation.answers import graded, share_of_equal
from pocketlens.runtime.answers import Answer, answer_of

# The usual level: of models that are equally good, one pair in twenty is said to differ.
NOISE_FROM_P = 0.05
# Standard normal quantiles: of that level, two-sided, and of finding a difference that is there in
# four of five tries.
_Z_LEVEL, _Z_POWER = 1.959963984540054, 0.8416212335729143
# Fewer flips than this are noise even where all go one way.
_FEWEST_FLIPS = 6
# Where models answer as many photos rightly, the difference that is asked for: a point.
_LEAST_DIFFERENCE = 0.01
# What a limit in photos may be off by.
_ROUNDING = 1e-9


def keeps(lost: int, photos: int, max_drop: float) -> bool:
    """Tell whether a net loss of `lost` right answers among `photos` is within a limit.

    One photo alone never breaks a limit above 0: among fewer than 100 / `max_drop` photos it is
    more than the limit, and says nothing yet.

    Args:
        lost: right answers fewer than the other model's; below 0 if there are more.
        photos: how many both answered.
        max_drop: the limit, in points of 100.
    """
    return lost <= max(max_drop * photos / 100, 1.0 if max_drop > 0 else 0.0) + _ROUNDING


@dataclass(frozen=True)
class ClassFlips:
    """What became of the photos of one class; see `Flips`."""

    label: str
    photos: int
    lost: int
    won: int

    @property
    def net_lost(self) -> int:
        """Right answers fewer than the reference's; below 0 if there are more."""
        return self.lost - self.won


@dataclass(frozen=True)
class Flips:
    """The photos that only one of a file and its reference answers rightly.

    `lost` are those that only the reference does, `won` those that only the file does. `p` is
    McNemar's exact p-value. `classes` are those with a photo among them, the one first that loses
    the largest share of its photos.
    """

    lost: int
    won: int
    p: float
    classes: tuple[ClassFlips, ...] = ()

    @property
    def net_lost(self) -> int:
        """Right answers fewer than the reference's; below 0 if there are more."""
        return self.lost - self.won

    @property
    def is_noise(self) -> bool:
        """Whether two equally good models would differ as much by chance."""
        return self.p >= NOISE_FROM_P

    @property
    def hit(self) -> tuple[ClassFlips, ...]:
        """The classes that lose more than they win, the hardest hit first."""
        return tuple(entry for entry in self.classes if entry.net_lost > 0)


def find_flips(
    answers: Sequence[Answer],
    others: Sequence[Answer],
    truth: Sequence[Answer],
    labels: Sequence[str],
) -> Flips:
    """Compare a file's answers with its reference's, photo by photo.

    Args:
        answers: the file's, as indices of labels.
        others: the reference's, for the same photos in the same order.
        truth: what is right.
        labels: names of the labels; a photo counts for each label that it truly has.
    """
    lost: Counter[int] = Counter()
    won: Counter[int] = Counter()
    sides = {False: 0, True: 0}
    for answer, other, true in zip(answers, others, truth, strict=True):
        if (answer == true) != (other == true):
            is_won = answer == true
            sides[is_won] += 1
            (won if is_won else lost).update(true)
    photos = Counter(index for true in truth for index in true)
    classes = sorted(
        lost.keys() | won.keys(),
        key=lambda index: ((won[index] - lost[index]) / photos[index], index),
    )
    return Flips(
        sides[False],
        sides[True],
        mcnemar_p(sides[False], sides[True]),
        tuple(ClassFlips(labels[i], photos[i], lost[i], won[i]) for i in classes),
    )


def mcnemar_p(lost: int, won: int) -> float:
    """Return McNemar's exact two-sided p-value for photos that flipped one way and the other.

    Of two equally good models each flip goes either way like a coin (Q. McNemar, Psychometrika 12
    (1947), 153-157; the exact form is the sign test): twice the binomial probability of at most so
    few the rarer way, at most 1.
    """
    count = lost + won
    ways = term = 1
    for index in range(min(lost, won)):
        term = term * (count - index) // (index + 1)
        ways += term
    return min(1.0, 2 * ways / (1 << count))


def photos_to_tell(lost: int, won: int, photos: int) -> int:
    """Return how many photos it takes to tell two models apart that differ as on these.

    With so many, McNemar's test finds the difference in four of five tries: R. J. Connor, "Sample
    size for testing differences in proportions for the paired-sample design", Biometrics 43 (1987),
    207-211, for a two-sided level of 5 % and a power of 80 %,

        (z_level sqrt(f) + z_power sqrt(f - d^2))^2 / d^2,

    where f is the share of photos that flip and d the difference of the shares of right answers.
    Models that answer as many rightly are taken to differ by a point. The exact test also needs six
    flips.

    Args:
        lost: photos that only one of the two answers rightly.
        won: those that only the other does.
        photos: how many both answered, at least 1.
    """
    difference = abs(won - lost) / photos or _LEAST_DIFFERENCE
    flips = max((lost + won) / photos, difference)
    deviation = math.sqrt(max(0.0, flips - difference**2))
    wanted = ((_Z_LEVEL * math.sqrt(flips) + _Z_POWER * deviation) / difference) ** 2
    return math.ceil(max(wanted, _FEWEST_FLIPS / flips))


def p_text(p: float, equals: str = "") -> str:
    """Return a p-value in two or three digits, with `equals` before it where it is not below."""
    if p < 0.001:
        return "p < 0.001" if equals else "<0.001"
    return f"{equals}{p:.{2 if p >= 0.1 else 3}f}"


@dataclass(frozen=True)
class AnswerPair:
    """Of how many photos the reference says one thing and a file another, or the same."""

    reference: str
    own: str
    photos: int


def pair_answers(
    reference: Sequence[Answer],
    own: Sequence[Answer],
    reference_labels: Sequence[str],
    own_labels: Sequence[str],
) -> tuple[AnswerPair, ...]:
    """Return each pair of answers with the number of its photos, the most frequent first.

    Several labels of a multilabel model are joined by " + ", none is "nothing".

    Args:
        reference: the label indices that the reference gives each photo.
        own: those that the file gives.
        reference_labels: the labels that the reference's indices count in.
        own_labels: the file's.
    """
    pairs = Counter(
        (_named(other, reference_labels), _named(answer, own_labels))
        for other, answer in zip(reference, own, strict=True)
    )
    ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return tuple(AnswerPair(other, answer, photos) for (other, answer), photos in ordered)


def _named(answer: Answer, labels: Sequence[str]) -> str:
    return " + ".join(labels[index] for index in answer) or "nothing"


# How many of the classes that lose most are named.
_HARDEST = 3


@dataclass(frozen=True)
class Comparison:
    """A file beside the model that it was made from, on `photos` photos.

    `agreement` is the share, 0-1, of photos with the same answer (one label or, of a multilabel
    model, all labels of a photo), `accuracy` and `original_accuracy` the shares of right answers,
    `flips` the photos that only one of the two answers rightly. `distance` is the mean over photos
    of the sum of the scores' differences (0-2 for scores that add up to 1). On photos without
    labels the original is taken to be right: then the accuracies are None.
    """

    photos: int
    agreement: float
    accuracy: float | None
    original_accuracy: float | None
    flips: Flips
    distance: float

    @property
    def hardest(self) -> tuple[ClassFlips, ...]:
        """The classes that lose most photos, net, at most three."""
        return tuple(sorted(self.flips.hit, key=lambda entry: -entry.net_lost)[:_HARDEST])

    @property
    def drop_points(self) -> float:
        """Net accuracy lost, in points of 100; below 0 if the file is the better one."""
        return 100 * self.flips.net_lost / self.photos

    def keeps(self, max_drop: float) -> bool:
        """Tell whether the net loss is within `max_drop` points; without labels, it is."""
        return self.accuracy is None or keeps(self.flips.net_lost, self.photos, max_drop)


@dataclass(frozen=True)
class Reference:
    """Photos and what the original model answers on them.

    `pixels` are uint8 (height, width, 3) RGB, `truth` the photos' labels or None where they are
    not known, `scores` float32 (photos, outputs); `card` says what scores mean.
    """

    pixels: Sequence[NDArray[np.uint8]]
    truth: Sequence[Answer] | None
    scores: NDArray[np.float32]
    card: ModelCard

    def compare(self, scores: NDArray[np.float32]) -> Comparison:
        """Compare scores (photos, outputs) with the original's."""
        answers, expected = self._answers(scores), self._answers(self.scores)
        agreement = share_of_equal(answers, expected)
        known = self.truth is not None
        truth = expected if self.truth is None else self.truth
        if self.truth is not None:
            answers, expected = (
                [graded(row, self.card, true) for row, true in zip(rows, self.truth, strict=True)]
                for rows in (scores, self.scores)
            )
        return Comparison(
            photos=len(truth),
            agreement=agreement,
            accuracy=share_of_equal(answers, truth) if known else None,
            original_accuracy=share_of_equal(expected, truth) if known else None,
            flips=find_flips(answers, expected, truth, self.card.labels),
            distance=float(np.abs(scores - self.scores).sum(axis=1).mean()),
        )

    def thinned(self, most: int) -> Reference:
        """Return at most about `most` of the photos, evenly taken."""
        step = -(-len(self.pixels) // most)
        truth = None if self.truth is None else self.truth[::step]
        return Reference(self.pixels[::step], truth, self.scores[::step], self.card)

    def _answers(self, scores: NDArray[np.float32]) -> list[Answer]:
        return [answer_of(row, self.card.task, self.card.threshold) for row in scores]
