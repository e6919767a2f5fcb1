"""Dividing photos with several labels: even shares, whole groups, no label missing."""

from collections import Counter

import numpy as np
import pytest

from pocketlens.train.splits import divide_groups, fill_gaps

SHARES = {"train": 0.65, "val": 0.15, "test": 0.20}


def photos(count: int, seed: int) -> dict[str, list[tuple[int, ...]]]:
    """Photos that stand alone, with labels of very different frequency, correlated, and none."""
    rng = np.random.default_rng(seed)
    rows = rng.random((count, 4)) < (0.5, 0.3, 0.1, 0.05)
    rows[:, 1] |= rows[:, 3]
    return {f"{i:04}": [tuple(np.flatnonzero(row).tolist())] for i, row in enumerate(rows)}


def counts(
    groups: dict[str, list[tuple[int, ...]]], placed: dict[str, str]
) -> dict[str, Counter[int]]:
    result = {split: Counter[int]() for split in SHARES}
    for name, members in groups.items():
        for labels in members:
            result[placed[name]].update(labels or (-1,))
    return result


@pytest.mark.parametrize("seed", range(5))
def test_every_label_is_divided_by_the_same_shares(seed: int) -> None:
    groups = photos(1000, seed)
    placed = divide_groups(groups, SHARES, seed)
    assert set(placed) == set(groups)
    found = counts(groups, placed)
    total = sum(found.values(), Counter())
    assert set(total) == {-1, 0, 1, 2, 3}
    for split, share in SHARES.items():
        assert sum(split == other for other in placed.values()) == pytest.approx(
            1000 * share, abs=15
        )
        for label, count in total.items():
            assert found[split][label] == pytest.approx(share * count, abs=1), (split, label)


def test_rare_labels_are_divided_more_evenly_than_by_chance() -> None:
    """By chance a label of 20 photos often misses a split's share."""
    shortest = []
    for seed in range(20):
        groups = photos(400, seed)
        found = counts(groups, divide_groups(groups, SHARES, seed))
        shortest.append(found["val"][3] / sum(found[split][3] for split in SHARES))
    assert min(shortest) >= 0.1


def test_seed_decides() -> None:
    groups = photos(200, 0)
    first, again, other = (divide_groups(groups, SHARES, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_groups_of_any_size_are_kept_and_counted() -> None:
    rng = np.random.default_rng(3)
    groups = {
        f"{i}": [(0,) if rng.random() < 0.5 else (0, 1)] * int(rng.integers(1, 6))
        for i in range(150)
    }
    found = counts(groups, divide_groups(groups, SHARES, 0))
    total = sum(found.values(), Counter())
    for split, share in SHARES.items():
        for label in (0, 1):
            assert found[split][label] == pytest.approx(share * total[label], abs=6)


def test_gaps_are_filled_where_a_split_can_spare_a_group() -> None:
    groups = {"a": [(0,)], "b": [(0,)], "c": [(0, 1)], "d": [(1,)], "e": [(1,)], "f": [(1,)] * 2}
    placed = dict.fromkeys(groups, "train") | {"a": "val"}
    fill_gaps(groups, placed, ["train", "val", "test"])
    found = counts(groups, placed)
    assert all(found[split][label] for split in SHARES for label in (0, 1))


def test_no_split_gives_its_last() -> None:
    groups = {"a": [(0, 1)], "b": [(0,)], "c": [(0,)]}
    placed = dict.fromkeys(groups, "train")
    fill_gaps(groups, placed, ["train", "val", "test"])
    assert placed["a"] == "train"
    assert sorted(placed.values()) == ["test", "train", "val"]
