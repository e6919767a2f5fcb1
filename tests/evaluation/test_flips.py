"""Paired flips and McNemar's test, against values worked out by hand."""

import pytest

from pocketlens.evaluation.agreement import ClassFlips, find_flips, mcnemar_p


@pytest.mark.parametrize(
    ("lost", "won", "p"),
    [
        # Twice the lower tail of a fair coin: 2 (1 + 8) / 2^8, 2 (1 + 10 + 45) / 2^10, …
        pytest.param(0, 0, 1.0, id="none"),
        pytest.param(1, 0, 1.0, id="a single one"),
        pytest.param(5, 0, 0.0625, id="five of five"),
        pytest.param(6, 0, 0.03125, id="six of six"),
        pytest.param(7, 1, 18 / 256, id="seven to one"),
        pytest.param(2, 8, 112 / 1024, id="two to eight"),
        pytest.param(4, 4, 1.0, id="as many each way"),
        # R's binom.test(10, 40)$p.value
        pytest.param(30, 10, 0.002221, id="thirty to ten"),
    ],
)
def test_p(lost, won, p):
    assert mcnemar_p(lost, won) == pytest.approx(p, rel=5e-4)
    assert mcnemar_p(won, lost) == mcnemar_p(lost, won)


def test_p_of_many_flips_is_that_of_the_normal_distribution():
    # z = 600 / sqrt(60,000) less the correction for continuity: p = 0.0144 from a table.
    assert mcnemar_p(30_300, 29_700) == pytest.approx(0.01445, rel=0.01)
    assert mcnemar_p(40_000, 0) == 0.0


def test_flips_are_counted_each_way_and_by_class():
    truth = [(0,), (0,), (0,), (1,), (1,), (2,)]
    reference = [(0,), (0,), (1,), (1,), (0,), (2,)]
    file = [(1,), (2,), (0,), (1,), (2,), (2,)]
    flips = find_flips(file, reference, truth, "abc")
    assert (flips.lost, flips.won) == (2, 1)
    assert flips.p == 1.0
    assert flips.is_noise
    assert flips.classes == flips.hit == (ClassFlips("a", 3, 2, 1),)


def test_the_class_that_loses_the_largest_share_is_first():
    truth = [(0,)] * 10 + [(1,)] * 4 + [(2,)] * 4
    file = [(9,)] * 3 + [(0,)] * 7 + [(9,)] * 2 + [(1,)] * 2 + [(2,)] * 4
    reference = [(0,)] * 10 + [(1,)] * 4 + [(9,)] + [(2,)] * 3
    flips = find_flips(file, reference, truth, "abc")
    assert [entry.label for entry in flips.classes] == ["b", "a", "c"]
    assert [entry.label for entry in flips.hit] == ["b", "a"]


def test_a_photo_counts_for_each_of_its_labels():
    flips = find_flips([(0,), ()], [(0, 1), ()], [(0, 1), ()], "ab")
    assert (flips.lost, flips.won) == (1, 0)
    assert [(entry.label, entry.photos) for entry in flips.hit] == [("a", 1), ("b", 1)]


def test_wrong_in_another_way_is_no_flip():
    flips = find_flips([(1,)], [(2,)], [(0,)], "abc")
    assert (flips.lost, flips.won, flips.classes) == (0, 0, ())
