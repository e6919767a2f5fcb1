"""Frames that show the same scene: pairs of near copies, and groups that one label fits.

They go by the fingerprints of `runtime.inbox`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pocketlens.runtime.inbox import near_copy

GROUP_S = 60.0
"""Frames of one group follow each other in less than this many seconds; near copies need not."""

MAX_GROUP_BITS = 8
"""Of the 64 bits of their fingerprints at most so many differ from one frame to the next.

Chosen by measuring: see `docs/explanation/labels-order.md`.
"""

SURE_SCORE = 0.7
"""The best score from which on a model is taken to be sure of its answer."""

# More than `near_copy` allows in all differ in none of its pairs.
_MOST_NEAR_BITS = 6
# Rows of the comparison at a time.
_BLOCK = 64


def near_pairs(fingerprints: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of rows whose pictures are near copies, the lower row first.

    All pairs are compared; the 200 million of 20,000 pictures take some seconds.
    """
    bits = np.array(fingerprints, np.uint64)
    for start in range(0, len(bits), _BLOCK):
        rows = bits[start : start + _BLOCK]
        near = _differing(rows[:, None] ^ bits[None, start:]) <= _MOST_NEAR_BITS
        for row, other in np.argwhere(np.triu(near, k=1)):
            one, two = start + int(row), start + int(other)
            if near_copy(fingerprints[one], fingerprints[two]):
                yield one, two


def similar_groups(
    fingerprints: Sequence[int | None], times_s: Sequence[float], answers: Sequence[str]
) -> NDArray[np.intp]:
    """Return intp (N,): the same number for frames that one label is likely to fit.

    Frames are in one group where they follow each other and look alike, or are near copies, unless
    a model tells them apart. The number is the lowest row in the group.

    Args:
        fingerprints: of each frame; None is alone.
        times_s: when it came, in seconds.
        answers: what a model is sure that it is, "" where it is not, or none was asked.
    """
    count = len(fingerprints)
    parent = list(range(count))
    sure = list(answers)

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def join(one: int, two: int) -> None:
        first, second = sorted((root(one), root(two)))
        # A frame of which a model is not sure does not join two that it tells apart.
        if sure[first] == sure[second] or not (sure[first] and sure[second]):
            parent[second] = first
            sure[first] = sure[first] or sure[second]

    known = [(row, bits) for row, bits in enumerate(fingerprints) if bits is not None]
    in_time = sorted(known, key=lambda entry: (times_s[entry[0]], entry[0]))
    for (one, bits), (two, others) in pairwise(in_time):
        near = times_s[two] - times_s[one] <= GROUP_S
        if near and (bits ^ others).bit_count() <= MAX_GROUP_BITS:
            join(one, two)
    for first, second in near_pairs([bits for _, bits in known]):
        join(known[first][0], known[second][0])
    return np.array([root(row) for row in range(count)], np.intp)


def _differing(values: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return how many bits are set in each value; NumPy counts them from version 2 on."""
    if hasattr(np, "bitwise_count"):
        counted: NDArray[np.uint8] = np.bitwise_count(values)
        return counted
    table = np.array([value.bit_count() for value in range(1 << 16)], np.uint8)
    parts = (values >> np.uint64(shift) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48))
    return np.asarray(np.sum([table[part] for part in parts], axis=0, dtype=np.uint8))
