"""Dividing photos: every class, no photo in two splits, layouts kept."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketlens.errors import DataError, LabelsError, UsageError
from pocketlens.train.data_check import check_data
from pocketlens.train.found_photos import FoundPhotos, find_photos
from pocketlens.train.splits import (
    MIN_PER_CLASS,
    Contents,
    DividedPhotos,
    divide_photos,
)


def split_photos(root: Path, seed: int) -> DividedPhotos:
    return check_data(root).divide(seed)


def fill(folder: Path, count: int, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        pixels = rng.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}_{index:03}.png")


def test_every_class_is_divided_by_the_same_shares(tmp_path: Path) -> None:
    fill(tmp_path / "a", 100, 1)
    fill(tmp_path / "b", 20, 2)
    divided = split_photos(tmp_path, seed=0)
    counts = {
        split: Counter(photo.label_indices for photo in photos)
        for split, photos in divided.splits.items()
    }
    assert counts == {
        "train": {(0,): 65, (1,): 13},
        "val": {(0,): 15, (1,): 3},
        "test": {(0,): 20, (1,): 4},
    }


def test_every_photo_is_in_one_split(tmp_path: Path) -> None:
    fill(tmp_path / "a", 30, 1)
    fill(tmp_path / "b", 30, 2)
    divided = split_photos(tmp_path, seed=0)
    paths = [photo.path for photos in divided.splits.values() for photo in photos]
    assert len(paths) == len(set(paths)) == 60


def test_seed_decides(tmp_path: Path) -> None:
    fill(tmp_path / "a", 30, 1)
    fill(tmp_path / "b", 30, 2)
    first, again, other = (split_photos(tmp_path, seed=seed) for seed in (1, 1, 2))
    assert first.splits == again.splits
    assert first.data_hash == again.data_hash
    assert first.splits != other.splits
    assert first.data_hash != other.data_hash


@pytest.mark.parametrize("seed", range(10))
def test_copies_stay_together(tmp_path: Path, seed: int) -> None:
    fill(tmp_path / "a", 12, 1)
    fill(tmp_path / "b", 12, 2)
    for path in list((tmp_path / "a").iterdir()):
        shutil.copy(path, path.with_name(f"copy_{path.name}"))
    divided = split_photos(tmp_path, seed)
    split_of = {
        photo.path.name: split for split, photos in divided.splits.items() for photo in photos
    }
    for name, split in split_of.items():
        if f"copy_{name}" in split_of:
            assert split_of[f"copy_{name}"] == split


def test_photos_without_copies_are_divided_as_ever(tmp_path: Path) -> None:
    """Measured figures depend on it: these names were written down before there were groups."""
    fill(tmp_path / "a", 12, 1)
    fill(tmp_path / "b", 9, 2)
    divided = split_photos(tmp_path, seed=3)
    names = {split: [p.path.stem for p in photos] for split, photos in divided.splits.items()}
    assert names["val"] == ["1_001", "1_007", "2_000"]
    assert names["test"] == ["1_000", "1_010", "2_002", "2_006"]
    assert len(names["train"]) == 14


def contents_of(found: FoundPhotos, groups: dict[str, str]) -> Contents:
    """Photos with the names in `groups` are together, all others alone."""
    paths = [photo.path for photo in found.photos]
    return Contents(
        {path: str(path) for path in paths},
        {path: groups.get(path.stem, str(path)) for path in paths},
    )


@pytest.mark.parametrize("seed", range(10))
def test_groups_stay_together_and_shares_stay_even(tmp_path: Path, seed: int) -> None:
    fill(tmp_path / "a", 60, 1)
    fill(tmp_path / "b", 60, 2)
    found = find_photos(tmp_path)
    # Bursts of three photos, and one long one that is more than the test split holds.
    groups = {f"1_{index:03}": f"burst{index // 3}" for index in range(60)}
    groups |= {f"2_{index:03}": "long" for index in range(30)}
    divided = divide_photos(found, contents_of(found, groups), seed)
    split_of = {p.path.stem: split for split, photos in divided.splits.items() for p in photos}
    assert len(split_of) == 120
    for name, group in groups.items():
        assert {split_of[other] for other in groups if groups[other] == group} == {split_of[name]}
    counts = Counter((split, name[0]) for name, split in split_of.items())
    for split, wanted in (("val", 9), ("test", 12)):
        assert counts[split, "1"] == wanted
        assert counts[split, "2"] == wanted


def test_every_split_gets_a_group_however_large(tmp_path: Path) -> None:
    fill(tmp_path / "a", 30, 1)
    fill(tmp_path / "b", 30, 2)
    found = find_photos(tmp_path)
    groups = {f"1_{index:03}": f"burst{index // 10}" for index in range(30)}
    divided = divide_photos(found, contents_of(found, groups), seed=0)
    for photos in divided.splits.values():
        assert sum(photo.label_indices == (0,) for photo in photos) == 10


def test_too_few_different_photos(tmp_path: Path) -> None:
    fill(tmp_path / "a", 30, 1)
    fill(tmp_path / "b", 30, 2)
    found = find_photos(tmp_path)
    groups = {f"1_{index:03}": f"burst{index // 15}" for index in range(30)}
    with pytest.raises(DataError, match=r"Received: 2 of 'a', with 30 files"):
        divide_photos(found, contents_of(found, groups), seed=0)


def test_every_split_gets_a_readable_photo(tmp_path: Path) -> None:
    fill(tmp_path / "a", 12, 1)
    fill(tmp_path / "b", 12, 2)
    found = find_photos(tmp_path)
    for seed in range(10):
        plain = contents_of(found, {})
        whole = divide_photos(found, plain, seed)
        bad = frozenset(p.path for p in whole.splits["test"] if p.label_indices == (0,))
        divided = divide_photos(found, Contents(plain.digests, plain.groups, bad), seed)
        readable = [p.label_indices for p in divided.splits["test"] if p.path not in bad]
        assert readable.count((0,)) == 1
        assert readable.count((1,)) == 2


def test_layout_with_a_split_that_lacks_a_class(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val", "test")):
        fill(tmp_path / split / "a", 10, 10 * number + 1)
        if split != "val":
            fill(tmp_path / split / "b", 10, 10 * number + 2)
    with pytest.raises(DataError, match=r"in the val split\. Received: none of 'b'"):
        split_photos(tmp_path, seed=0)


def test_group_under_two_labels_stays_together(tmp_path: Path) -> None:
    fill(tmp_path / "a", 20, 1)
    fill(tmp_path / "b", 20, 2)
    found = find_photos(tmp_path)
    for seed in range(10):
        groups = {"1_003": "same", "2_005": "same"}
        divided = divide_photos(found, contents_of(found, groups), seed)
        split_of = {p.path.stem: split for split, photos in divided.splits.items() for p in photos}
        assert split_of["1_003"] == split_of["2_005"]


def test_layout_is_kept(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "valid", "test")):
        fill(tmp_path / split / "a", 10, 10 * number + 1)
        fill(tmp_path / split / "b", 8, 10 * number + 2)
    divided = split_photos(tmp_path, seed=0)
    assert divided.labels == ("a", "b")
    for split, folder in (("train", "train"), ("val", "valid"), ("test", "test")):
        assert {photo.path.parents[1].name for photo in divided.splits[split]} == {folder}
        assert len(divided.splits[split]) == 18


def test_missing_split_comes_from_training(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "test")):
        fill(tmp_path / split / "a", 40, 10 * number + 1)
        fill(tmp_path / split / "b", 40, 10 * number + 2)
    divided = split_photos(tmp_path, seed=0)
    assert len(divided.splits["test"]) == 80
    assert {photo.path.parents[1].name for photo in divided.splits["val"]} == {"train"}
    assert 10 <= len(divided.splits["val"]) <= 20


def test_layout_with_one_photo_twice(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val", "test")):
        fill(tmp_path / split / "a", 10, 10 * number + 1)
        fill(tmp_path / split / "b", 10, 10 * number + 2)
    shutil.copy(next((tmp_path / "train" / "a").iterdir()), tmp_path / "test" / "a" / "leak.png")
    with pytest.raises(DataError, match=r"leak\.png, which are the same"):
        split_photos(tmp_path, seed=0)


def test_layout_with_a_foreign_class(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "test")):
        fill(tmp_path / split / "a", 10, 10 * number + 1)
        fill(tmp_path / split / "b", 10, 10 * number + 2)
    fill(tmp_path / "test" / "c", 10, 50)
    with pytest.raises(LabelsError, match="c"):
        split_photos(tmp_path, seed=0)


def test_classes_called_like_splits(tmp_path: Path) -> None:
    fill(tmp_path / "test", 10, 1)
    fill(tmp_path / "other", 10, 2)
    assert split_photos(tmp_path, seed=0).labels == ("other", "test")


def test_hash_follows_the_content(tmp_path: Path) -> None:
    fill(tmp_path / "a", 10, 1)
    fill(tmp_path / "b", 10, 2)
    before = split_photos(tmp_path, seed=0).data_hash
    path = next((tmp_path / "a").iterdir())
    Image.new("RGB", (4, 4), "red").save(path)
    assert split_photos(tmp_path, seed=0).data_hash != before


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing there"):
        split_photos(tmp_path / "x", seed=0)


def test_one_class(tmp_path: Path) -> None:
    fill(tmp_path / "a", 10)
    with pytest.raises(DataError, match="at least two classes"):
        split_photos(tmp_path, seed=0)


def test_scarce_class(tmp_path: Path) -> None:
    fill(tmp_path / "a", MIN_PER_CLASS, 1)
    fill(tmp_path / "b", MIN_PER_CLASS - 1, 2)
    with pytest.raises(DataError, match=rf"Received: b \({MIN_PER_CLASS - 1}\)"):
        split_photos(tmp_path, seed=0)


def test_smallest_class_that_is_enough(tmp_path: Path) -> None:
    fill(tmp_path / "a", MIN_PER_CLASS, 1)
    fill(tmp_path / "b", MIN_PER_CLASS, 2)
    divided = split_photos(tmp_path, seed=0)
    for photos in divided.splits.values():
        assert {photo.label_indices for photo in photos} == {(0,), (1,)}
