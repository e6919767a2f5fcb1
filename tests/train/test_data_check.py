"""What `check_data` finds in folders of photos, kind by kind, and on every awkward file."""

import hashlib
import io
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("imagehash", reason="checking photos needs the train extra")

from pocketlens.cache import cache_folder
from pocketlens.errors import DataError, PictureError
from pocketlens.runtime import decoding
from pocketlens.runtime.runs import SPLITS, read_run
from pocketlens.train import photo_facts as photo_readers
from pocketlens.train.data_check import DataCheck, check_data
from pocketlens.train.data_report import findings
from pocketlens.train.photo_facts import read_photo

# What `check` says of each file; the unreadable are all that `train` and `evaluate` leave out.
AWKWARD = {
    "animated.gif": set(),
    "bmp.bmp": set(),
    "bomb.png": {"unreadable"},
    "cmyk.jpg": set(),
    "empty.jpg": {"unreadable"},
    "exif_1.jpg": set(),
    **{f"exif_{number}.jpg": {"rotated"} for number in range(2, 9)},
    "good.jpg": set(),
    "gray16.png": set(),
    "grayscale.jpg": set(),
    "one_pixel.png": {"tiny"},
    "palette.png": set(),
    "png_named.jpg": {"misnamed"},
    "rgba.png": set(),
    "sliver.png": {"tiny", "extreme"},
    "text_named.jpg": {"unreadable"},
    "truncated.jpg": {"unreadable"},
    "webp.webp": set(),
}
# Those that show the same scene in the same tones as good.jpg.
SAME_SCENE = {name for name, kinds in AWKWARD.items() if kinds <= {"rotated", "misnamed"}}
SAME_SCENE -= {"rgba.png"}


def draw(path: Path, seed: int, size_wh: tuple[int, int] = (80, 60)) -> Path:
    """Save a picture that is like no other of another seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(coarse).resize(size_wh).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes with 8 good photos each."""
    for number, label in enumerate(("a", "b")):
        for index in range(8):
            draw(tmp_path / "photos" / label / f"{index}.png", 100 * number + index)
    return tmp_path / "photos"


@dataclass(frozen=True)
class Awkward:
    """What check, train and evaluate made of all awkward files among good ones.

    `used` has the split of each file that was trained with, `evaluated` the files that were scored,
    `said` what was said while evaluating.
    """

    check: DataCheck
    used: dict[str, str]
    evaluated: set[str]
    said: str


@pytest.fixture(scope="module")
def awkward(shared: Path, tiny_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Awkward:
    pytest.importorskip("tensorflow", reason="training needs the train extra")
    from pocketlens.train import Settings, evaluate_model, train

    home = tmp_path_factory.mktemp("awkward")
    folder = home / "photos"
    shutil.copytree(tiny_photos, folder)
    for path in (shared / "data" / "awkward_images").iterdir():
        (folder / "circle" / path.name).write_bytes(path.read_bytes())
    quick = Settings(
        arch="cnn_small",
        image_size=32,
        weights="none",
        fine_tune_epochs=1,
        grid_epochs=0,
        batch_size=64,
    )
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POCKETLENS_CACHE", str(home / "cache"))
        check = check_data(folder)
        train(folder, home / "run", quick)
        logging.getLogger("pocketlens").addHandler(handler)
        evaluation = evaluate_model(home / "run", folder)
        logging.getLogger("pocketlens").removeHandler(handler)
    run = read_run(home / "run")
    return Awkward(
        check,
        {photo.path.name: split for split in SPLITS for photo in run.photos(split).photos},
        {photo.path.name for photo in evaluation.photos},
        said.getvalue(),
    )


def test_every_awkward_file_is_in_the_table(shared: Path) -> None:
    names = {path.name for path in (shared / "data" / "awkward_images").iterdir()}
    assert names == set(AWKWARD)


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_file_in_check_train_and_evaluate(awkward: Awkward, name: str) -> None:
    check = awkward.check
    file = f"circle/{name}"
    kinds = ("unreadable", "misnamed", "rotated", "tiny", "extreme")
    assert {kind for kind in kinds if file in getattr(check, kind)} == AWKWARD[name]
    readable = "unreadable" not in AWKWARD[name]
    assert (name in awkward.used) == readable
    assert (name in awkward.evaluated) == readable
    assert (name in awkward.said) != readable
    with_others = {other for group in check.copies if file in group.names for other in group.names}
    expected = {f"circle/{other}" for other in SAME_SCENE} if name in SAME_SCENE else set()
    assert with_others == expected
    if not readable:
        assert file in check.unreadable[file]
        assert str(check.found.root) not in check.unreadable[file]


def test_awkward_files_of_one_scene_are_in_one_split(awkward: Awkward) -> None:
    assert len({awkward.used[name] for name in SAME_SCENE}) == 1


def test_good_photos_have_no_findings(photos: Path) -> None:
    check = check_data(photos)
    assert findings(check) == ()
    assert check.counts == {"a": 8, "b": 8}
    assert check.imbalance == 1
    assert check.problem is None
    check.refuse_bad()


def test_unsupported_files_and_empty_folders(photos: Path) -> None:
    (photos / "a" / "IMG_1.CR2").write_bytes(b"x")
    (photos / "a" / "deeper").mkdir()
    (photos / "a" / "deeper" / "notes.txt").write_text("x")
    (photos / "a" / "Thumbs.db").write_bytes(b"x")
    (photos / "a" / ".hidden").write_bytes(b"x")
    (photos / "beside.txt").write_text("x")
    (photos / "c").mkdir()
    (photos / ".git").mkdir()
    check = check_data(photos)
    assert check.unsupported == ("a/IMG_1.CR2", "a/deeper/notes.txt")
    assert check.empty_classes == ("c",)
    with pytest.raises(DataError, match=r"2 not named like a picture \(a/IMG_1\.CR2"):
        check.refuse_bad()


def test_exact_and_near_copies(photos: Path) -> None:
    shutil.copy(photos / "a" / "0.png", photos / "a" / "again.png")
    Image.open(photos / "a" / "1.png").save(photos / "a" / "smaller.jpg", quality=60)
    check = check_data(photos)
    assert [(group.names, group.exact) for group in check.copies] == [
        (("a/0.png", "a/again.png"), True),
        (("a/1.png", "a/smaller.jpg"), False),
    ]
    assert check.conflicts == check.across == ()
    check.refuse_bad()


@pytest.mark.parametrize("exact", [True, False])
def test_same_photo_under_two_labels(photos: Path, exact: bool) -> None:
    if exact:
        shutil.copy(photos / "a" / "0.png", photos / "b" / "x.png")
    else:
        Image.open(photos / "a" / "0.png").save(photos / "b" / "x.jpg", quality=60)
    check = check_data(photos)
    (group,) = check.conflicts
    assert group.labels == ("a", "b")
    assert group.exact == exact
    (finding,) = findings(check)
    assert finding.gravity == "bad"
    assert finding.cases[0].startswith("a/0.png = b/x.")
    with pytest.raises(DataError, match=r"1 under two labels \(a/0\.png = b/x"):
        check.refuse_bad()


def test_unreadable_files_are_no_copies_and_do_not_count(photos: Path) -> None:
    for name in ("0.png", "1.png", "2.png"):
        (photos / "a" / name).write_bytes(b"")
    check = check_data(photos)
    assert check.copies == ()
    assert check.counts == {"a": 5, "b": 8}
    assert "a (5 readable photos of 8)" in str(check.problem)


def test_link_to_nothing_is_unreadable(photos: Path) -> None:
    (photos / "a" / "link.jpg").symlink_to(photos / "nowhere.jpg")
    assert "Received: nothing there" in check_data(photos).unreadable["a/link.jpg"]


def test_file_that_may_not_be_read(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *arguments: str) -> Any:
        if Path(path).name == "3.png":
            raise PermissionError(13, "Permission denied", str(path))
        return open(path, *arguments)

    monkeypatch.setattr(decoding, "open", refuse, raising=False)
    check = check_data(photos)
    assert set(check.unreadable) == {"a/3.png", "b/3.png"}
    assert "Permission denied" in check.unreadable["a/3.png"]


def test_uneven_classes_are_named(photos: Path) -> None:
    for index in range(16):
        draw(photos / "a" / f"more{index}.png", 1000 + index)
    check = check_data(photos)
    assert check.imbalance == 3
    (finding,) = findings(check)
    assert finding.cases == ("b: 8, the largest has 24",)


def test_sizes_at_the_limits(photos: Path) -> None:
    draw(photos / "a" / "small.png", 50, (32, 40))
    draw(photos / "a" / "smaller.png", 51, (31, 40))
    draw(photos / "a" / "wide.png", 52, (160, 40))
    draw(photos / "a" / "wider.png", 53, (161, 40))
    draw(photos / "a" / "high.png", 54, (40, 161))
    check = check_data(photos)
    assert check.tiny == {"a/smaller.png": (31, 40)}
    assert check.extreme == {"a/high.png": (40, 161), "a/wider.png": (161, 40)}


def layout(root: Path) -> Path:
    for number, split in enumerate(("train", "val", "test")):
        for index in range(8):
            draw(root / split / "ab"[index % 2] / f"{index}.png", 10 * number + index)
    return root


def test_near_copy_across_a_layout_is_a_warning(tmp_path: Path) -> None:
    root = layout(tmp_path / "photos")
    Image.open(root / "train" / "a" / "0.png").save(root / "test" / "a" / "x.jpg", quality=60)
    check = check_data(root)
    (group,) = check.across
    assert group.splits == ("train", "test")
    assert check.problem is None
    assert any(finding.gravity == "warning" for finding in findings(check))


def test_exact_copy_across_a_layout_is_refused(tmp_path: Path) -> None:
    root = layout(tmp_path / "photos")
    shutil.copy(root / "train" / "a" / "0.png", root / "test" / "a" / "x.png")
    assert "which are the same" in str(check_data(root).problem)


def test_second_check_reads_only_what_changed(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in photos.rglob("*.png"):
        os.utime(path, (1e9, 1e9))
    first = check_data(photos)
    read = []
    monkeypatch.setattr(
        photo_readers, "read_photo", lambda path, name: read.append(name) or read_photo(path, name)
    )
    assert check_data(photos) == first
    assert read == []
    (photos / "a" / "0.png").write_text("no picture")
    again = check_data(photos)
    assert read == ["a/0.png"]
    assert set(again.unreadable) == {"a/0.png"}


@pytest.mark.parametrize("way", ["photos", "folders", "links"])
def test_photos_that_change_places_are_read_again(tmp_path: Path, way: str) -> None:
    """Out of one archive, of one size and one time of change, they differ in nothing else."""
    root = tmp_path / "photos"
    for label in ("a", "b"):
        for index in range(6):
            path = root / label / f"{index}.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            place = tmp_path / f"{label}{index}.bmp" if way == "links" else path
            draw(place, 100 * ord(label) + index)
            os.utime(place, (1e9, 1e9))
            if way == "links":
                path.symlink_to(place)
    check_data(root)
    names = ("a", "b") if way == "folders" else ("a/0.bmp", "b/0.bmp")
    first, second = (root / name for name in names)
    first.rename(tmp_path / "aside")
    second.rename(first)
    (tmp_path / "aside").rename(second)
    for path, digest in check_data(root).contents.digests.items():
        assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_photo_that_could_not_be_read_is_tried_again(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By now a decoder may be installed, or memory free."""
    for path in photos.rglob("*.png"):
        os.utime(path, (1e9, 1e9))
    with monkeypatch.context() as patch:

        def fail(*_: object, **__: object) -> None:
            raise PictureError("No decoder.")

        patch.setattr(photo_readers, "decode_resized", fail)
        assert len(check_data(photos).unreadable) == 16
    assert not check_data(photos).unreadable


def test_photo_that_was_just_written_is_read_again(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could change once more without its time changing."""
    check_data(photos)
    read = []
    monkeypatch.setattr(
        photo_readers, "read_photo", lambda path, name: read.append(name) or read_photo(path, name)
    )
    check_data(photos)
    assert len(read) == 16


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a/0.png": 5}', '{"a/0.png": {}}'])
def test_damaged_cache_is_no_harm(photos: Path, content: str) -> None:
    first = check_data(photos)
    (path,) = cache_folder().glob("facts/*/*")
    path.write_text(content)
    assert check_data(photos) == first


def test_changed_cache_is_not_believed(photos: Path) -> None:
    for path in photos.rglob("*.png"):
        os.utime(path, (1e9, 1e9))
    first = check_data(photos)
    (path,) = cache_folder().glob("facts/*/*")
    text = path.read_text()
    path.write_text(text.replace('"format": "PNG"', '"format": "GIF"'))
    assert path.read_text() != text
    assert check_data(photos) == first


def test_cache_that_cannot_be_written_is_no_harm(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "file" / "cache"))
    assert check_data(photos).problem is None
