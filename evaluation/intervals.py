"""95 % intervals of what was measured on photos: Wilson's of a share, the bootstrap of the rest."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]
"""The lower and the upper bound."""

# The 97.5 % quantile of the standard normal distribution: two-sided 95 %.
_Z = 1.959963984540054
_RESAMPLES = 1000


def wilson(successes: int, count: int) -> Interval:
    """Return the 95 % Wilson score interval of a share (E. B. Wilson 1927, JASA 22:209).

    Args:
        successes: how many of `count` had the property.
        count: how many there were.

    Returns:
        The lower and the upper bound, each 0-1; (0, 1) for no observations.
    """
    if count == 0:
        return 0.0, 1.0
    share = successes / count
    denominator = 1 + _Z**2 / count
    centre = (share + _Z**2 / (2 * count)) / denominator
    margin = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) / denominator
    return max(0.0, centre - margin), min(1.0, centre + margin)


def bootstrap(counts: NDArray[np.int64], metric: Callable[[NDArray[np.int64]], float]) -> Interval:
    """Return the 95 % percentile bootstrap interval of a metric over photos.

    Source: B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    The same counts give the same interval.

    Args:
        counts: (kinds,): how many photos there are of each kind. Photos of a kind are
            interchangeable, so that it is enough to draw how often each kind comes.
        metric: gives the metric for such counts.
    """
    draw = np.random.default_rng(0).multinomial
    total = int(counts.sum())
    values = [metric(draw(total, counts / total)) for _ in range(_RESAMPLES)]
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
