"""Which pictures to label first: those that teach a model most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def margin(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return float64 (N,), 0-1: how far the best score is ahead of the second.

    Args:
        scores: (N, labels), 0-1; a row with NaN gives NaN. With less than two labels it is NaN.
    """
    if scores.shape[1] < 2:
        return np.full(len(scores), np.nan)
    best = np.sort(scores.astype(np.float64), axis=1)
    ahead: NDArray[np.float64] = best[:, -1] - best[:, -2]
    ahead[np.isnan(scores).any(axis=1)] = np.nan
    return ahead


def teaching_order(
    scores: NDArray[np.floating], groups: NDArray[np.integer] | None = None
) -> NDArray[np.intp]:
    """Return intp (N,): the rows of pictures, the one that teaches most first.

    That is the one with the smallest margin between the two best scores (margin sampling: Scheffer,
    Decomain and Wrobel 2001). Of pictures that look alike one comes first, and the others when each
    group has had its turn: a second one teaches little more. Pictures without scores come behind
    those with, spread evenly over their rows, since neighbours in time show the same. Equal ones
    keep their order. What this saves was measured: `docs/explanation/labels-order.md`.

    Args:
        scores: (N, labels), 0-1, from the newest model; a row with NaN is a picture without.
        groups: (N,): the same number for pictures that look alike. None: none do.
    """
    ahead = margin(scores)
    count = len(ahead)
    spread = _spread(count)
    unscored = np.isnan(ahead)
    first = np.where(unscored, spread, ahead)
    turn = np.zeros(count, np.intp)
    if groups is not None:
        order = np.lexsort((first, unscored, groups))
        of = groups[order]
        starts = np.flatnonzero(np.r_[True, of[1:] != of[:-1]]) if count else np.array([], np.intp)
        begins = np.repeat(starts, np.diff(np.r_[starts, count]))
        turn[order] = np.arange(count) - begins
    return np.lexsort((np.arange(count), first, unscored, turn))


def _spread(count: int) -> NDArray[np.float64]:
    """Return numbers of 0-1 whose order visits rows evenly: each next one is far from those before.

    They are the van der Corput sequence's in base 2, turned round.
    """
    bits = max(1, (max(count, 1) - 1).bit_length())
    rows = np.arange(count)
    reversed_ = np.zeros(count, np.int64)
    for bit in range(bits):
        reversed_ |= (rows >> bit & 1) << (bits - 1 - bit)
    return reversed_ / (1 << bits)
