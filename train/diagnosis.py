"""What to do about a class: the figures in words."""

from __future__ import annotations

from pocketlens.evaluation.metrics import Evaluation

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
        called = f", {entry.false_alarms} called so" if entry.false_alarms else ""
        return f"no photos of it here{called}"
    parts = []
    if entry.recall < GOOD and entry.recall <= entry.precision + _ALIKE:
        parts.append(
            f"too many misses ({entry.misses} of {entry.support}"
            f"{_mostly(', mostly taken for', taken_for(evaluation, index))}): add examples"
        )
    if entry.precision < GOOD and entry.precision <= entry.recall + _ALIKE and entry.false_alarms:
        parts.append(
            f"too many false alarms ({entry.false_alarms}"
            f"{_mostly(', mostly', _mistaken(evaluation, index))}): add counter-examples"
        )
    if parts and entry.support < FEW:
        photos = "photo" if entry.support == 1 else "photos"
        parts.append(f"judged by {entry.support} {photos} only")
    return "; ".join(parts)


def taken_for(evaluation: Evaluation, index: int) -> tuple[str, int] | None:
    """Return the class that one is mistaken for in half of the cases or more, and their number."""
    row = list(evaluation.confusion[index]) if evaluation.confusion else []
    return _most(evaluation, index, row)


def _mistaken(evaluation: Evaluation, index: int) -> tuple[str, int] | None:
    """Return the class that half or more of those mistaken for one are of, and their number."""
    return _most(evaluation, index, [row[index] for row in evaluation.confusion])


def _most(evaluation: Evaluation, index: int, counts: list[int]) -> tuple[str, int] | None:
    if len(evaluation.classes) == 2:
        return None  # There is only one that it can be.
    others = [(count, -other) for other, count in enumerate(counts) if other != index and count]
    if not others:
        return None
    count, other = max(others)
    if 2 * count < sum(entry for entry, _ in others):
        return None
    return evaluation.classes[-other].label, count


def _mostly(words: str, found: tuple[str, int] | None) -> str:
    # What happened once is no habit.
    return f"{words} {found[0]}" if found and found[1] > 1 else ""
