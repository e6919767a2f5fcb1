"""Published datasets by their names, as folders of photos like one's own.

What is downloaded lies where Keras keeps it (`KERAS_HOME`, else `~/.keras`); the folders of PNGs
made of it lie in pocketlens's cache and are made once.
"""

from __future__ import annotations

import contextlib
import gzip
import logging
import os
import pickle
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import DataError
from pocketlens.files import cache_folder, staged_folder, write_text
from pocketlens.progress import track
from pocketlens.quiet import quiet

LOGGER = logging.getLogger("pocketlens")

DATASETS = ("cifar10", "cifar100", "mnist", "fashion_mnist", "tf_flowers")

# Says of a folder of PNGs that it is one of ours, and complete.
_MARKER = "complete.txt"
_FLOWERS = "flower_photos"
_FLOWERS_ADDRESS = (
    "https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz"
)
# https://github.com/zalandoresearch/fashion-mnist#labels
_CLOTHES = (
    *("T-shirt", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

# What reading a file that is cut off or altered ends in.
_DAMAGED = (
    *(OSError, EOFError, ValueError, KeyError, TypeError),
    *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error),
)

# Pictures uint8 (N, height, width) or (N, height, width, 3) RGB, and the index of each label.
Pictures = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class Arrays:
    """A dataset of small pictures: its labels, and the pictures of both of its parts."""

    labels: Sequence[str]
    train: Pictures
    test: Pictures


def dataset_folder(name: str) -> Path:
    """Return a folder with a dataset's photos, in the form that `train` takes.

    The part that a dataset declares its test part stays that; the others have none.

    Args:
        name: one of `DATASETS`.

    Raises:
        DataError: it is not there yet and cannot be downloaded, or is damaged.
    """
    if name == "tf_flowers":
        return _flowers()
    folder = cache_folder() / "datasets" / name
    if not (folder / _MARKER).is_file():
        arrays = _arrays(name)
        with staged_folder(folder, overwrite=True, marker=_MARKER) as partial:
            _write_pictures(arrays, partial)
            write_text(partial / _MARKER, "")
    return folder


def _flowers() -> Path:
    folder = _keras_folder() / _FLOWERS / _FLOWERS
    if not folder.is_dir():
        _download(
            "tf_flowers",
            lambda: keras.utils.get_file(_FLOWERS, _FLOWERS_ADDRESS, extract=True),
        )
    return folder


def _arrays(name: str) -> Arrays:
    """Read a dataset where Keras keeps it; let Keras download it first if it is not there."""
    readers: dict[str, Callable[[Path], Arrays]] = {
        "mnist": _read_mnist,
        "fashion_mnist": _read_fashion_mnist,
        "cifar10": _read_cifar10,
        "cifar100": _read_cifar100,
    }
    folder = _keras_folder()
    try:
        return readers[name](folder)
    except FileNotFoundError:
        _download(name, getattr(keras.datasets, name).load_data)
    except _DAMAGED as error:
        raise DataError(
            f"Expected the dataset {name} in {folder}. Received: files that cannot be read "
            f"({' '.join(str(error).split())[:120]}). Delete them, so that they are downloaded "
            "again."
        ) from error
    return readers[name](folder)


def _download(name: str, download: Callable[[], Any]) -> None:
    LOGGER.info("Downloading %s; the next time it is there …", name)
    try:
        # Keras reports its download on standard output, where only results belong.
        with quiet(), contextlib.redirect_stdout(sys.stderr):
            download()
    except Exception as error:  # Keras raises a bare Exception where there is no network.
        raise DataError(
            f"Expected to download the dataset {name}. Received: no answer from the server that "
            "has it. Connect to the internet, or give a folder of photos."
        ) from error


def _keras_folder() -> Path:
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "datasets"


def _read_mnist(folder: Path) -> Arrays:
    with np.load(folder / "mnist.npz", allow_pickle=False) as held:
        train, test = (
            (held[f"x_{part}"], held[f"y_{part}"].astype(np.int64)) for part in ("train", "test")
        )
    return Arrays([str(digit) for digit in range(10)], train, test)


def _read_fashion_mnist(folder: Path) -> Arrays:
    parts = []
    for prefix in ("train", "t10k"):
        # The format of IDX files: http://yann.lecun.com/exdb/mnist
        with gzip.open(folder / "fashion-mnist" / f"{prefix}-labels-idx1-ubyte.gz") as stream:
            labels = np.frombuffer(stream.read(), np.uint8, offset=8).astype(np.int64)
        with gzip.open(folder / "fashion-mnist" / f"{prefix}-images-idx3-ubyte.gz") as stream:
            pixels = np.frombuffer(stream.read(), np.uint8, offset=16)
        parts.append((pixels.reshape(len(labels), 28, 28), labels))
    return Arrays(_CLOTHES, *parts)


def _read_cifar10(folder: Path) -> Arrays:
    inner = folder / "cifar-10-batches-py-target" / "cifar-10-batches-py"
    names = _unpickled(inner / "batches.meta")[b"label_names"]
    batches = [_cifar_batch(inner / f"data_batch_{number}", b"labels") for number in range(1, 6)]
    pixels, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    test = _cifar_batch(inner / "test_batch", b"labels")
    return Arrays([name.decode() for name in names], (pixels, labels), test)


def _read_cifar100(folder: Path) -> Arrays:
    inner = folder / "cifar-100-python-target" / "cifar-100-python"
    names = _unpickled(inner / "meta")[b"fine_label_names"]
    train, test = (_cifar_batch(inner / part, b"fine_labels") for part in ("train", "test"))
    return Arrays([name.decode() for name in names], train, test)


def _cifar_batch(path: Path, labels_key: bytes) -> Pictures:
    """Read one file: each row has all reds, then greens, then blues of 32x32 pixels."""
    held = _unpickled(path)
    pixels = np.asarray(held[b"data"], np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return pixels, np.asarray(held[labels_key], np.int64)


def _unpickled(path: Path) -> dict[bytes, Any]:
    with path.open("rb") as stream:
        held = _ArrayUnpickler(stream, encoding="bytes").load()
    if not isinstance(held, dict):
        raise ValueError(f"{path.name} holds no dictionary")
    return held


class _ArrayUnpickler(pickle.Unpickler):
    """Loads arrays and plain values, and nothing that could run code."""

    _ALLOWED = frozenset(
        {
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Return one of the few things that an array is made with."""
        if (module_name, global_name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"{module_name}.{global_name} in the file")
        return super().find_class(module_name, global_name)


def _write_pictures(arrays: Arrays, folder: Path) -> None:
    total = len(arrays.train[1]) + len(arrays.test[1])
    for path, picture in track(_placed(arrays, folder), "Unpacking pictures", total):
        path.parent.mkdir(parents=True, exist_ok=True)
        # OpenCV writes blue first.
        done, png = cv2.imencode(".png", picture[..., ::-1] if picture.ndim == 3 else picture)
        if not done:
            raise DataError(f"Expected a picture for {path.name}. Received: {picture.shape}.")
        path.write_bytes(png.tobytes())


def _placed(arrays: Arrays, folder: Path) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    """Yield where each picture goes: a folder per class for each part."""
    for part, (pixels, labels) in (("train", arrays.train), ("test", arrays.test)):
        for index, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
            yield folder / part / arrays.labels[label] / f"{index:05}.png", picture
