"""Folders of labelled photos."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketlens.errors import DataError, LabelsError, PictureError, UsageError
from pocketlens.runtime.photos import (
    LabelledPhotos,
    Photo,
    name_below,
    read_pixels,
    report_skipped,
    scan,
)


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


def test_indices_follow_the_models_labels(tmp_path: Path) -> None:
    picture(tmp_path / "b" / "1.png")
    picture(tmp_path / "c" / "1.png")
    photos = scan(tmp_path).with_labels(("c", "a", "b"))
    assert [photo.label_indices for photo in photos.photos] == [(2,), (0,)]


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
