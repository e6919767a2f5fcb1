"""No photo is tested on that a run, or one that it started from, has learned or chosen by."""

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pocketlens.errors import ModelFileError
from pocketlens.runtime.photos import Photo
from pocketlens.runtime.runs import read_split, write_split
from pocketlens.train.data_check import DataCheck, check_data
from pocketlens.train.lineage import SeenPhotos, read_seen
from pocketlens.train.splits import DividedPhotos


def picture(path: Path, seed: int) -> None:
    """Write a picture that is like no other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(coarse, (64, 48)))


def write_run(folder: Path, check: DataCheck, divided: DividedPhotos, seen: SeenPhotos) -> None:
    """Write what a run keeps of its photos, as `train` does at its end."""
    folder.mkdir(parents=True)
    (folder / "model.keras").touch()
    known = seen.and_those_of(divided.splits, check.contents).to_json()
    write_split(folder, folder, divided.root, divided.labels, divided.splits, known)


def contents(divided: DividedPhotos, *splits: str) -> set[str]:
    return {divided.digests[photo.path] for split in splits for photo in divided.splits[split]}


def change(photos: Path, chooser: random.Random, step: int) -> None:
    """Add photos, rename some, move some to another folder or class, remove and copy some."""
    for label in ("ant", "bee"):
        for index in range(chooser.randrange(1, 8)):
            picture(
                photos / label / f"new{step}-{index}.png", 1000 * step + 10 * index + len(label)
            )
        there = sorted((photos / label).rglob("*.png"))
        for number, path in enumerate(chooser.sample(there, 10)):
            path.rename(path.with_name(f"{'a' if number % 2 else 'z'}{step}-{number}.png"))
        for path in chooser.sample(sorted((photos / label).rglob("*.png")), 3):
            deeper = path.parent / f"step{step}"
            deeper.mkdir(exist_ok=True)
            path.rename(deeper / path.name)
        for path in chooser.sample(sorted((photos / label).rglob("*.png")), 2):
            path.unlink()
        path = chooser.choice(sorted((photos / label).rglob("*.png")))
        image = cv2.imread(str(path))
        cv2.imwrite(str(path.with_name(f"again{step}.jpg")), image, [cv2.IMWRITE_JPEG_QUALITY, 60])
    # A photo that was in the wrong folder.
    path = chooser.choice(sorted((photos / "ant").rglob("*.png")))
    path.rename(photos / "bee" / f"moved{step}.png")


@pytest.mark.parametrize("same_seed", [True, False])
def test_ten_retrainings(tmp_path: Path, same_seed: bool) -> None:
    """With another seed each time, too: what earlier runs had keeps its split."""
    photos = tmp_path / "photos"
    for number, label in enumerate(("ant", "bee")):
        for index in range(50):
            picture(photos / label / f"{index:02}.png", 100_000 + 1000 * number + index)
    chooser = random.Random(1)
    used: set[str] = set()
    weights = "none"
    for step in range(10):
        seen = read_seen(weights)
        assert not seen.unknown
        check = check_data(photos, seen=seen)
        divided = check.divide(0 if same_seed else step)
        assert not contents(divided, "test") & used
        assert not contents(divided, "val") & {
            digest for digest, split in seen.splits.items() if split == "train"
        }
        used |= contents(divided, "train", "val")
        counts = {split: len(photos) for split, photos in divided.splits.items()}
        assert min(counts["test"], counts["val"]) > 5, counts
        write_run(tmp_path / f"run{step}", check, divided, seen)
        weights = str(tmp_path / f"run{step}" / ("model.keras" if step % 2 else ""))
        change(photos, chooser, step + 1)
    assert read_seen(weights).splits.keys() >= used


def test_photos_saved_anew_are_known(tmp_path: Path) -> None:
    """Whoever makes all photos smaller and trains on from a run must not test on what it knows."""
    for index in range(40):
        picture(tmp_path / "photos" / "ab"[index % 2] / f"{index:02}.png", index)
    check = check_data(tmp_path / "photos")
    divided = check.divide(0)
    write_run(tmp_path / "run", check, divided, SeenPhotos())
    before = {p.path.stem: split for split, ps in divided.splits.items() for p in ps}
    for path in (tmp_path / "photos").rglob("*.png"):
        small = cv2.resize(cv2.imread(str(path)), (48, 36), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(path.with_suffix(".jpg")), small)
        path.unlink()
    again = check_data(tmp_path / "photos", seen=read_seen(str(tmp_path / "run"))).divide(5)
    assert {p.path.stem: split for split, ps in again.splits.items() for p in ps} == before


def as_old_run(folder: Path) -> None:
    """Make a run one of a version that did not keep contents."""
    path = folder / "split.json"
    values = json.loads(path.read_text())
    del values["seen"]
    path.write_text(json.dumps(values))


@pytest.fixture
def run(tmp_path: Path, tiny_photos: Path, tiny_run: Path) -> Path:
    """A run on the tiny photos beside it, without the rest of what a run has."""
    shutil.copytree(tiny_photos, tmp_path / "photos")
    check = check_data(tmp_path / "photos")
    divided = check.divide(3)
    write_run(tmp_path / "run", check, divided, SeenPhotos())
    card = json.loads((tiny_run / "card.json").read_text())
    card["data_hash"] = divided.data_hash
    (tmp_path / "run" / "card.json").write_text(json.dumps(card))
    return tmp_path / "run"


def test_old_run_s_photos_are_read_again(run: Path) -> None:
    known = read_seen(str(run))
    as_old_run(run)
    assert read_seen(str(run)) == known


@pytest.mark.parametrize(
    ("change", "unknown"),
    [
        ("photo", "1 of the 90 photos of {run} cannot be read any more"),
        ("truncated", "1 of the 90 photos of {run} cannot be read any more"),
        ("swapped", "some photos of {run} may have changed"),
        ("weights", "{run} started from earlier, and which photos that was trained on"),
        ("card", "{run} started from other weights"),
    ],
)
def test_what_an_old_run_does_not_tell_is_said(run: Path, change: str, unknown: str) -> None:
    as_old_run(run)
    if change == "photo":
        next((run.parent / "photos" / "cross").iterdir()).unlink()
    elif change == "truncated":
        path = next((run.parent / "photos" / "cross").iterdir())
        path.write_bytes(path.read_bytes()[:50])
    elif change == "swapped":
        one, other, *_ = (run.parent / "photos" / "cross").iterdir()
        one.write_bytes(other.read_bytes())
    elif change == "weights":
        card = json.loads((run / "card.json").read_text())
        card["training"]["weights"] = "earlier"
        (run / "card.json").write_text(json.dumps(card))
    else:
        (run / "card.json").unlink()
    assert unknown.format(run=run) in read_seen(str(run)).unknown


def test_what_is_unknown_stays_unknown(run: Path) -> None:
    as_old_run(run)
    (run / "card.json").unlink()
    seen = read_seen(str(run))
    check = check_data(run.parent / "photos", seen=seen)
    write_run(run.with_name("next"), check, check.divide(3), seen)
    assert read_seen(str(run.with_name("next"))).unknown == seen.unknown


def test_weights_files_tell_nothing(tmp_path: Path) -> None:
    path = tmp_path / "some.weights.h5"
    path.touch()
    assert str(path) in read_seen(str(path)).unknown
    assert read_seen("imagenet") == read_seen("none") == SeenPhotos()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"parts": {}}',
        '{"photos": 3, "parts": {}}',
        '{"photos": ".", "parts": []}',
        '{"photos": ".", "parts": {"test": ["a.jpg"]}}',
        '{"photos": ".", "parts": {"test": {"a.jpg": 3}}}',
        '{"photos": ".", "parts": {"test": {"a.jpg": [3]}}}',
    ],
    ids=lambda text: text[:60],
)
def test_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(ModelFileError, match="a record of the splits in"):
        read_split(tmp_path)


def spoil(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = run / "split.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    "change",
    [
        *(
            lambda values, key=key: values["seen"].pop(key)
            for key in ("train", "unknown", "fingerprint_version")
        ),
        lambda values: values.update(seen=[]),
        lambda values: values["seen"].update(val=["0" * 64]),
        lambda values: values["seen"]["val"].update({"0" * 64: "zz"}),
        lambda values: values["seen"]["val"].update({"0" * 64: "00ff"}),
        lambda values: values["seen"]["val"].update({"0" * 64: 5}),
        lambda values: values.update(seen=None, parts=[]),
    ],
)
def test_damaged_contents_are_refused(run: Path, change: Callable[[Any], object]) -> None:
    spoil(run, change)
    with pytest.raises(ModelFileError, match="a record of the splits in"):
        read_seen(str(run))


def test_fingerprints_of_another_version_are_no_knowledge(run: Path) -> None:
    spoil(run, lambda values: values["seen"].update(fingerprint_version=0))
    seen = read_seen(str(run))
    assert len(seen.splits) == 90
    assert f"another version trained {run}, so near duplicates" in seen.unknown


def test_old_run_with_a_photo_in_two_splits(run: Path) -> None:
    """The split counts that binds most, whichever comes last."""
    known = read_seen(str(run))
    as_old_run(run)

    def twice(values: dict[str, Any]) -> None:
        name, label = next(iter(values["parts"]["train"].items()))
        copy = f"{Path(name).parent}/copy.png"
        shutil.copy(run.parent / "photos" / name, run.parent / "photos" / copy)
        values["parts"]["test"][copy] = label

    spoil(run, twice)
    assert read_seen(str(run)).splits == known.splits


def digests(photos: Sequence[Photo]) -> set[str]:
    return {hashlib.sha256(photo.path.read_bytes()).hexdigest() for photo in photos}


def test_real_retraining(tmp_path: Path, run: Path, plain_run: Path) -> None:
    pytest.importorskip("tensorflow", reason="training needs the train extra")
    from pocketlens.runtime.runs import read_run
    from pocketlens.train import Settings, train

    first = tmp_path / "first"
    shutil.copytree(plain_run, first)
    # It was trained on these photos, with some split.
    shutil.copy(run / "split.json", first)
    photos = tmp_path / "photos"
    picture(photos / "cross" / "000.png", 1)
    (photos / "circle" / "00.png").rename(photos / "circle" / "renamed.png")
    settings = Settings(
        arch="cnn_deep",
        image_size=32,
        weights=str(first),
        head_epochs=2,
        fine_tune_epochs=1,
        grid_epochs=1,
        seed=1,
    )
    training = train(photos, tmp_path / "second", settings)
    assert not training.unknown
    tested = digests(read_run(tmp_path / "second").photos("test").photos)
    before = read_split(first).seen
    assert before is not None
    assert len(tested) > 5
    assert not tested & (before["train"].keys() | before["val"].keys())
    seen = read_seen(str(tmp_path / "second"))
    assert set(seen.splits.values()) == {"train", "val", "test"}
    report = json.loads((tmp_path / "second" / "report" / "report.json").read_text())
    assert report["unknown"] == ""
    assert [entry["phase"] for entry in report["phases"]] == ["head", "fine-tune", "grid"]
    head, fine_tune, _ = report["phases"]
    assert fine_tune["loss_before"] == pytest.approx(head["val_loss"], rel=1e-3)
    page = (tmp_path / "second" / "report" / "index.html").read_text("utf-8")
    assert "nor by the runs that its weights come from" in page
    assert "Validation: " in page
