"""Published datasets, read from small files in the form of Keras's own cache."""

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras

from pocketlens.errors import DataError
from pocketlens.runtime.pictures import decode
from pocketlens.train.datasets import DATASETS, dataset_folder
from pocketlens.train.found_photos import find_photos

COUNTS = {"train": 30, "test": 10}
RNG = np.random.default_rng(1)
GREYS = {part: RNG.integers(0, 256, (n, 28, 28), np.uint8) for part, n in COUNTS.items()}
COLOURS = {part: RNG.integers(0, 256, (n, 32, 32, 3), np.uint8) for part, n in COUNTS.items()}


def truth(part: str) -> np.ndarray:
    return np.arange(COUNTS[part]) % 10


def save_mnist(folder: Path) -> None:
    arrays = {f"x_{part}": GREYS[part] for part in COUNTS}
    np.savez(folder / "mnist.npz", **arrays, **{f"y_{part}": truth(part) for part in COUNTS})


def save_fashion_mnist(folder: Path) -> None:
    inner = folder / "fashion-mnist"
    inner.mkdir()
    for part, prefix in (("train", "train"), ("test", "t10k")):
        labels, pixels = truth(part).astype(np.uint8).tobytes(), GREYS[part].tobytes()
        head = struct.pack(">II", 2049, COUNTS[part])
        (inner / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(head + labels))
        head = struct.pack(">IIII", 2051, COUNTS[part], 28, 28)
        (inner / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + pixels))


def save_cifar(path: Path, pixels: np.ndarray, labels: np.ndarray, key: bytes) -> None:
    rows = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    path.write_bytes(pickle.dumps({b"data": rows, key: labels.tolist()}, protocol=2))


def save_cifar10(folder: Path) -> None:
    inner = folder / "cifar-10-batches-py-target" / "cifar-10-batches-py"
    inner.mkdir(parents=True)
    names = {b"label_names": [f"thing {index}".encode() for index in range(10)]}
    (inner / "batches.meta").write_bytes(pickle.dumps(names, protocol=2))
    for number in range(5):
        rows = slice(6 * number, 6 * number + 6)
        path = inner / f"data_batch_{number + 1}"
        save_cifar(path, COLOURS["train"][rows], truth("train")[rows], b"labels")
    save_cifar(inner / "test_batch", COLOURS["test"], truth("test"), b"labels")


def save_cifar100(folder: Path) -> None:
    inner = folder / "cifar-100-python-target" / "cifar-100-python"
    inner.mkdir(parents=True)
    names = {b"fine_label_names": [f"thing {index}".encode() for index in range(100)]}
    (inner / "meta").write_bytes(pickle.dumps(names, protocol=2))
    for part in COUNTS:
        save_cifar(inner / part, COLOURS[part], truth(part), b"fine_labels")


SAVERS = {
    "mnist": (save_mnist, "3", GREYS),
    "fashion_mnist": (save_fashion_mnist, "Dress", GREYS),
    "cifar10": (save_cifar10, "thing 3", COLOURS),
    "cifar100": (save_cifar100, "thing 3", COLOURS),
}


@pytest.fixture
def keras_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches of Keras and pocketlens, and no network."""

    def offline(*_arguments: object, **_named: object) -> None:
        raise Exception("URL fetch failure on https://nowhere.invalid: None -- no route")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(keras.utils, "get_file", offline)
    for name in SAVERS:
        monkeypatch.setattr(getattr(keras.datasets, name), "load_data", offline)
    folder = tmp_path / "keras" / "datasets"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", SAVERS)
def test_pictures_are_those_of_the_dataset(name: str, keras_folder: Path) -> None:
    save, label, pixels = SAVERS[name]
    save(keras_folder)
    folder = dataset_folder(name)
    found = find_photos(folder)
    assert {part: len(photos) for part, photos in found.parts.items()} == COUNTS
    for part in COUNTS:
        picture = decode(folder / part / label / "00003.png")
        expected = pixels[part][3]
        if expected.ndim == 2:
            expected = np.repeat(expected[..., None], 3, axis=2)
        np.testing.assert_array_equal(picture, expected)


def test_made_once(keras_folder: Path) -> None:
    save_mnist(keras_folder)
    folder = dataset_folder("mnist")
    (keras_folder / "mnist.npz").unlink()
    assert dataset_folder("mnist") == folder


def test_flowers(keras_folder: Path) -> None:
    inner = keras_folder / "flower_photos" / "flower_photos"
    (inner / "daisy").mkdir(parents=True)
    assert dataset_folder("tf_flowers") == inner


@pytest.mark.parametrize("name", DATASETS)
def test_offline(name: str, keras_folder: Path) -> None:
    with pytest.raises(DataError, match=f"Expected to download the dataset {name}"):
        dataset_folder(name)
    assert not (keras_folder.parents[1] / "cache" / "datasets" / name).exists()


@pytest.mark.parametrize("name", SAVERS)
def test_damaged(name: str, keras_folder: Path) -> None:
    SAVERS[name][0](keras_folder)
    for path in keras_folder.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"cannot be read .* Delete them"):
        dataset_folder(name)


def test_pickle_with_code_is_not_run(keras_folder: Path, tmp_path: Path) -> None:
    save_cifar100(keras_folder)

    class Payload:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "ran",)

    (path,) = keras_folder.rglob("meta")
    path.write_bytes(pickle.dumps({b"fine_label_names": [Payload()]}))
    with pytest.raises(DataError, match="in the file"):
        dataset_folder("cifar100")
    assert not (tmp_path / "ran").exists()
