"""95 % intervals of what was measured on photos: of shares, of areas, the bootstrap of the rest."""

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
# A bound is then exact to 1e-9.
_HALVINGS = 30


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


def area_interval(area: float, positives: int, negatives: int) -> Interval:
    """Return the 95 % interval of the area under a ROC curve.

    The variance is that of J. A. Hanley and B. J. McNeil, "The meaning and use of the area under a
    receiver operating characteristic (ROC) curve", Radiology 143 (1982), 29-36, as a function of
    the area in question and not of the measured one, like Wilson's for a share. So an area of 1
    has an interval too: R. G. Newcombe, "Confidence intervals for an effect size measure based on
    the Mann-Whitney statistic, part 2", Statistics in Medicine 25 (2006), 559-573, method 5.

    Args:
        area: the measured one, 0-1.
        positives: how many photos there are of one kind, at least 1.
        negatives: how many of the other.

    Returns:
        The lower and the upper bound, each 0-1.
    """
    others = (positives + negatives) / 2 - 1

    def is_possible(true: float) -> bool:
        more = others * ((1 - true) / (2 - true) + true / (1 + true))
        variance = true * (1 - true) * (1 + more) / (positives * negatives)
        return (area - true) ** 2 <= _Z**2 * variance

    return _last(is_possible, area, 0.0), _last(is_possible, area, 1.0)


def _last(is_possible: Callable[[float], bool], inside: float, outside: float) -> float:
    """Return how far from a possible value towards one beyond it values are possible."""
    if is_possible(outside):
        return outside
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_possible(middle) else (inside, middle)
    return inside


def up_to_quantile(
    own: NDArray[np.float64], others: NDArray[np.float64], share: float
) -> tuple[float, Interval]:
    """Return the share of other values that are not above a quantile of one's own.

    Its 95 % interval is the percentile bootstrap's with both samples drawn anew, since the quantile
    is uncertain as well, but no narrower than Wilson's for the quantile as it is: by the bootstrap
    alone none of the values would be certainly none. The same values give the same interval.

    Args:
        own: (N,), N at least 1, the values whose quantile it is.
        others: (M,), M at least 1.
        share: of its own values up to the quantile, 0-1.

    Returns:
        The share, 0-1, and its lower and upper bound.
    """
    own, others, count = np.sort(own), np.sort(others), len(others)
    rank = math.ceil(share * (len(own) - 1))
    below = np.searchsorted(others, own, side="right")
    generator = np.random.default_rng(0)
    # Of N drawn values the one of a rank is as likely each of the N as by this: uniform ones of a
    # rank are beta distributed.
    drawn = (len(own) * generator.beta(rank + 1, len(own) - rank, _RESAMPLES)).astype(np.intp)
    ranks = drawn.clip(max=len(own) - 1)
    shares = generator.binomial(count, below[ranks] / count) / count
    low, high = np.percentile(shares, (2.5, 97.5))
    least, most = wilson(int(below[rank]), count)
    return float(below[rank]) / count, (min(float(low), least), max(float(high), most))


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
