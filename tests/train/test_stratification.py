"""Dividing photos with several labels: shares on average, whole groups, no label missing."""

from collections import Counter

import numpy as np
import pytest

from pocketlens.runtime.runs import SPLITS
from pocketlens.train.splits import divide_groups

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
    result = {split: Counter[int]() for split in SPLITS}
    for name, members in groups.items():
        for labels in members:
            result[placed[name]].update(labels or (-1,))
    return result


@pytest.mark.parametrize("seed", range(5))
def test_every_label_is_divided_by_about_the_same_shares(seed: int) -> None:
    groups = photos(1000, seed)
    placed = divide_groups(groups, SPLITS, seed)
    assert set(placed) == set(groups)
    found = counts(groups, placed)
    total = sum(found.values(), Counter())
    assert set(total) == {-1, 0, 1, 2, 3}
    for split, share in SHARES.items():
        for label, count in total.items():
            sigma = (count * share * (1 - share)) ** 0.5
            assert abs(found[split][label] - share * count) < 4 * sigma, (split, label)


def test_rare_labels_are_in_every_split() -> None:
    for seed in range(50):
        groups = photos(400, seed) | {f"rare{index}": [(4,)] for index in range(3)}
        found = counts(groups, divide_groups(groups, SPLITS, seed))
        assert all(found[split][label] for split in SPLITS for label in range(5))


def test_seed_decides() -> None:
    groups = photos(200, 0)
    first, again, other = (divide_groups(groups, SPLITS, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("seed", range(20))
def test_gaps_are_filled_where_a_split_can_spare_a_group(seed: int) -> None:
    groups = {"a": [(0,)], "b": [(0,)], "c": [(0, 1)], "d": [(1,)], "e": [(1,)], "f": [(1,)] * 2}
    found = counts(groups, divide_groups(groups, SPLITS, seed))
    assert all(found[split][label] for split in SPLITS for label in (0, 1))


@pytest.mark.parametrize("seed", range(20))
def test_no_split_gives_its_last(seed: int) -> None:
    groups = {"a": [(0, 1)], "b": [(0,)], "c": [(0,)]}
    placed = divide_groups(groups, SPLITS, seed)
    assert sorted(placed.values()) == ["test", "train", "val"]


def test_gaps_are_filled_by_what_is_free_only() -> None:
    groups = {f"{index}": [(0,)] for index in range(6)}
    bound = {f"{index}": "train" for index in range(4)}
    placed = divide_groups(groups, SPLITS, 0, bound)
    assert {placed["4"], placed["5"]} == {"val", "test"}
    assert all(placed[name] == "train" for name in bound)
