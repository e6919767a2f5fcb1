"""How sure a measured share is."""

from __future__ import annotations

import math

# The 97.5 % quantile of the standard normal distribution: two-sided 95 %.
_Z = 1.959963984540054


def wilson(successes: int, count: int) -> tuple[float, float]:
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


Interval = tuple[float, float]
