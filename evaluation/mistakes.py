"""Which photos a model got wrong: the most confident ones, and the classes it confuses."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from pocketlens.card import MULTILABEL
from pocketlens.evaluation.answers import Answers


@dataclass(frozen=True)
class Mistake:
    """One wrong answer: the photo's row, what is true, what was said, and how surely, in 0-1.

    For multilabel it is one label of a photo: `truth` has it or "no" before it, and the score of
    a label that was missed is how surely it was denied.
    """

    row: int
    truth: str
    answer: str
    score: float


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
    """Group mistakes by what was taken for what, the most frequent first."""
    kinds: dict[tuple[str, str], list[Mistake]] = defaultdict(list)
    for mistake in every:
        kinds[mistake.truth, mistake.answer].append(mistake)
    groups = [Confusion(*kind, tuple(members)) for kind, members in kinds.items()]
    return tuple(sorted(groups, key=lambda group: (-len(group.mistakes), group.truth)))
