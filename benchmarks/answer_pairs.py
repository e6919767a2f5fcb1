"""What two files say of the same photos, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pocketlens.runtime.answers import Answer


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
