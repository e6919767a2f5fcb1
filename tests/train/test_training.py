"""`train` from a folder of photos to a run folder, on the tiny photos."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras

from pocketlens.cache import cache_folder
from pocketlens.evaluation.answers import to_answers
from pocketlens.evaluation.metrics import evaluate
from pocketlens.int8_grid import LEVELS
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.model_files import read_model_file
from pocketlens.runtime.photos import Photo
from pocketlens.runtime.pictures import decode
from pocketlens.runtime.runs import read_run
from pocketlens.train import Settings, train
from pocketlens.train.data_check import check_data
from pocketlens.train.data_report import to_payload
from pocketlens.train.grid import kernel_of
from pocketlens.train.networks import flat_layers
from pocketlens.train.pixel_cache import load_pixels
from pocketlens.train.splits import DividedPhotos

QUICK = Settings(
    arch="cnn_small",
    image_size=64,
    weights="none",
    batch_size=16,
    fine_tune_epochs=1,
    grid_epochs=0,
)


def split_photos(root: Path, seed: int) -> DividedPhotos:
    return check_data(root).divide(seed)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))


def test_run_folder_is_complete(tiny_run: Path) -> None:
    names = {path.name for path in tiny_run.iterdir()}
    assert names == {
        "model.keras",
        "card.json",
        "labels.txt",
        "split.json",
        "history.csv",
        "report",
        "logs",
    }
    assert {path.name for path in (tiny_run / "report").iterdir()} == {
        "index.html",
        "accuracy.png",
        "augmentation.png",
        "confusion.png",
        "confusion_percent.png",
        "roc.png",
        "calibration.png",
        "loss.png",
        "report.json",
        "data.html",
        "data.json",
    }
    assert list((tiny_run / "logs").rglob("events.out.tfevents.*"))


def test_card_of_the_run(tiny_run: Path) -> None:
    card = read_run(tiny_run).card
    assert card.labels == ("circle", "cross", "stripes")
    assert card.input_size_wh == (96, 96)
    assert card.resize_mode == "stretch"
    assert len(card.data_hash) == 64
    for split in ("val", "test"):
        assert card.metrics[f"{split}_count"] == len(read_run(tiny_run).photos(split).photos)
    assert set(card.versions) >= {"pocketlens", "tensorflow", "keras", "numpy", "python"}


def test_history_has_every_epoch(tiny_run: Path) -> None:
    with (tiny_run / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["phase"], row["epoch"]) for row in rows] == [
        *(("scratch", str(epoch)) for epoch in range(1, 7)),
        ("grid", "1"),
    ]
    assert all(0 <= float(row["val_accuracy"]) <= 1 for row in rows)


def test_every_kernel_lies_on_its_grid(tiny_run: Path) -> None:
    model = keras.models.load_model(tiny_run / "model.keras", compile=False)
    kernels = [found for found in map(kernel_of, flat_layers(model)) if found]
    assert len(kernels) == 53
    for kernel, axes in kernels:
        values = np.asarray(kernel)
        scale = np.abs(values).max(axis=axes, keepdims=True) / LEVELS
        levels = values / np.where(scale == 0, 1, scale)
        assert np.abs(levels - np.rint(levels)).max() < 1e-3


def test_report_counts_what_the_split_says(tiny_run: Path) -> None:
    report = json.loads((tiny_run / "report" / "report.json").read_text())
    opened = read_run(tiny_run)
    assert report["photos"] == {
        split: len(opened.photos(split).photos) for split in ("train", "val", "test")
    }
    assert sum(map(sum, report["test"]["confusion"])) == report["photos"]["test"]


def test_report_has_what_was_found_in_the_photos(tiny_photos: Path, tiny_run: Path) -> None:
    payload = json.loads((tiny_run / "report" / "data.json").read_text())
    assert payload == to_payload(check_data(tiny_photos))
    assert payload["classes"] == {"circle": 30, "cross": 30, "stripes": 30}
    assert 'href="data.html"' in (tiny_run / "report" / "index.html").read_text("utf-8")


def test_splits_of_a_run_share_no_photo(tiny_run: Path) -> None:
    opened = read_run(tiny_run)
    splits = [{photo.path for photo in opened.photos(p).photos} for p in ("train", "val", "test")]
    assert len(set.union(*splits)) == sum(map(len, splits)) == 90


def test_unreadable_photos_are_skipped_counted_and_named(
    tiny_photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(tiny_photos, photos)
    bad = sorted((photos / "circle").iterdir())[:3]
    bad[0].write_bytes(b"")
    bad[1].write_text("this is text")
    bad[2].write_bytes(bad[2].read_bytes()[:300])
    training = train(photos, tmp_path / "run", QUICK)
    assert "Skipped 3 of 90 photos" in caplog.text
    for path in bad:
        assert path.name in caplog.text
    opened = read_run(tmp_path / "run")
    assert set(opened.card.sets) == {"0.8", "0.9"}
    assert opened.card.shift["photos"] == len(opened.photos("val").photos)
    assert "Too few validation photos" in caplog.text
    used = [p.path for split in ("train", "val", "test") for p in opened.photos(split).photos]
    assert len(used) == 87
    assert training.test.count == len(opened.photos("test").photos)


def test_second_training_decodes_nothing(
    tiny_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    divided = split_photos(tiny_photos, seed=0)
    first = load_pixels(divided, (64, 64), "stretch")
    monkeypatch.setattr("pocketlens.train.pixel_cache.read_pixels", None)
    again = load_pixels(divided, (64, 64), "stretch")
    for split in first:
        np.testing.assert_array_equal(first[split].pixels, again[split].pixels)
    assert isinstance(again["train"].pixels.base, np.memmap) or isinstance(
        again["train"].pixels, np.memmap
    )


@pytest.mark.parametrize("change", ["size", "mode", "content"])
def test_cache_is_made_anew_for_other_pixels(
    tiny_photos: Path, tmp_path: Path, change: str
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(tiny_photos, photos)
    load_pixels(split_photos(photos, seed=0), (64, 64), "stretch")
    size, mode = (
        ((32, 32) if change == "size" else (64, 64)),
        ("crop" if change == "mode" else "stretch"),
    )
    if change == "content":
        path = next((photos / "cross").iterdir())
        shutil.copy(next((photos / "circle").iterdir()), path)
    load_pixels(split_photos(photos, seed=0), size, mode)
    assert len(list(cache_folder().glob("pixels/*/*.npy"))) == 2


@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
def test_training_and_classifier_see_the_same_pixels(
    shared: Path, tiny_models: dict[str, Path], tmp_path: Path, mode: str
) -> None:
    """Bit for bit, on real photos and every EXIF orientation."""
    awkward = shared / "data" / "awkward_images"
    flowers = sorted((shared / "data" / "flowers" / "roses").iterdir())[:20]
    names = ("good.jpg", "cmyk.jpg", "gray16.png", "palette.png", "rgba.png", "webp.webp")
    paths = [*(awkward / f"exif_{n}.jpg" for n in range(1, 9)), *(awkward / n for n in names)]
    paths += flowers
    photos = tuple(Photo(path, (0,)) for path in paths)
    splits = {"train": photos, "val": photos[:1], "test": photos[:1]}
    digests = {path: f"{mode}{path}" for path in paths}
    divided = DividedPhotos(shared, ("all",), splits, digests)
    model = read_model_file(tiny_models["int8"])
    assert model.card is not None
    with Classifier(model._replace(card=replace(model.card, resize_mode=mode))) as classifier:
        cached = load_pixels(divided, classifier.size_wh, mode)["train"].pixels
        tensor = classifier.interpreter.get_input_details()[0]["index"]
        for path, pixels in zip(paths, cached, strict=True):
            classifier.classify_photo(path)
            seen = classifier.interpreter.get_tensor(tensor)[0]
            np.testing.assert_array_equal(seen, pixels, err_msg=path.name)
            classifier.classify(np.ascontiguousarray(decode(path)[..., ::-1]))
            seen = classifier.interpreter.get_tensor(tensor)[0]
            np.testing.assert_array_equal(seen, pixels, err_msg=path.name)


def test_fresh_pictures_replace_the_photos(tiny_photos: Path, tmp_path: Path) -> None:
    asked = []

    def pictures(epoch: int) -> tuple[np.ndarray, np.ndarray]:
        asked.append(epoch)
        rng = np.random.default_rng(epoch)
        return rng.integers(0, 256, (57, 64, 64, 3), np.uint8), rng.integers(0, 3, 57)

    train(tiny_photos, tmp_path / "run", QUICK, pictures=pictures)
    assert asked == [0]


def test_evaluation_by_hand() -> None:
    truth = np.array([0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 1, 1, 0, 1])
    scores = np.eye(3, dtype=np.float32)[predicted]
    result = evaluate(to_answers(scores, truth, ("a", "b", "c")))
    assert result.accuracy == pytest.approx(3 / 6)
    assert result.confusion == ((2, 1, 0), (1, 1, 0), (0, 1, 0))
    a, b, c = result.classes
    assert (a.precision, a.recall, a.f1, a.support) == pytest.approx((2 / 3, 2 / 3, 2 / 3, 3))
    assert (b.precision, b.recall, b.f1, b.support) == pytest.approx((1 / 3, 1 / 2, 0.4, 2))
    assert (c.precision, c.recall, c.f1, c.support) == (0, 0, 0, 1)
    assert result.macro_f1 == pytest.approx((2 / 3 + 0.4) / 3)
