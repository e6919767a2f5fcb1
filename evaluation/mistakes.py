"""What a model gets wrong: single mistakes, confused classes, and what to do about each class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pocketlens.choices import MULTILABEL
from pocketlens.evaluation.answers import Answers
from pocketlens.evaluation.metrics import Evaluation


@dataclass(frozen=True)
class Mistake:
    """One wrong answer: the photo's row, what is true, what was predicted, and its score in 0-1.

    For multilabel it is one label of a photo: `truth` has it or "no" before it, and the score of
    a false negative is 1 less the label's.
    """

    row: int
    truth: str
    answer: str
    score: float


@dataclass(frozen=True)
class WrongAnswer:
    """A mistake as JSON has it: with the path of its photo."""

    photo: str
    truth: str
    answer: str
    score: float


def with_photos(
    entries: Iterable[Mistake], photos: Sequence[str | Path]
) -> tuple[WrongAnswer, ...]:
    """Return mistakes with the photos that their rows are."""
    return tuple(
        WrongAnswer(str(photos[entry.row]), entry.truth, entry.answer, round(entry.score, 6))
        for entry in entries
    )


@dataclass(frozen=True)
class Confusion:
    """All mistakes of one kind, the most confident first."""

    truth: str
    answer: str
    mistakes: tuple[Mistake, ...]


def mistakes(answers: Answers) -> tuple[Mistake, ...]:
    """Return every wrong answer, the most confident first."""
    labels = answers.labels
    found = []
    if answers.task == MULTILABEL:
        for row, index in np.argwhere(answers.truth != answers.predicted):
            label, score = labels[index], float(answers.scores[row, index])
            sides = (label, f"no {label}")
            if answers.predicted[row, index]:
                found.append(Mistake(int(row), sides[1], sides[0], score))
            else:
                found.append(Mistake(int(row), sides[0], sides[1], 1 - score))
    else:
        true, said = answers.truth.argmax(axis=1), answers.predicted.argmax(axis=1)
        found = [
            Mistake(
                int(row),
                labels[true[row]],
                labels[said[row]],
                float(answers.scores[row, said[row]]),
            )
            for row in np.flatnonzero(answers.wrong)
        ]
    return tuple(sorted(found, key=lambda mistake: (-mistake.score, mistake.row)))


def confusions(every: tuple[Mistake, ...]) -> tuple[Confusion, ...]:
    """Group mistakes by what was predicted for what, the most frequent first."""
    kinds: dict[tuple[str, str], list[Mistake]] = defaultdict(list)
    for mistake in every:
        kinds[mistake.truth, mistake.answer].append(mistake)
    groups = [Confusion(*kind, tuple(members)) for kind, members in kinds.items()]
    return tuple(sorted(groups, key=lambda group: (-len(group.mistakes), group.truth)))


# A class with both precision and recall above this needs nothing.
GOOD = 0.9
# Fewer photos than this and one of them moves recall by more than 10 points.
FEW = 10

# Where precision and recall are closer than this, neither is the one problem.
_ALIKE = 0.05


def diagnose(evaluation: Evaluation, index: int) -> str:
    """Return what is wrong with a class and what to add, in a few words; "" where all is well."""
    entry = evaluation.classes[index]
    if entry.support == 0:
        given = f", {entry.false_alarms} predicted" if entry.false_alarms else ""
        return f"no photos of it here{given}"
    parts = []
    if entry.recall < GOOD and entry.recall <= entry.precision + _ALIKE:
        parts.append(
            f"too many false negatives ({entry.misses} of {entry.support}"
            f"{_mostly(', mostly predicted as', taken_for(evaluation, index))}): add examples"
        )
    if entry.precision < GOOD and entry.precision <= entry.recall + _ALIKE and entry.false_alarms:
        parts.append(
            f"too many false positives ({entry.false_alarms}"
            f"{_mostly(', mostly', _mistaken(evaluation, index))}): add photos of what is taken "
            "for it"
        )
    if parts and entry.support < FEW:
        photos = "photo" if entry.support == 1 else "photos"
        parts.append(f"based on {entry.support} {photos} only")
    return "; ".join(parts)


def taken_for(evaluation: Evaluation, index: int) -> tuple[str, int] | None:
    """Return the class that is predicted for at least half of a class's mistakes, and how often."""
    row = list(evaluation.confusion[index]) if evaluation.confusion else []
    return _most(evaluation, index, row)


def _mistaken(evaluation: Evaluation, index: int) -> tuple[str, int] | None:
    """Return the class that at least half of a class's false positives are of, and how many."""
    return _most(evaluation, index, [row[index] for row in evaluation.confusion])


def _most(evaluation: Evaluation, index: int, counts: list[int]) -> tuple[str, int] | None:
    if len(evaluation.classes) == 2:
        return None  # There is only one other.
    others = [(count, -other) for other, count in enumerate(counts) if other != index and count]
    if not others:
        return None
    count, other = max(others)
    if 2 * count < sum(entry for entry, _ in others):
        return None
    return evaluation.classes[-other].label, count


def _mostly(words: str, found: tuple[str, int] | None) -> str:
    # Once is not a pattern.
    return f"{words} {found[0]}" if found and found[1] > 1 else ""
