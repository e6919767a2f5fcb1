"""Label sets: the quantile by hand, the promise over many draws, and how sets are measured."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest

from pocketlens.choices import SET_LEVELS
from pocketlens.evaluation.answers import to_answers
from pocketlens.evaluation.sets import fit_sets, lowest_score, measure_sets, sets_doubt
from pocketlens.runtime.answers import in_label_set, photos_needed


@pytest.mark.parametrize(
    ("count", "level", "rank"),
    [
        *((4, 0.8, 4), (9, 0.9, 9), (10, 0.9, 10), (19, 0.95, 19), (39, 0.95, 38)),
        *((100, 0.95, 96), (99, 0.99, 99), (199, 0.99, 198), (49, 0.57, 29), (99, 0.07, 7)),
    ],
)
def test_quantile_by_hand(count: int, level: float, rank: int) -> None:
    """The score is 1 less the rank-th smallest of 1 - p, whatever the order of the photos."""
    of_truth = np.random.default_rng(count).permutation(np.linspace(1, 0.01, count))
    assert 1 - sorted(1 - of_truth)[rank - 1] == pytest.approx(lowest_score(of_truth, level))


@pytest.mark.parametrize("level", SET_LEVELS)
def test_rank_is_exact_for_every_number_of_photos(level: float) -> None:
    for count in range(1, 2000):
        of_truth = np.arange(count, 0, -1) / count
        rank = ceil((count + 1) * Fraction(str(level)))
        found = lowest_score(of_truth, level)
        assert (found is None) == (rank > count) == (count < photos_needed(level)), count
        if found is not None:
            assert found == of_truth[rank - 1]


def test_level_without_enough_photos_is_left_out() -> None:
    scores = np.full((98, 2), 0.5, np.float32)
    assert list(fit_sets(scores, [0] * 98)) == ["0.8", "0.9", "0.95"]
    assert list(fit_sets(scores[:18], [0] * 18)) == ["0.8", "0.9"]
    assert fit_sets(scores[:3], [0] * 3) == {}
    assert sets_doubt(98) == (
        "Too few validation photos (98) for label sets of --sets 0.99 (needs 99)."
    )
    assert "0.95 (needs 19), 0.99 (needs 99)" in sets_doubt(18)
    assert sets_doubt(99) == ""


def draw(rng: np.random.Generator, count: int, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return scores of a bad, overconfident model, float32 (count, 4), and what is true."""
    logits = rng.normal(0, 1, (count, 4))
    truth = (logits + rng.gumbel(0, 1, logits.shape)).argmax(axis=1)
    powers = np.exp(3 * logits)
    scores = powers / powers.sum(axis=1, keepdims=True)
    return (np.round(scores / step) * step if step else scores).astype(np.float32), truth


@pytest.mark.parametrize("step", [0, 1 / 256], ids=["float", "int8"])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_promise_holds_over_many_draws(level: float, step: float) -> None:
    """However bad the scores are; the steps of int8's scores only make sets larger."""
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(1000):
        known, truth = draw(rng, 100, step)
        new, of_new = draw(rng, 100, step)
        inside = in_label_set(new, fit_sets(known, truth)[f"{level:g}"])
        assert inside.any(axis=1).all()
        shares.append(inside[np.arange(100), of_new].mean())
    low, high = (level, level + 1 / 101) if not step else (level, 1.0)
    assert low - 0.005 <= np.mean(shares) <= high + 0.005
    if level == 0.95 and not step:
        assert np.mean(shares) == pytest.approx(0.95, abs=0.01)


def test_set_is_never_empty_and_holds_what_shares_the_best_score() -> None:
    scores = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [0.9, 0.1, 0.0]], np.float32)
    for score, expected in (
        (0.95, [[0, 1, 0], [1, 0, 1], [1, 0, 0]]),
        (float(scores[0, 2]), [[0, 1, 1], [1, 0, 1], [1, 0, 0]]),
        (0.0, [[1, 1, 1]] * 3),
    ):
        assert in_label_set(scores, score).astype(int).tolist() == expected
        assert in_label_set(scores[0], score).astype(int).tolist() == expected[0]


def test_coverage_by_hand() -> None:
    scores = np.array([[0.6, 0.4, 0], [0.5, 0.1, 0.4], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])
    answers = to_answers(scores.astype(np.float32), np.array([0, 1, 1, 1]), ("a", "b", "c"))
    (entry,) = measure_sets(answers, {"0.8": 0.4})
    assert (entry.level, entry.coverage, entry.mean_size) == (0.8, 0.5, 1.5)
    # c has no photos.
    assert (entry.worst_class, entry.worst_coverage) == ("b", pytest.approx(1 / 3))
    assert entry.interval[0] < 0.5 < entry.interval[1]
    assert measure_sets(answers, {}) == ()
