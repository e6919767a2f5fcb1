"""Folders of labelled photos."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pocketlens.errors import DataError, LabelsError, PictureError, UsageError
from pocketlens.runtime.photos import (
    LabelledPhotos,
    Photo,
    find_others,
    find_pictures,
    name_below,
    read_pixels,
    report_skipped,
    scan,
)
from pocketlens.runtime.tables import split_folders


def picture(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (value, value, value)).save(path)
    return path


def test_scan_sorts_and_leaves_out_what_is_no_photo(tmp_path: Path) -> None:
    picture(tmp_path / "dog" / "deep" / "2.PNG".lower())
    picture(tmp_path / "dog" / "1.jpg")
    picture(tmp_path / "cat" / "x.bmp")
    picture(tmp_path / "cat" / ".hidden.png")
    picture(tmp_path / ".cache" / "y.png")
    (tmp_path / "cat" / "notes.txt").write_text("no photo")
    (tmp_path / "empty").mkdir()
    photos = scan(tmp_path)
    assert photos.labels == ("cat", "dog")
    names = [photo.path.relative_to(tmp_path).as_posix() for photo in photos.photos]
    assert names == ["cat/x.bmp", "dog/1.jpg", "dog/deep/2.png"]
    assert [photo.label_indices for photo in photos.photos] == [(0,), (1,), (1,)]


def test_capital_suffixes_count(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png").rename(tmp_path / "a" / "1.PNG")
    assert len(scan(tmp_path).photos) == 1


@pytest.mark.parametrize("make", ["missing", "file"])
def test_no_folder(tmp_path: Path, make: str) -> None:
    path = tmp_path / "photos"
    if make == "file":
        path.write_text("")
    with pytest.raises(UsageError, match="Expected a folder of photos"):
        scan(path)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Expected a folder per class"):
        scan(tmp_path)


@pytest.mark.parametrize("given", ["photos/daisy", "."])
def test_class_in_place_of_all_photos_names_the_folder_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    picture(tmp_path / "photos" / "daisy" / "1.png")
    monkeypatch.chdir(tmp_path if given != "." else tmp_path / "photos" / "daisy")
    with pytest.raises(DataError, match="Make one like"):
        scan(Path(given))
    picture(tmp_path / "photos" / "tulips" / "1.png")
    with pytest.raises(DataError, match=r"directly in it\. Give \S*photos, where"):
        scan(Path(given))


@pytest.mark.parametrize("other", ["flowers/daisy/1.png", "1.png"], ids=["classes", "loose photo"])
def test_folder_above_is_named_only_where_it_holds_classes(tmp_path: Path, other: str) -> None:
    for name in ("holiday", "birds"):
        picture(tmp_path / "pictures" / name / "1.png")
    picture(tmp_path / "pictures" / other)
    with pytest.raises(DataError, match="Make one like") as caught:
        scan(tmp_path / "pictures" / "holiday")
    assert "Give" not in str(caught.value)


def test_indices_follow_the_models_labels(tmp_path: Path) -> None:
    picture(tmp_path / "b" / "1.png")
    picture(tmp_path / "c" / "1.png")
    photos = scan(tmp_path).with_labels(("c", "a", "b"))
    assert [photo.label_indices for photo in photos.photos] == [(2,), (0,)]


def test_labels_of_a_model_may_have_another_form(tmp_path: Path) -> None:
    picture(tmp_path / "café" / "1.png")
    labels = ("b", "cafe\N{COMBINING ACUTE ACCENT}")
    photos = scan(tmp_path).with_labels(labels)
    assert photos.labels == labels
    assert [photo.label_indices for photo in photos.photos] == [(1,)]


def test_foreign_class(tmp_path: Path) -> None:
    picture(tmp_path / "bird" / "1.png")
    with pytest.raises(LabelsError, match="bird"):
        scan(tmp_path).with_labels(("cat", "dog"))


@pytest.mark.parametrize("indices", [(), (0, 1)], ids=["none", "two"])
def test_number_of_labels_follows_the_task(indices: tuple[int, ...]) -> None:
    photos = LabelledPhotos(("a", "b"), (Photo(Path("x.jpg"), indices),))
    assert photos.with_labels(("b", "a"), "multilabel").photos[0].label_indices == indices
    for task in ("multiclass", "binary"):
        with pytest.raises(DataError, match=f"task {task} wants.* Received: x.jpg with"):
            photos.with_labels(("b", "a"), task)


def test_paths_outside_a_folder_have_a_way_from_it() -> None:
    assert name_below(Path("/a/b/c.jpg"), Path("/a")) == "b/c.jpg"
    assert name_below(Path("/a/b/c.jpg"), Path("/a/d")) == "../b/c.jpg"


def test_pixels_come_in_order_with_errors_in_place(tmp_path: Path) -> None:
    paths = [picture(tmp_path / f"{index:03}.png", index) for index in range(100)]
    paths[42].write_bytes(b"damaged")
    results = list(read_pixels(paths, (4, 4), "stretch"))
    assert isinstance(results[42], PictureError)
    values = [int(result[0, 0, 0]) for result in results if isinstance(result, np.ndarray)]
    assert values == [index for index in range(100) if index != 42]


def test_skipped_photos_are_counted_and_named(caplog: pytest.LogCaptureFixture) -> None:
    report_skipped([PictureError(f"photo {index}") for index in range(12)], 50)
    assert "Skipped 12 of 50 photos" in caplog.text
    assert "photo 9" in caplog.text
    assert "photo 10" not in caplog.text
    assert "and 2 more" in caplog.text


def test_nothing_skipped_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    report_skipped([], 50)
    assert not caplog.records


@pytest.mark.parametrize(
    "litter", ["@eaDir", "__MACOSX", ".thumbnails", "lost+found", ".ipynb_checkpoints", "#recycle"]
)
def test_what_systems_leave_is_no_class_and_no_photo(tmp_path: Path, litter: str) -> None:
    picture(tmp_path / "red" / "1.png")
    picture(tmp_path / litter / "x" / "2.png")
    picture(tmp_path / "red" / litter / "1.png" / "SYNOPHOTO_THUMB_M.jpg")
    photos = scan(tmp_path)
    assert photos.labels == ("red",)
    assert [photo.path.name for photo in photos.photos] == ["1.png"]
    assert not list(find_others(tmp_path / "red"))


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "red" / "1.png")
    picture(tmp_path / "elsewhere" / "deep" / "2.png")
    (tmp_path / "photos" / "red" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "red" / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "photos")
    (tmp_path / "elsewhere" / "self").symlink_to(tmp_path / "elsewhere" / "self")
    found = sorted(path.name for path in find_pictures(tmp_path / "photos" / "red"))
    assert found == ["1.png", "2.png"]


def test_a_linked_class_is_a_class(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere" / "1.png")
    picture(tmp_path / "photos" / "green" / "1.png")
    (tmp_path / "photos" / "red").symlink_to(tmp_path / "elsewhere")
    assert scan(tmp_path / "photos").labels == ("green", "red")


def test_a_folder_that_cannot_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "red" / "1.png")
    picture(tmp_path / "red" / "locked" / "2.png")

    def refuse(call: Callable[[Path], Any]) -> Callable[[Path], Any]:
        # Nothing is locked for root, as whom tests may run.
        def refusing(path: Path) -> Any:
            if Path(path).name == "locked":
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return call(path)

        return refusing

    for name in ("scandir", "listdir"):
        monkeypatch.setattr(os, name, refuse(getattr(os, name)))
    photos = scan(tmp_path)
    good, bad = read_pixels([photo.path for photo in photos.photos], (4, 4), "stretch")
    assert isinstance(good, np.ndarray)
    assert isinstance(bad, PictureError)
    assert "red/locked: Permission denied" in str(bad)


def test_a_folder_that_can_be_listed_but_not_entered_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "red" / "1.png")
    picture(tmp_path / "red" / "locked" / "2.png")
    stat = os.stat

    def refusing(path: Any, **options: Any) -> os.stat_result:
        # Nothing is locked for root, as whom tests may run.
        if isinstance(path, Path | str) and Path(path).parent.name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refusing)
    photos = scan(tmp_path)
    good, bad = read_pixels([photo.path for photo in photos.photos], (4, 4), "stretch")
    assert isinstance(good, np.ndarray)
    assert isinstance(bad, PictureError)
    assert "2.png: Permission denied" in str(bad)


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (("red ", " red", "red"), "red"),
        (("café", "cafe\N{COMBINING ACUTE ACCENT}"), "café"),
        (("a\nb",), r"a\nb"),
        ((os.fsdecode(b"caf\xe9"),), r"caf\xe9"),
        (("a\x1b[31mb",), r"a\x1b[31mb"),
        (("rtl\u202egpj",), r"rtl\u202egpj"),
    ],
    ids=ascii,
)
def test_folders_of_one_name_are_one_class(
    tmp_path: Path, names: tuple[str, ...], label: str
) -> None:
    for index, name in enumerate(names):
        picture(tmp_path / name / f"{index}.png")
    photos = scan(tmp_path)
    assert photos.labels == (label,)
    assert len(photos.photos) == len(names)


def test_spaces_around_a_name_are_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    picture(tmp_path / "red " / "1.png")
    scan(tmp_path)
    scan(tmp_path)
    assert caplog.text.count("has spaces around its name; its class is 'red'") == 1


def test_that_classes_hold_only_folders_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("flowers/rose", "flowers/tulip", "animals/cat"):
        picture(tmp_path / name / "1.png")
    assert scan(tmp_path).labels == ("animals", "flowers")
    assert "The classes are animals, flowers, which hold nothing but folders" in caplog.text
    assert "(cat, rose, tulip)" in caplog.text


@pytest.mark.parametrize(
    "names",
    [("cat/old", "cat/new", "dog"), ("cat/cats", "dog/dogs"), ("cat", "dog")],
    ids=["photos in one", "one folder in each", "photos"],
)
def test_folders_in_classes_are_no_matter(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, names: tuple[str, ...]
) -> None:
    for name in names:
        picture(tmp_path / name / "1.png")
    assert scan(tmp_path).labels == ("cat", "dog")
    assert not caplog.text


LAYOUTS = {
    ("Training", "Testing"): ("train", "test"),
    ("TRAIN", "Validation", "Test"): ("train", "val", "test"),
    ("train", "dev"): ("train", "val"),
    ("Train", "Valid"): ("train", "val"),
    ("train", "eval"): ("train", "test"),
    ("train", "Eval", "test"): ("train", "val", "test"),
    ("train", "val", "evaluation"): ("train", "val", "test"),
}


@pytest.mark.parametrize("names", LAYOUTS, ids=str)
def test_layouts(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        for label in ("green", "red"):
            picture(tmp_path / name / label / "1.png")
    assert {path.name: split for split, path in split_folders(tmp_path).items()} == dict(
        zip(names, LAYOUTS[names], strict=True)
    )


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        (("train",), "Give .*train if these are the classes"),
        (("Training set", "Test set"), "Call them train, val and test"),
        (("test", "val"), "Call them train, val and test"),
        (("fold1", "fold2", "fold3"), "Call them train, val and test"),
        (("monday", "tuesday"), "Call them train, val and test"),
        (("train_images", "extra"), "Call them train, val and test"),
        (("flowers",), "Give .*flowers if these are the classes"),
    ],
    ids=str,
)
def test_what_may_be_a_layout_is_asked_about(
    tmp_path: Path, names: tuple[str, ...], advice: str
) -> None:
    for name in names:
        for label in ("green", "red"):
            picture(tmp_path / name / label / "1.png")
    with pytest.raises(UsageError, match=advice):
        scan(tmp_path)


def test_two_folders_for_one_split_are_asked_about(tmp_path: Path) -> None:
    for name in ("train", "Training", "test"):
        picture(tmp_path / name / "red" / "1.png")
    with pytest.raises(DataError, match=r"one folder for each split .* Training and train"):
        split_folders(tmp_path)


def test_classes_may_have_folders_and_names_of_splits(tmp_path: Path) -> None:
    picture(tmp_path / "test" / "1.png")
    picture(tmp_path / "train" / "1.png")
    picture(tmp_path / "bus" / "london" / "1.png")
    picture(tmp_path / "car" / "old" / "1.png")
    picture(tmp_path / "car" / "new" / "1.png")
    picture(tmp_path / "tram" / "1.png")
    assert scan(tmp_path).labels == ("bus", "car", "test", "train", "tram")


def test_folders_beside_a_layout_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("train", "test", "unsorted"):
        picture(tmp_path / name / "red" / "1.png")
    assert set(split_folders(tmp_path)) == {"train", "test"}
    assert "Not used: unsorted" in caplog.text
