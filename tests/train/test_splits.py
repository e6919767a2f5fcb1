"""Dividing photos: every class, no photo in two splits, layouts kept."""

import dataclasses
import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketlens.errors import DataError, LabelsError, UsageError
from pocketlens.runtime.runs import SPLITS
from pocketlens.train.data_check import check_data
from pocketlens.train.found_photos import FoundPhotos, find_photos
from pocketlens.train.splits import (
    MIN_PER_CLASS,
    Contents,
    DividedPhotos,
    divide_groups,
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


def split_by_name(divided: DividedPhotos) -> dict[str, str]:
    return {photo.path.stem: split for split, photos in divided.splits.items() for photo in photos}


def test_every_class_is_divided_by_about_the_same_shares() -> None:
    """A thousand photos in five classes: as even as by chance, never worse than three sigma."""
    groups = {f"{label}-{index}": [(label,)] for label in range(5) for index in range(200)}
    for seed in range(10):
        placed = divide_groups(groups, SPLITS, seed)
        counts = Counter((split, name[0]) for name, split in placed.items())
        for split, share, sigma in (("train", 0.65, 6.7), ("val", 0.15, 5.0), ("test", 0.2, 5.7)):
            of_class = [counts[split, str(label)] for label in range(5)]
            assert all(abs(count - 200 * share) < 3 * sigma for count in of_class), (split, seed)
            assert sum(of_class) == pytest.approx(1000 * share, abs=45)


def test_no_photo_moves_when_others_come_and_go() -> None:
    """From 40 photos on; `test_few_photos...` says what moves below."""
    chooser = random.Random(0)
    groups = {f"{label}-{index}": [(label,)] for label in range(4) for index in range(60)}
    before = divide_groups(groups, SPLITS, 3)
    for step in range(20):
        groups = {name: photos for name, photos in groups.items() if chooser.random() > 0.02}
        for label in range(4):
            groups |= {f"{label}-{step}-{index}": [(label,)] for index in range(5)}
        placed = divide_groups(groups, SPLITS, 3)
        assert all(placed[name] == split for name, split in before.items() if name in placed)
        before |= placed


def test_few_photos_move_only_where_a_split_would_be_empty() -> None:
    moved = 0
    for seed in range(50):
        groups = {f"{index}": [(0,)] for index in range(6)}
        placed = divide_groups(groups, SPLITS, seed)
        assert set(placed.values()) == set(SPLITS)
        for index in range(6, 40):
            groups[f"{index}"] = [(0,)]
            new = divide_groups(groups, SPLITS, seed)
            assert set(new.values()) == set(SPLITS)
            moved += sum(new[name] != split for name, split in placed.items())
            placed = new
    # In the whole growth of a class from 6 photos to 40, on average less than two change.
    assert moved / 50 < 2


def test_names_and_places_do_not_count(tmp_path: Path) -> None:
    fill(tmp_path / "one" / "a", 30, 1)
    fill(tmp_path / "one" / "b", 30, 2)
    before = split_photos(tmp_path / "one", seed=0)
    contents = {before.digests[p.path]: s for s, photos in before.splits.items() for p in photos}
    for number, path in enumerate(sorted((tmp_path / "one").rglob("*.png"), reverse=True)):
        target = tmp_path / "two" / path.parent.name / f"sub{number % 3}" / f"{number:04}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    fill(tmp_path / "two" / "a", 7, 9)
    after = split_photos(tmp_path / "two", seed=0)
    for split, photos in after.splits.items():
        for photo in photos:
            assert contents.get(after.digests[photo.path], split) == split


def test_photos_of_an_earlier_run_keep_their_split(tmp_path: Path) -> None:
    fill(tmp_path / "a", 30, 1)
    fill(tmp_path / "b", 30, 2)
    found = find_photos(tmp_path)
    free = contents_of(found, {})
    for seed in range(5):
        earlier = divide_photos(found, free, seed + 100)
        bound = {free.groups[p.path]: s for s, ps in earlier.splits.items() for p in ps[::2]}
        divided = divide_photos(found, dataclasses.replace(free, bound=bound), seed)
        for split, photos in divided.splits.items():
            for photo in photos:
                assert bound.get(free.groups[photo.path], split) == split


def test_photos_of_an_earlier_run_leave_a_layout_s_test_split(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val", "test")):
        fill(tmp_path / split / "a", 10, 10 * number + 1)
        fill(tmp_path / split / "b", 10, 10 * number + 2)
    found = find_photos(tmp_path)
    free = contents_of(found, {})
    tested = [photo.path for photo in found.splits["test"] if photo.label_indices == (0,)]
    bound = {str(tested[0]): "train", str(tested[1]): "val", str(tested[2]): "test"}
    bound |= {free.groups[found.splits["train"][0].path]: "test"}
    groups = {path: str(path) if path in tested else group for path, group in free.groups.items()}
    contents = dataclasses.replace(free, bound=bound, groups=groups)
    divided = divide_photos(found, contents, seed=0)
    assert [len(photos) for photos in divided.splits.values()] == [21, 21, 18]
    assert tested[0] in [photo.path for photo in divided.splits["train"]]
    assert tested[1] in [photo.path for photo in divided.splits["val"]]
    assert len(divided.notes) == 3
    assert "1 photo of test is in train" in divided.notes[0]
    assert "learns from 1 photo that an earlier run had in test" in divided.notes[2]


def test_test_split_that_has_nothing_of_a_class_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "a", 20, 1)
    fill(tmp_path / "b", 20, 2)
    found = find_photos(tmp_path)
    free = contents_of(found, {})
    bound = {free.groups[photo.path]: "train" for photo in found.photos}
    with pytest.raises(DataError, match=r"none of 'a', 'b'\. Photos that an earlier run had keep"):
        divide_photos(found, dataclasses.replace(free, bound=bound), seed=0)


def test_without_a_test_split(tmp_path: Path) -> None:
    fill(tmp_path / "a", 30, 1)
    fill(tmp_path / "b", 30, 2)
    found = find_photos(tmp_path)
    free = contents_of(found, {})
    whole, without = (divide_photos(found, free, 0, test=test) for test in (True, False))
    assert list(without.splits) == ["train", "val"]
    # What is for validation stays that.
    assert without.splits["val"] == whole.splits["val"]
    assert len(without.splits["train"]) == len(whole.splits["train"]) + len(whole.splits["test"])


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


def contents_of(found: FoundPhotos, groups: dict[str, str]) -> Contents:
    """Photos with the names in `groups` are together, all others alone."""
    paths = [photo.path for photo in found.photos]
    # Whatever the folder of this test is called.
    return Contents(
        {path: str(path) for path in paths},
        {path: groups.get(path.stem, path.stem) for path in paths},
    )


@pytest.mark.parametrize("seed", range(10))
def test_groups_stay_together(tmp_path: Path, seed: int) -> None:
    fill(tmp_path / "a", 60, 1)
    fill(tmp_path / "b", 60, 2)
    found = find_photos(tmp_path)
    # Bursts of three photos, and one long one that is more than the test split holds.
    groups = {f"1_{index:03}": f"burst{index // 3}" for index in range(60)}
    groups |= {f"2_{index:03}": "long" for index in range(30)}
    split_of = split_by_name(divide_photos(found, contents_of(found, groups), seed))
    assert len(split_of) == 120
    for name, group in groups.items():
        assert {split_of[other] for other in groups if groups[other] == group} == {split_of[name]}


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
        assert set(readable) == {(0,), (1,)}


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
    assert 4 <= len(divided.splits["val"]) <= 20
    note = divided.notes[0]
    count = len(divided.splits["val"])
    assert note == f"There is no val split: {count} of the 80 photos of train are taken for it."


@pytest.mark.parametrize(("given", "missing"), [("val", "test"), ("test", "val")])
def test_missing_split_gets_no_near_copies_of_another(
    tmp_path: Path, given: str, missing: str
) -> None:
    """Else a photo by which the epochs were chosen would be tested on, or the other way round."""
    root = tmp_path / "photos"
    for number, label in enumerate(("a", "b")):
        fill(root / "train" / label, 30, number)
        fill(root / given / label, 10, 10 + number)
        for path in (root / given / label).iterdir():
            picture = Image.open(path).resize((80, 80))
            picture.save(path)
            picture.resize((60, 60)).save(root / "train" / label / path.name)
    check = check_data(root)
    assert len(check.across) == 20
    divided = check.divide(0)
    there, made = (
        {check.contents.groups[photo.path] for photo in divided.splits[split]}
        for split in (given, missing)
    )
    assert made
    assert not there & made


def test_few_photos_of_a_class_to_measure_with_are_named(tmp_path: Path) -> None:
    counts = {"train": (10, 10, 10), "val": (1, 10, 10), "test": (4, 10, 2)}
    for number, (split, sizes) in enumerate(counts.items()):
        for index, size in enumerate(sizes):
            fill(tmp_path / split / "abc"[index], size, 10 * number + index + 1)
    # What cannot be read is none of them.
    (tmp_path / "val" / "a" / "damaged.png").write_bytes(b"no picture")
    assert split_photos(tmp_path, seed=0).notes == (
        "Only 1 photo of a is in val: its figures say little; more photos help.",
        "Only 4 photos of a, 2 of c are in test: their figures say little; more photos help.",
    )


def test_one_readable_photo_of_several_is_said_in_the_singular(tmp_path: Path) -> None:
    fill(tmp_path / "a", 1, 1)
    fill(tmp_path / "b", 10, 2)
    (tmp_path / "a" / "damaged.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a \(1 readable photo of 2\)"):
        split_photos(tmp_path, seed=0)


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
