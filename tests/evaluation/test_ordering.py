import numpy as np
import pytest

from pocketlens.evaluation.ordering import margin, teaching_order


def test_the_margin_is_between_the_two_best_scores():
    scores = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [1 / 3, 1 / 3, 1 / 3]], np.float32)
    np.testing.assert_allclose(margin(scores), [0.2, 0.5, 0], atol=1e-6)
    assert np.isnan(margin(np.array([[0.5, np.nan]]))).all()
    assert np.isnan(margin(np.ones((2, 1)))).all()
    assert margin(np.empty((0, 3))).shape == (0,)


def test_the_smallest_margin_is_first_and_equal_ones_keep_their_order():
    scores = np.array([[0.9, 0.1], [0.5, 0.5], [0.7, 0.3], [0.5, 0.5], [0.3, 0.7]])
    assert list(teaching_order(scores)) == [1, 3, 2, 4, 0]


def test_groups_take_turns():
    scores = np.array([[0.5, 0.5], [0.51, 0.49], [0.52, 0.48], [0.9, 0.1], [0.6, 0.4]])
    assert list(teaching_order(scores, np.array([7, 7, 7, 3, 4]))) == [0, 4, 3, 1, 2]


def test_pictures_without_scores_come_behind_those_with_spread_over_their_rows():
    scores = np.full((8, 2), np.nan)
    assert list(teaching_order(scores)) == [0, 4, 2, 6, 1, 5, 3, 7]
    assert list(teaching_order(np.empty((8, 0)))) == [0, 4, 2, 6, 1, 5, 3, 7]
    scores[5] = 0.99, 0.01
    assert list(teaching_order(scores)) == [5, 0, 4, 2, 6, 1, 3, 7]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000])
def test_every_row_comes_once(count):
    rng = np.random.default_rng(count)
    scores = rng.dirichlet(np.ones(4), count)
    scores[rng.random(count) < 0.3] = np.nan
    groups = rng.integers(0, 1 + count // 3, count)
    order = teaching_order(scores, groups)
    assert sorted(order) == list(range(count))
    # In each turn a group comes once.
    seen: dict[int, int] = {}
    turns = []
    for row in order:
        turns.append(seen.get(groups[row], 0))
        seen[groups[row]] = turns[-1] + 1
    assert turns == sorted(turns)
