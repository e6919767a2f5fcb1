"""Published datasets: what Keras returns becomes folders of photos."""

import gzip
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras

from pocketlens.choices import DATASETS
from pocketlens.errors import DataError
from pocketlens.runtime.pictures import decode
from pocketlens.train.datasets import dataset_folder
from pocketlens.train.found_photos import find_photos

COUNTS = {"train": 30, "test": 10}
RNG = np.random.default_rng(1)
GREYS = {split: RNG.integers(0, 256, (n, 28, 28), np.uint8) for split, n in COUNTS.items()}
COLOURS = {split: RNG.integers(0, 256, (n, 32, 32, 3), np.uint8) for split, n in COUNTS.items()}
# Of each the pictures, the shape of an index, and a label: that of index 3.
KNOWN = {
    "mnist": (GREYS, (), "3"),
    "fashion_mnist": (GREYS, (), "Dress"),
    "cifar10": (COLOURS, (1,), "cat"),
    "cifar100": (COLOURS, (1,), "bear"),
}


def indices(split: str) -> np.ndarray:
    return (np.arange(COUNTS[split]) % 10).astype(np.uint8)


def loader(name: str) -> Callable[[], tuple]:
    """What stands for the `load_data` of Keras, which takes nothing but the whole dataset."""
    pixels, shape, _ = KNOWN[name]
    return lambda: tuple((pixels[split], indices(split).reshape(-1, *shape)) for split in COUNTS)


def check(folder: Path, name: str) -> None:
    """Check that a folder has the photos of a dataset in its splits."""
    pixels, _, label = KNOWN[name]
    found = find_photos(folder)
    assert {split: len(photos) for split, photos in found.splits.items()} == COUNTS
    for split in COUNTS:
        picture = decode(folder / split / label / "00003.png")
        expected = pixels[split][3]
        if expected.ndim == 2:
            expected = np.repeat(expected[..., None], 3, axis=2)
        np.testing.assert_array_equal(picture, expected)


@pytest.fixture
def keras_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches of Keras and pocketlens, and no network."""

    def offline(*_arguments: object, **_named: object) -> None:
        raise Exception("URL fetch failure on https://nowhere.invalid: None -- no route")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(keras.utils, "get_file", offline)
    for name in KNOWN:
        monkeypatch.setattr(getattr(keras.datasets, name), "load_data", offline)
    folder = tmp_path / "keras" / "datasets"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", KNOWN)
def test_pictures_are_those_of_the_dataset(
    name: str, keras_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", loader(name))
    check(dataset_folder(name), name)
    # Made once: Keras is not asked again.
    monkeypatch.undo()
    monkeypatch.setenv("POCKETLENS_CACHE", str(keras_folder.parents[1] / "cache"))
    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", None)
    check(dataset_folder(name), name)


def test_what_keras_keeps_is_not_downloaded(tmp_path: Path) -> None:
    # Of the others Keras checks a hash, which small files cannot have.
    inner = tmp_path / "keras" / "datasets" / "fashion-mnist"
    inner.mkdir(parents=True)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        head = struct.pack(">II", 2049, COUNTS[split])
        labels = gzip.compress(head + indices(split).tobytes())
        (inner / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(labels)
        head = struct.pack(">IIII", 2051, COUNTS[split], 28, 28)
        pixels = gzip.compress(head + GREYS[split].tobytes())
        (inner / f"{prefix}-images-idx3-ubyte.gz").write_bytes(pixels)
    # Keras looks for KERAS_HOME when it is imported.
    environment = {
        **os.environ,
        "KERAS_HOME": str(tmp_path / "keras"),
        "POCKETLENS_CACHE": str(tmp_path / "cache"),
    }
    code = (
        "from pocketlens.train.datasets import dataset_folder; "
        "print(dataset_folder('fashion_mnist'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    check(Path(done.stdout.strip()), "fashion_mnist")


def test_flowers(keras_folder: Path) -> None:
    inner = keras_folder / "flower_photos" / "flower_photos"
    (inner / "daisy").mkdir(parents=True)
    assert dataset_folder("tf_flowers") == inner


@pytest.mark.parametrize("name", DATASETS)
def test_offline(name: str, keras_folder: Path) -> None:
    with pytest.raises(DataError, match=rf"{name} and cannot download it \(URL .* Connect to"):
        dataset_folder(name)
    assert not (keras_folder.parents[1] / "cache" / "datasets" / name).exists()


def test_damaged(keras_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged() -> None:
        raise EOFError("Compressed file ended before the end-of-stream marker was reached")

    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", damaged)
    with pytest.raises(DataError, match=r"no whole copy .* \(Compressed .* delete damaged files"):
        dataset_folder("fashion_mnist")
