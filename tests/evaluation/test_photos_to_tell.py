"""McNemar's p and the number of photos that would tell, against scipy and by trying."""

import math

import numpy as np
import pytest

from pocketlens.evaluation.agreement import mcnemar_p, p_text, photos_to_tell

stats = pytest.importorskip("scipy.stats", reason="the oracle is scipy's")


def test_p_is_that_of_the_exact_binomial_test() -> None:
    for lost, won in [(0, 1), (3, 0), (5, 9), (12, 12), (40, 21), (300, 250), (1, 1000)]:
        expected = stats.binomtest(lost, lost + won, 0.5).pvalue
        assert mcnemar_p(lost, won) == pytest.approx(expected, rel=1e-9), (lost, won)


@pytest.mark.parametrize(
    ("lost", "won", "photos"), [(10, 20, 500), (3, 5, 200), (1, 4, 300), (40, 55, 1000)]
)
def test_so_many_photos_tell_in_four_of_five_tries(lost: int, won: int, photos: int) -> None:
    needed = photos_to_tell(lost, won, photos)
    draw = np.random.default_rng(0).multinomial
    tries = draw(needed, [lost / photos, won / photos, 1 - (lost + won) / photos], 4000)
    found = [mcnemar_p(int(a), int(b)) < 0.05 and b > a for a, b, _ in tries]
    # The exact test is a little stricter than the normal one that the formula is of.
    assert 0.72 <= np.mean(found) <= 0.84
    few = draw(needed // 3, [lost / photos, won / photos, 1 - (lost + won) / photos], 4000)
    assert np.mean([mcnemar_p(int(a), int(b)) < 0.05 and b > a for a, b, _ in few]) < 0.5


def test_the_formula_is_connor_s() -> None:
    level, power = stats.norm.ppf(0.975), stats.norm.ppf(0.8)
    flips, difference = 30 / 500, 10 / 500
    wanted = (level * math.sqrt(flips) + power * math.sqrt(flips - difference**2)) ** 2
    assert photos_to_tell(10, 20, 500) == math.ceil(wanted / difference**2)
    assert photos_to_tell(20, 10, 500) == photos_to_tell(10, 20, 500)


def test_it_is_always_more_than_what_does_not_tell() -> None:
    for photos in (1, 2, 7, 50, 400):
        for lost in range(min(photos, 30) + 1):
            for won in range(min(photos - lost, 30) + 1):
                if mcnemar_p(lost, won) >= 0.05:
                    assert photos_to_tell(lost, won, photos) > photos, (lost, won, photos)


def test_models_that_answer_as_many_are_asked_for_a_point() -> None:
    assert photos_to_tell(4, 4, 100) > photos_to_tell(1, 1, 100) > photos_to_tell(0, 0, 100) > 600


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "p < 0.001"), (0.0312, "p = 0.031"), (1, "p = 1.00")]
)
def test_p_in_words(p: float, text: str) -> None:
    assert p_text(p, "p = ") == text
