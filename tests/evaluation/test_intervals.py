"""Wilson's interval against values from the formula's inversion of the score test."""

import math

import pytest

from pocketlens.evaluation.intervals import wilson


@pytest.mark.parametrize(("successes", "count"), [(0, 10), (10, 10), (1, 3), (90, 100), (871, 997)])
def test_bounds_solve_the_score_equation(successes: int, count: int) -> None:
    share = successes / count
    for bound in wilson(successes, count):
        # At a bound p the share is exactly z standard errors of p away (or p is 0 or 1).
        error = math.sqrt(bound * (1 - bound) / count)
        assert abs(share - bound) == pytest.approx(1.959963984540054 * error, abs=1e-7)


def test_published_value() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, table I: 81 of 263.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_nothing_observed() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
