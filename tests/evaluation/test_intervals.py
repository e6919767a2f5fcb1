"""Intervals against the equations that they solve, and against drawing samples."""

import math

import numpy as np
import pytest

from pocketlens.evaluation.intervals import area_interval, up_to_quantile, wilson


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


@pytest.mark.parametrize(
    ("area", "positives", "negatives"),
    [(0.5, 10, 10), (0.993, 400, 184), (1.0, 20, 30), (0.0, 5, 7), (0.8, 1, 1)],
)
def test_bounds_of_an_area_solve_its_equation(area: float, positives: int, negatives: int) -> None:
    low, high = area_interval(area, positives, negatives)
    assert 0 <= low <= area <= high <= 1
    assert low < high
    for bound in (low, high):
        # Hanley and McNeil's Q1 and Q2 of the bound, with the mean of the counts for both.
        both, count = bound * (1 - bound), (positives + negatives) / 2 - 1
        first, second = bound / (2 - bound), 2 * bound**2 / (1 + bound)
        variance = both + count * (first - bound**2) + count * (second - bound**2)
        error = math.sqrt(variance / (positives * negatives))
        assert abs(area - bound) == pytest.approx(1.959963984540054 * error, abs=1e-6)


def test_interval_of_an_area_is_the_same_from_the_other_side() -> None:
    low, high = area_interval(0.9, 30, 50)
    assert area_interval(0.1, 50, 30) == pytest.approx((1 - high, 1 - low))


def test_share_up_to_a_quantile_has_the_interval_of_drawing_anew() -> None:
    generator = np.random.default_rng(3)
    own, others = generator.normal(0, 1, 50), generator.normal(2, 1, 80)
    share, (low, high) = up_to_quantile(own, others, 0.9)
    limit = np.quantile(own, 0.9, method="higher")
    assert share == np.mean(others <= limit)
    drawn = []
    for _ in range(2000):
        again = np.quantile(generator.choice(own, 50), 0.9, method="higher")
        drawn.append(np.mean(generator.choice(others, 80) <= again))
    assert (low, high) == pytest.approx(tuple(np.percentile(drawn, (2.5, 97.5))), abs=0.03)
    assert up_to_quantile(own, others, 0.9) == (share, (low, high))


def test_none_among_few_is_not_certainly_none() -> None:
    share, interval = up_to_quantile(np.zeros(30), np.ones(12), 0.95)
    assert (share, *interval) == pytest.approx((0, *wilson(0, 12)))
