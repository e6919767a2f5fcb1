"""Tables and tasks from finding photos to the splits that training gets."""

import dataclasses
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("imagehash", reason="checking photos needs the train extra")

from pocketlens.cli.main import run
from pocketlens.errors import DataError, UsageError
from pocketlens.evaluation.answers import truth
from pocketlens.train.data_check import check_data
from pocketlens.train.data_report import to_payload
from pocketlens.train.found_photos import find_photos
from pocketlens.train.pixel_cache import load_pixels
from pocketlens.train.splits import divide_photos


def test_truth() -> None:
    single = truth([(1,), (0,)], 2, "binary")
    assert single.tolist() == [1, 0]
    assert single.dtype == np.int64
    several = truth([(0, 2), (), (1,)], 3, "multilabel")
    assert several.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert several.dtype == np.float32


def test_table_is_divided_as_the_folder_of_the_same_photos(
    tiny_photos: Path, tmp_path: Path
) -> None:
    table = tmp_path / "all.csv"
    rows = [f"{path},{path.parent.name}\n" for path in sorted(tiny_photos.rglob("*.png"))]
    table.write_text("path,label\n" + "".join(rows))
    folder, same = check_data(tiny_photos).divide(0), check_data(table).divide(0)
    assert folder.splits == same.splits
    assert folder.labels == same.labels


@pytest.mark.parametrize(
    ("positive", "labels"),
    [(None, ("circle", "cross")), ("circle", ("cross", "circle"))],
    ids=["default", "chosen"],
)
def test_positive_label(
    tiny_binary_table: Path, positive: str | None, labels: tuple[str, str]
) -> None:
    found = find_photos(tiny_binary_table).for_task("binary", positive)
    assert found.labels == labels
    for photo in found.photos:
        assert found.labels[photo.label_indices[0]] == photo.path.parent.name
    splits = load_pixels(
        check_data(tiny_binary_table, "binary", positive).divide(0), (8, 8), "crop"
    )
    for split in splits.values():
        names = [photo.path.parent.name for photo in split.photos]
        assert split.labels.tolist() == [int(name == labels[1]) for name in names]


def test_multilabel_splits(tiny_pairs_table: Path) -> None:
    check = check_data(tiny_pairs_table)
    assert check.found.task == "multilabel"
    assert check.readable == 60
    assert sum(check.counts.values()) > 60
    divided = check.divide(0)
    splits = load_pixels(divided, (8, 8), "stretch")
    assert {name: len(split.photos) for name, split in splits.items()} == pytest.approx(
        {"train": 39, "val": 9, "test": 12}, abs=3
    )
    for split in splits.values():
        assert split.labels.shape == (len(split.photos), 3)
        assert split.labels.sum(axis=0).min() >= 1
    assert sum((split.labels.sum(axis=1) == 0).sum() for split in splits.values()) == 3


@pytest.mark.parametrize("seed", range(5))
def test_copies_stay_together_whatever_their_labels(tiny_pairs_table: Path, seed: int) -> None:
    found = find_photos(tiny_pairs_table)
    check = check_data(tiny_pairs_table)
    groups = {photo.path: f"burst{number // 3}" for number, photo in enumerate(found.photos)}
    contents = dataclasses.replace(check.contents, groups=groups)
    divided = divide_photos(found, contents, seed)
    split_of = {photo.path: split for split, photos in divided.splits.items() for photo in photos}
    assert Counter(Counter((groups[p], split) for p, split in split_of.items()).values()) == {3: 20}


def test_layout_in_a_table_is_kept(tiny_photos: Path, tmp_path: Path) -> None:
    names = sorted(path for path in tiny_photos.rglob("*.png"))
    rows = [
        {"path": str(path), "label": path.parent.name, "split": ("train", "test")[number % 2]}
        for number, path in enumerate(names)
    ]
    table = tmp_path / "photos.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    divided = check_data(table).divide(0)
    assert {photo.path for photo in divided.splits["test"]} == set(names[1::2])
    assert len(divided.splits["val"]) == pytest.approx(45 * 0.15, abs=5)


def test_hash_follows_the_labels(tiny_binary_table: Path) -> None:
    table = tiny_binary_table.with_name("changed.csv")
    first, *rows = tiny_binary_table.read_text().splitlines()
    rows[0], rows[30] = rows[0].replace(",circle", ",cross"), rows[30].replace(",cross", ",circle")
    table.write_text("\n".join([first, *rows]))
    try:
        hashes = [check_data(path).divide(0).data_hash for path in (table, tiny_binary_table)]
    finally:
        table.unlink()
    assert len(set(hashes)) == 2


def test_same_photo_under_other_labels(tiny_photos: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_photos, tmp_path / "photos")
    again = tmp_path / "photos" / "again.png"
    shutil.copy(tmp_path / "photos" / "circle" / "00.png", again)
    table = tmp_path / "photos.csv"
    rows = [
        f"photos/{p.parent.name}/{p.name},{p.parent.name}\n" for p in tiny_photos.rglob("*.png")
    ]
    table.write_text("path,labels\n" + "".join(rows) + "photos/again.png,circle|cross\n")
    check = check_data(table)
    (conflict,) = check.conflicts
    assert dict(zip(conflict.names, conflict.labels, strict=True)) == {
        "photos/circle/00.png": "circle",
        "photos/again.png": "circle|cross",
    }
    assert to_payload(check)["readable"] == 91


def test_photo_that_is_not_there_is_unreadable(tiny_binary_table: Path, tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    text = tiny_binary_table.read_text().replace("photos/", f"{tiny_binary_table.parent}/photos/")
    table.write_text(text + "gone.jpg,circle\n")
    check = check_data(table)
    assert list(check.unreadable) == ["gone.jpg"]
    assert "nothing there" in check.unreadable["gone.jpg"]
    assert check.readable == 60


def test_several_labels_need_their_task(tiny_pairs_table: Path) -> None:
    with pytest.raises(DataError, match=r"one label for each photo.* --task multilabel"):
        check_data(tiny_pairs_table, "multiclass")


def test_binary_needs_two_classes(tiny_photos: Path) -> None:
    with pytest.raises(DataError, match=r"two classes.* Received: 3, circle, cross, stripes"):
        check_data(tiny_photos, "binary")


def test_unknown_positive_label(tiny_binary_table: Path) -> None:
    with pytest.raises(UsageError, match=r"'circle' and 'cross'.* Received: 'square'"):
        check_data(tiny_binary_table, "binary", "square")


def test_label_with_too_few_photos(tiny_pairs_table: Path, tmp_path: Path) -> None:
    table = tiny_pairs_table.with_name("few.jsonl")
    lines = tiny_pairs_table.read_text().splitlines(keepends=True)
    lines[:9] = [line.replace("stripes", "square") for line in lines[:9]]
    table.write_text("".join(lines))
    try:
        assert "at least 6 photos of every class" in str(check_data(table).problem)
    finally:
        table.unlink()


def test_only_splits_without_training(tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    table.write_text("path,label,part\n1.jpg,a,val\n2.jpg,b,test\n")
    with pytest.raises(DataError, match="Received: only val, test"):
        find_photos(table)


def test_check_of_a_table(
    tiny_pairs_table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["check", str(tiny_pairs_table), "--report", str(tmp_path / "report")]
    assert run([*arguments, "--json", "-"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["photos"] == str(tiny_pairs_table)
    assert payload["readable"] == 60
    assert "photos.jsonl" in (tmp_path / "report" / "data.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--positive", "cross"], 2, "--positive only with --task binary"),
        (["--task", "binary", "--positive", "square"], 2, "Received: 'square'"),
        (["--task", "sorting"], 2, "sorting"),
    ],
    ids=["positive", "unknown", "task"],
)
def test_train_refuses(
    options: list[str],
    code: int,
    text: str,
    tiny_binary_table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("tensorflow", reason="training needs the train extra")
    assert run(["train", str(tiny_binary_table), "--out", str(tmp_path / "run"), *options]) == code
    assert text in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_is_no_photos(tiny_run: Path) -> None:
    with pytest.raises(UsageError, match=r"Received: .*, a run. Give its photos, and --weights"):
        find_photos(tiny_run)
