"""Trainings one after the other: the test photos stay the test photos, whatever is done to them."""

import json
import random
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from retraining import Retraining, picture

from pocketlens.errors import DataError, ModelFileError, UsageError
from pocketlens.runtime.runs import SPLITS, read_split
from pocketlens.train.data_check import check_data
from pocketlens.train.duplicates import Fingerprint, NearCopies, fingerprint, near_groups
from pocketlens.train.lineage import earlier_runs, read_earlier, read_seen
from pocketlens.train.settings import Settings, as_in_run
from pocketlens.train.splits import DividedPhotos, divide_groups

Labels = tuple[int, ...]


@st.composite
def grown(draw: st.DrawFn) -> tuple[dict[str, list[Labels]], dict[str, list[Labels]]]:
    """Return groups of photos with labels, and the same with some added, gone and relabelled."""
    labels = st.sets(st.integers(0, 3), max_size=2).map(lambda held: tuple(sorted(held)))
    members = st.lists(labels, min_size=1, max_size=3)
    before = draw(st.dictionaries(st.text("0123456789abcdef", min_size=4, max_size=4), members))
    after = dict(before)
    for name in draw(st.lists(st.sampled_from(sorted(before)), max_size=5)) if before else []:
        after.pop(name, None)
    for name in draw(st.lists(st.sampled_from(sorted(after)), max_size=5)) if after else []:
        after[name] = draw(members)
    return before, after | draw(
        st.dictionaries(st.text("ghijkl", min_size=4, max_size=4), members, max_size=20)
    )


@given(grown(), st.integers(0, 99), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_groups_that_had_a_split_keep_it(
    groups: tuple[dict[str, list[Labels]], dict[str, list[Labels]]], seed: int, other_seed: int
) -> None:
    before, after = groups
    first = divide_groups(before, SPLITS, seed)
    second = divide_groups(after, SPLITS, other_seed, first)
    assert set(second) == set(after)
    assert all(second[name] == split for name, split in first.items() if name in second)
    # Of what is new, nothing but what fills a gap is elsewhere than the hash says.
    free = {name: after[name] for name in after.keys() - first.keys()}
    alone = divide_groups({name: [()] for name in free}, SPLITS, other_seed)
    filled = [name for name in free if second[name] != alone[name]]
    assert len(filled) <= 3 * 4
    for name in filled:
        held = {label for labels in free[name] for label in labels}
        others = {
            label
            for other, split in second.items()
            if other != name and split == second[name]
            for labels in after[other]
            for label in labels
        }
        moved_later = [other for other in filled if second[other] == second[name]]
        assert held - others or len(moved_later) > 1, "moved, though there were others"


@given(grown(), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_every_group_has_one_split_and_no_gap_that_could_be_filled(
    groups: tuple[dict[str, list[Labels]], dict[str, list[Labels]]], seed: int
) -> None:
    _, photos = groups
    placed = divide_groups(photos, SPLITS, seed)
    assert placed == divide_groups(dict(reversed(photos.items())), SPLITS, seed)
    assert set(placed.values()) <= set(SPLITS)
    held = {
        name: {label for labels in members for label in labels} for name, members in photos.items()
    }
    for label in range(4):
        # Groups that have this label and no other can always be spared.
        if sum(labels == {label} for labels in held.values()) >= len(SPLITS):
            assert {placed[name] for name, labels in held.items() if label in labels} == set(SPLITS)


@pytest.mark.parametrize("seeds", [(0, 0, 0, 0), (0, 1, 2, 3)], ids=["one seed", "others"])
@pytest.mark.parametrize("count", [7, 40])
def test_four_trainings_with_photos_added_copied_relabelled_and_deleted(
    tmp_path: Path, seeds: tuple[int, ...], count: int
) -> None:
    """Of few photos a class, where gaps are filled, and of more."""
    retraining = Retraining(tmp_path, count)
    chooser = random.Random(count)
    # By name of the run: the photos of each split, by SHA-256.
    tested: dict[str, str] = {}
    new: list[str] = []
    for number, seed in enumerate(seeds):
        if number:
            retraining.change(chooser, number)
        divided, contents = retraining.train(f"run{number}", seed)
        splits = {
            divided.digests[photo.path]: split
            for split, photos in divided.splits.items()
            for photo in photos
        }
        # What had a split has it.
        assert {name: splits[name] for name in splits.keys() & tested.keys()} == {
            name: tested[name] for name in splits.keys() & tested.keys()
        }
        new += [name for name in splits.keys() - tested.keys() if splits[name] == "test"]
        tested |= splits
        # Nothing is in two splits, not even as a near copy, whichever run had it.
        prints = retraining.prints
        names = sorted(tested)
        near = near_groups([Fingerprint.from_hex(prints[name]) for name in names])
        for group in set(near.tolist()):
            assert len({tested[names[index]] for index in np.flatnonzero(near == group)}) == 1
        # Every photo but those between splits is in one.
        left = set(contents.digests) - {
            photo.path for photos in divided.splits.values() for photo in photos
        }
        assert left == contents.between
    assert sum(split == "test" for split in tested.values()) == len(new) > 2
    assert read_earlier([tmp_path / "runs" / "run3"]).splits == tested
    assert read_seen(str(tmp_path / "runs" / "run3")).splits.keys() == splits.keys()


def row_of_pictures() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return three pictures, the second a near copy of both others, which are none of each other.

    Cell by cell, a picture becomes another one.
    """
    rng = np.random.default_rng(4)
    coarse, other = rng.integers(0, 256, (2, 6, 8, 3), np.uint8)
    rows = []
    for row in range(6):
        for column in range(8):
            coarse[row, column] = coarse[row, column] // 2 + other[row, column] // 2
            rows.append(cv2.resize(coarse, (64, 48)))
    copies = NearCopies([fingerprint(image) for image in rows])
    last = next(index for index in range(len(rows)) if index not in (0, *copies.of(0)))
    between = set(copies.of(0).tolist()) & set(copies.of(last).tolist())
    return rows[0], rows[min(between)], rows[last]


def test_photo_between_two_splits_is_left_out_and_named(tmp_path: Path) -> None:
    """Joined with it, one of the two would move, as the test photo of the first run did."""
    retraining = Retraining(tmp_path, 20)
    one, between, other = row_of_pictures()
    folder = retraining.photos / "ant"
    for name, image in (("one", one), ("other", other)):
        cv2.imwrite(str(folder / f"{name}.png"), image)
    free = check_data(retraining.photos)

    def splits(divided: DividedPhotos) -> dict[str, str]:
        return {
            photo.path.stem: split
            for split in SPLITS
            for photo in divided.splits[split]
            if photo.path.parent == folder
        }

    seed = next(
        seed
        for seed in range(1000)
        if (found := splits(free.divide(seed)))["one"] == "train" and found["other"] == "test"
    )
    before, _ = retraining.train("run0", seed)
    cv2.imwrite(str(folder / "between.png"), between)
    after, _ = retraining.train("run1", seed)
    assert splits(after) == splits(before)
    assert (
        "1 photo is left out: it is a near duplicate of photos that earlier runs had in different "
        "splits (ant/between.png)."
    ) in after.notes
    # Nor does it come back when one of the two goes: the run before has seen that.
    (folder / "one.png").unlink()
    again, _ = retraining.train("run2", seed)
    assert splits(again) == {name: s for name, s in splits(before).items() if name != "one"}


def test_class_whose_test_photos_are_gone_asks_for_new_ones(tmp_path: Path) -> None:
    retraining = Retraining(tmp_path, 20)
    divided, _ = retraining.train("run0", 0)
    for photo in divided.splits["test"]:
        if photo.path.parent.name == "ant":
            photo.path.unlink()
    with pytest.raises(DataError, match=r"none of 'ant'\. Photos that an earlier run had keep"):
        retraining.train("run1", 0)
    picture(retraining.photos / "ant" / "new.png", 999_999)
    divided, _ = retraining.train("run1", 0)
    assert "new.png" in {photo.path.name for photo in divided.splits["test"]}


def test_final_training_without_a_test_moves_nothing_of_later_ones(tmp_path: Path) -> None:
    """It learns from the test photos; what others keep for the test stays that for them."""
    retraining = Retraining(tmp_path, 20)
    before, _ = retraining.train("run0", 0)
    final, _ = retraining.train("final", 0, test=False)
    assert list(final.splits) == ["train", "val"]
    assert final.splits["val"] == before.splits["val"]
    assert set(final.splits["train"]) == {*before.splits["train"], *before.splits["test"]}
    after, _ = retraining.train("run1", 7)
    assert after.splits == before.splits


def test_layout_that_trains_on_test_photos_is_told(tmp_path: Path) -> None:
    retraining = Retraining(tmp_path, 20)
    divided, _ = retraining.train("run0", 0)
    photos = tmp_path / "layout"
    for split, members in divided.splits.items():
        for number, photo in enumerate(members):
            place = "train" if split == "test" and number < 2 else split
            target = photos / place / photo.path.parent.name / photo.path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(photo.path, target)
    again = check_data(photos, seen=read_earlier([tmp_path / "runs" / "run0"])).divide(0)
    assert any(
        "This run learns from 2 photos that an earlier run had in test" in note
        for note in again.notes
    )


def test_runs_of_a_project(tmp_path: Path) -> None:
    retraining = Retraining(tmp_path, 20)
    photos = retraining.photos
    assert earlier_runs(photos) == ()
    retraining.train("b", 0)
    retraining.train("a", 1)
    retraining.train(".c.partial", 1)
    retraining.train("final", 1, test=False)
    (retraining.runs / "notes").mkdir()
    expected = (retraining.runs / "a", retraining.runs / "b")
    assert earlier_runs(photos) == earlier_runs(photos / "ant") == expected
    (retraining.runs / "a" / "split.json").write_text("[")
    with pytest.raises(ModelFileError, match=r"a record of the splits in.*move that run out of"):
        earlier_runs(photos)
    (tmp_path / "pocketlens.toml").unlink()
    assert earlier_runs(photos) == ()


def test_what_runs_say_differently_counts_as_far_from_the_test_as_it_was(tmp_path: Path) -> None:
    retraining = Retraining(tmp_path, 20)
    one, _ = retraining.train("one", 0, splits_of=())
    two, _ = retraining.train("two", 5, splits_of=())
    earlier = read_earlier([retraining.runs / "one", retraining.runs / "two"])
    for split in SPLITS[:2]:
        for divided in (one, two):
            for photo in divided.splits[split]:
                given_split = earlier.splits[divided.digests[photo.path]]
                assert SPLITS.index(given_split) <= SPLITS.index(split)


def test_record_of_earlier_runs_is_none_of_what_was_learned(tmp_path: Path) -> None:
    """A run that only kept splits has not seen the photos that are gone since."""
    retraining = Retraining(tmp_path, 20)
    retraining.train("run0", 0)
    gone = sorted((retraining.photos / "ant").iterdir())[3:6]
    names = {path.name: check_data(retraining.photos).contents.digests[path] for path in gone}
    for path in gone:
        path.unlink()
    retraining.train("run1", 0)
    record = read_split(tmp_path / "runs" / "run1")
    assert record.earlier is not None
    kept = {digest for split in SPLITS for digest in record.earlier[split]}
    assert kept == set(names.values())
    assert not set(read_seen(str(tmp_path / "runs" / "run1")).splits) & kept
    shutil.rmtree(tmp_path / "runs" / "run0")
    before = read_earlier([tmp_path / "runs" / "run1"])
    assert set(names.values()) <= before.splits.keys()
    (tmp_path / "runs" / "run1" / "split.json").write_text(
        json.dumps({"photos": ".", "parts": {}, "seen": None, "earlier": {"train": 3}})
    )
    with pytest.raises(ModelFileError, match="a record of the splits in"):
        read_earlier([tmp_path / "runs" / "run1"])


def test_runs_that_are_none_are_refused(tmp_path: Path, plain_run: Path) -> None:
    (tmp_path / "folder").mkdir()
    for options, text in (
        ({"from_run": str(tmp_path / "no")}, r"run for --from\. Received: .*no, no such folder"),
        ({"splits_of": (str(tmp_path / "folder"),)}, r"run for --splits-of\. .* not a run"),
    ):
        with pytest.raises(UsageError, match=text):
            Settings(arch="cnn_deep", **options)
    with pytest.raises(UsageError, match=r"--arch and --alpha as in the run of --from.*cnn_deep"):
        Settings(arch="cnn_small", from_run=str(plain_run))


def test_settings_are_those_of_the_run_unless_chosen(plain_run: Path) -> None:
    taken = as_in_run(plain_run, {"image_size": 64, "seed": 3})
    assert taken == {
        "arch": "cnn_deep",
        "alpha": 1.0,
        "flip": True,
        "unknown": "off",
        "resize_mode": "stretch",
        "task": "multiclass",
        "image_size": 64,
        "seed": 3,
    }
    # There are no published weights to compare with.
    settings = Settings(**taken, from_run=str(plain_run))
    assert settings.weights == str(plain_run)
    assert settings.pretrained
    assert settings.augmentation == "light"
