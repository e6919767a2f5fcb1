"""Photos decoded once: an on-disk cache of uint8 pixels at the model's size."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pocketlens.cache import cache_entry
from pocketlens.errors import DataError, PictureError
from pocketlens.evaluation.answers import truth
from pocketlens.files import replacing, write_text
from pocketlens.progress import track
from pocketlens.runtime.photos import Photo, read_pixels, report_skipped
from pocketlens.train.splits import DividedPhotos, count_labels


def write_array(
    path: Path, shape: tuple[int, ...], dtype: DTypeLike, blocks: Iterable[NDArray[Any]]
) -> NDArray[Any]:
    """Write an array as `.npy` from blocks of rows and return it mapped from there.

    Rows that the blocks do not reach are zero. Written as a stream, since a full disk kills the
    process that writes to a map, without a word.

    Raises:
        OutputError: the file cannot be written.
    """
    kind = np.dtype(dtype)
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    with replacing(path) as partial, partial.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        start = stream.tell()
        for block in blocks:
            stream.write(np.ascontiguousarray(block, kind).data)
        stream.truncate(start + kind.itemsize * math.prod(shape))
    return read_array(path)


def read_array(path: Path) -> NDArray[Any]:
    """Return an array that `write_array` has written, mapped from its file."""
    array: NDArray[Any] = np.load(path, mmap_mode="r")
    return array


# To be raised when decode or resize change what they give.
PIXELS_VERSION = 3

_PIXELS_NAME, _UNREADABLE_NAME = "pixels.npy", "pixels.json"


@dataclass(frozen=True)
class SplitPixels:
    """One split as arrays.

    `pixels` is uint8 (N, height, width, 3) RGB, mapped from disk; `labels` the truth as
    `truth.truth` gives it; `photos` the N photos that could be read.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[Any]
    photos: tuple[Photo, ...]


def load_pixels(
    divided: DividedPhotos, size_wh: tuple[int, int], resize_mode: str
) -> dict[str, SplitPixels]:
    """Return the pixels of all splits, decoding only what is not cached yet.

    Photos that cannot be read are left out, counted and named.

    Raises:
        DataError: a split has a class of which no photo can be read.
    """
    everything = [photo for photos in divided.splits.values() for photo in photos]
    digests = [divided.digests[photo.path] for photo in everything]
    key = hashlib.sha256(
        json.dumps([PIXELS_VERSION, size_wh, resize_mode, digests]).encode()
    ).hexdigest()[:32]
    # A file that is mapped may be removed; what it held stays for whoever has mapped it.
    with cache_entry("pixels", key) as folder:
        cached = _read(folder, everything, size_wh, resize_mode)
        pixels, errors = cached or _fill(folder, everything, size_wh, resize_mode)
    report_skipped(list(errors.values()), len(everything))
    return _splits(divided, pixels, set(errors))


def _fill(
    folder: Path, photos: list[Photo], size_wh: tuple[int, int], resize_mode: str
) -> tuple[NDArray[np.uint8], dict[int, PictureError]]:
    errors: dict[int, PictureError] = {}

    def readable() -> Iterator[NDArray[np.uint8]]:
        decoded = read_pixels([photo.path for photo in photos], size_wh, resize_mode)
        for index, result in enumerate(track(decoded, "Decoding photos", len(photos))):
            if isinstance(result, PictureError):
                errors[index] = result
            else:
                yield result

    # Readable photos lie one behind the other, so that each split is one piece of the file.
    shape = (len(photos), size_wh[1], size_wh[0], 3)
    pixels = write_array(folder / _PIXELS_NAME, shape, np.uint8, readable())
    # Last, since its presence says that the pixels are complete.
    kept = {"checksum": _checksum(pixels), "unreadable": list(errors)}
    write_text(folder / _UNREADABLE_NAME, json.dumps(kept))
    return pixels, errors


def _read(
    folder: Path, photos: list[Photo], size_wh: tuple[int, int], resize_mode: str
) -> tuple[NDArray[np.uint8], dict[int, PictureError]] | None:
    """Return what `_fill` has written; None where it is not there as it would be written now."""
    shape = (len(photos), size_wh[1], size_wh[0], 3)
    try:
        kept = json.loads((folder / _UNREADABLE_NAME).read_text("utf-8"))
        pixels = read_array(folder / _PIXELS_NAME)
        if pixels.shape != shape or pixels.dtype != np.uint8:
            return None
        if _checksum(pixels) != kept["checksum"]:
            return None
        unreadable = [int(index) for index in kept["unreadable"]]
        paths = [photos[index].path for index in unreadable]
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None
    # By now a decoder may be installed, or memory free; and a file may have another name.
    again = read_pixels(paths, size_wh, resize_mode) if paths else ()
    errors = [result for result in again if isinstance(result, PictureError)]
    if len(errors) < len(unreadable):
        return None
    return pixels, dict(zip(unreadable, errors, strict=True))


def _checksum(pixels: NDArray[np.uint8]) -> int:
    """Return the CRC-32 of pixels: a cache is to be safe from accidents, not from attackers."""
    checksum = 0
    for block in pixels:
        checksum = zlib.crc32(block, checksum)
    return checksum


def _splits(
    divided: DividedPhotos, pixels: NDArray[np.uint8], unreadable: set[int]
) -> dict[str, SplitPixels]:
    splits = {}
    first = row = 0
    for name, photos in divided.splits.items():
        readable = tuple(
            photo for index, photo in enumerate(photos, first) if index not in unreadable
        )
        counts = count_labels(readable)
        for index, label in enumerate(divided.labels):
            if not counts[index]:
                raise DataError(
                    f"Expected readable photos of every class in the {name} split. "
                    f"Received: none of {label!r}. Add photos to it."
                )
        labels = truth([p.label_indices for p in readable], len(divided.labels), divided.task)
        splits[name] = SplitPixels(pixels[row : row + len(readable)], labels, readable)
        first += len(photos)
        row += len(readable)
    return splits
