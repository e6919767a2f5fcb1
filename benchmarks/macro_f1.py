"""Macro F1, in which rare classes count as much as frequent ones, and how sure it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pocketlens.benchmarks.spread import Interval
from pocketlens.runtime.answers import Answer

_RESAMPLES = 1000


def macro_f1(answers: Sequence[Answer], truth: Sequence[Answer]) -> tuple[float, Interval]:
    """Return the mean F1 in 0-1 of the classes that have photos, and its 95 % interval.

    The interval is from the percentile bootstrap over photos (B. Efron and R. J. Tibshirani, "An
    Introduction to the Bootstrap", 1993, chapter 13). Without any label both are 0.

    Args:
        answers: the indices of the labels that each photo was given.
        truth: of those that it has.
    """
    # Equal pairs are interchangeable, so that it is enough to draw how often each comes.
    cells = Counter(zip(truth, answers, strict=True))
    counts = np.array(list(cells.values()))
    given = _incidence([answer for _, answer in cells])
    true = _incidence([labels for labels, _ in cells])
    hits = _incidence([tuple(set(labels) & set(answer)) for labels, answer in cells])
    classes = 1 + max((*given[1], *true[1]), default=0)

    def mean(weights: NDArray[np.integer]) -> float:
        per_class = [
            np.bincount(label, weights[cell], classes) for cell, label in (given, true, hits)
        ]
        there = per_class[1] > 0
        shares = 2 * per_class[2][there] / (per_class[0] + per_class[1])[there]
        return float(shares.mean()) if there.any() else 0.0

    draw = np.random.default_rng(0).multinomial
    total = int(counts.sum())
    means = [mean(draw(total, counts / total)) for _ in range(_RESAMPLES)]
    low, high = np.percentile(means, (2.5, 97.5))
    return mean(counts), (float(low), float(high))


def _incidence(labels: Sequence[Answer]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the positions of the entries and their labels, one row for each label of each."""
    pairs = [(cell, label) for cell, entry in enumerate(labels) for label in entry]
    cells, indices = np.array(pairs, np.intp).reshape(-1, 2).T
    return cells, indices
