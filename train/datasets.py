"""Published datasets by their names, as folders of photos like one's own.

Keras downloads them and keeps what it downloaded (`KERAS_HOME`, else `~/.keras`); the folders of
PNGs made of it lie in pocketlens's cache and are made once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from pocketlens.cache import cache_folder
from pocketlens.errors import DataError
from pocketlens.files import staged_folder, write_text
from pocketlens.progress import track
from pocketlens.quiet import quiet

LOGGER = logging.getLogger("pocketlens")

# Says of a folder of PNGs that it is one of ours, and complete.
_MARKER = "complete.txt"
_FLOWERS = "flower_photos"
_FLOWERS_ADDRESS = (
    "https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz"
)
# Keras gives indices only. Sources of the names: https://www.cs.toronto.edu/~kriz/cifar.html,
# https://github.com/zalandoresearch/fashion-mnist#labels
_CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""
_LABELS: Mapping[str, tuple[str, ...]] = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        *("T-shirt", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "cifar10": (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
    "cifar100": tuple(_CIFAR100.split()),
}

# Pictures uint8 (N, height, width) or (N, height, width, 3) RGB, and the index of each label,
# (N,) or (N, 1).
Pictures = tuple[NDArray[np.uint8], NDArray[np.uint8]]
T = TypeVar("T")


def dataset_folder(name: str) -> Path:
    """Return a folder with a dataset's photos, in the form that `train` takes.

    The split that a dataset declares its test split stays that; the others have none.

    Args:
        name: one of `DATASETS`.

    Raises:
        DataError: Keras has not downloaded it and cannot, or what it keeps is damaged.
    """
    if name == "tf_flowers":
        return _flowers()
    folder = cache_folder() / "datasets" / name
    if not (folder / _MARKER).is_file():
        train, test = _ask_keras(name, getattr(keras.datasets, name).load_data)
        with staged_folder(folder, overwrite=True, marker=_MARKER) as partial:
            _write_pictures({"train": train, "test": test}, _LABELS[name], partial)
            write_text(partial / _MARKER, "")
    return folder


def _flowers() -> Path:
    home = os.environ.get("KERAS_HOME")
    folder = (Path(home) if home else Path.home() / ".keras") / "datasets" / _FLOWERS / _FLOWERS
    # Keras would unpack them again each time.
    if not folder.is_dir():
        _ask_keras(
            "tf_flowers",
            lambda: keras.utils.get_file(_FLOWERS, _FLOWERS_ADDRESS, extract=True),
        )
    return folder


def _ask_keras(name: str, load: Callable[[], T]) -> T:
    LOGGER.info("Loading %s; Keras downloads what is not in its cache …", name)
    try:
        # Keras reports its download on standard output, where only results belong.
        with quiet(), contextlib.redirect_stdout(sys.stderr):
            return load()
    except Exception as error:  # Keras raises a bare Exception where there is no network.
        raise DataError(
            f"Keras has no whole copy of the dataset {name} and cannot download it "
            f"({' '.join(str(error).split())[:120]}). Connect to the internet, delete "
            "damaged files from Keras's cache, or give a folder of photos."
        ) from error


def _write_pictures(splits: Mapping[str, Pictures], labels: tuple[str, ...], folder: Path) -> None:
    total = sum(len(indices) for _, indices in splits.values())
    for path, picture in track(_placed(splits, labels, folder), "Unpacking pictures", total):
        path.parent.mkdir(parents=True, exist_ok=True)
        # OpenCV writes blue first.
        done, png = cv2.imencode(".png", picture[..., ::-1] if picture.ndim == 3 else picture)
        if not done:
            raise DataError(f"Expected a picture for {path.name}. Received: {picture.shape}.")
        path.write_bytes(png.tobytes())


def _placed(
    splits: Mapping[str, Pictures], labels: tuple[str, ...], folder: Path
) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    """Yield where each picture goes: a folder per class for each split."""
    for split, (pixels, indices) in splits.items():
        for number, (picture, index) in enumerate(zip(pixels, indices.ravel(), strict=True)):
            yield folder / split / labels[index] / f"{number:05}.png", picture
