"""Where two models differ on the same photos, and whether that is more than chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pocketlens.runtime.answers import Answer

# The usual level: of models that are equally good, one pair in twenty is said to differ.
NOISE_FROM_P = 0.05


@dataclass(frozen=True)
class ClassFlips:
    """What became of the photos of one class; see `Flips`."""

    label: str
    photos: int
    lost: int
    won: int


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
    def is_noise(self) -> bool:
        """Whether two equally good models would differ as much by chance."""
        return self.p >= NOISE_FROM_P

    @property
    def hit(self) -> tuple[ClassFlips, ...]:
        """The classes that lose more than they win, the hardest hit first."""
        return tuple(entry for entry in self.classes if entry.lost > entry.won)


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
