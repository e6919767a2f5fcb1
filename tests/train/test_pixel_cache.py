"""The cache of decoded photos: used as it was written, or made again."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("imagehash", reason="checking photos needs the train extra")

from pocketlens.errors import PictureError
from pocketlens.runtime.photos import read_pixels
from pocketlens.train import pixel_cache
from pocketlens.train.data_check import check_data
from pocketlens.train.pixel_cache import load_pixels
from pocketlens.train.splits import DividedPhotos

SIZE = (32, 24)


@pytest.fixture
def divided(tiny_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DividedPhotos:
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))
    return check_data(tiny_photos).divide(0)


def change_a_byte(pixels: Path, _: Path) -> None:
    data = bytearray(pixels.read_bytes())
    data[-1000] ^= 1
    pixels.write_bytes(data)


def change_the_checksum(_: Path, kept: Path) -> None:
    values = json.loads(kept.read_text())
    kept.write_text(json.dumps(values | {"checksum": values["checksum"] + 1}))


SPOILS: dict[str, Callable[[Path, Path], object]] = {
    "changed": change_a_byte,
    "truncated": lambda pixels, _: pixels.write_bytes(pixels.read_bytes()[:-5000]),
    "longer": lambda pixels, _: np.save(pixels, np.zeros((200, 24, 32, 3), np.uint8)),
    "emptied": lambda pixels, _: pixels.write_bytes(b""),
    "other type": lambda pixels, _: np.save(pixels, np.load(pixels).astype(np.float32)),
    "objects": lambda pixels, _: np.save(pixels, np.array([{}], object)),
    "no array": lambda pixels, _: pixels.write_text("[]"),
    "gone": lambda pixels, _: pixels.unlink(),
    "checksum": change_the_checksum,
    "no errors": lambda _, kept: kept.unlink(),
    "empty errors": lambda _, kept: kept.write_text(""),
    "other errors": lambda _, kept: kept.write_text('{"unreadable": []}'),
    "errors of 0.2": lambda _, kept: kept.write_text("{}"),
    "no text": lambda _, kept: kept.write_bytes(b"\xff"),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_spoiled_cache_is_made_again(divided: DividedPhotos, tmp_path: Path, spoil: str) -> None:
    first = load_pixels(divided, SIZE, "stretch")
    expected = {name: split.pixels.copy() for name, split in first.items()}
    del first
    (pixels,) = (tmp_path / "cache").glob("pixels/*/*.npy")
    SPOILS[spoil](pixels, pixels.with_suffix(".json"))
    again = load_pixels(divided, SIZE, "stretch")
    for name, split in again.items():
        np.testing.assert_array_equal(split.pixels, expected[name])


def test_a_good_cache_is_used(divided: DividedPhotos, monkeypatch: pytest.MonkeyPatch) -> None:
    load_pixels(divided, SIZE, "stretch")
    monkeypatch.setattr(pixel_cache, "read_pixels", None)
    assert len(load_pixels(divided, SIZE, "stretch")["train"].pixels)


def test_a_photo_that_could_not_be_read_gets_another_chance(
    divided: DividedPhotos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder may be installed since, or memory free: the cache must not say otherwise."""
    lost = divided.splits["train"][3]
    fills = []

    def read(paths: list[Path], *how: Any) -> Iterator[Any]:
        fills.append(len(paths))
        for path, pixels in zip(paths, read_pixels(paths, *how), strict=True):
            yield PictureError("No decoder.") if path == lost.path else pixels

    every = sum(map(len, divided.splits.values()))
    with monkeypatch.context() as patch:
        patch.setattr(pixel_cache, "read_pixels", read)
        for _ in range(2):
            assert lost not in load_pixels(divided, SIZE, "stretch")["train"].photos
        # The second time from the cache, but for that one.
        assert fills == [every, 1]
    assert load_pixels(divided, SIZE, "stretch")["train"].photos == divided.splits["train"]
