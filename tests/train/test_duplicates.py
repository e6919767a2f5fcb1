"""Fingerprints of photos: copies are found, other photos are not, and quickly."""

import io
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

pytest.importorskip("imagehash", reason="fingerprints need the train extra")

from pocketlens.runtime.pictures import decode
from pocketlens.train.duplicates import Fingerprint, fingerprint, near_groups

CHANGES = {
    "jpeg 40": lambda image: image,
    "60 %": lambda image: image.resize([side * 6 // 10 for side in image.size]),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.85),
    "grey": lambda image: image.convert("L"),
    "borders": lambda image: image.crop(
        (*(round(0.03 * side) for side in image.size), *(round(0.97 * side) for side in image.size))
    ),
}


@pytest.fixture(scope="module")
def flowers(shared: Path) -> list[np.ndarray]:
    paths = sorted((shared / "data" / "flowers").rglob("*.jpg"))[::25]
    assert len(paths) == 40
    return [decode(path) for path in paths]


@pytest.mark.parametrize("change", CHANGES)
def test_copies_are_found_and_nothing_else(flowers: list[np.ndarray], change: str) -> None:
    copies = [decode(saved(CHANGES[change](Image.fromarray(pixels)))) for pixels in flowers]
    groups = near_groups([fingerprint(pixels) for pixels in [*flowers, *copies]])
    assert groups[:40].tolist() == list(range(40))
    found = (groups[40:] == np.arange(40)).mean()
    assert found == 1 if change != "borders" else found >= 0.9
    assert all(group in (index, 40 + index) for index, group in enumerate(groups[40:]))


def test_same_shape_in_other_colours_is_another_picture() -> None:
    rng = np.random.default_rng(0)
    pattern = np.kron(rng.integers(0, 2, (6, 6)), np.ones((20, 20), int))[..., None]
    red, blue = (
        np.where(pattern, colour, 30).astype(np.uint8) for colour in ([230, 30, 30], [30, 160, 230])
    )
    plain = [np.full((50, 50, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200))]
    assert near_groups([fingerprint(red), fingerprint(blue)]).tolist() == [0, 1]
    assert near_groups([fingerprint(entry) for entry in plain]).tolist() == [0, 1]
    assert near_groups([fingerprint(red), fingerprint(red[:, ::-1])]).tolist() == [0, 1]
    assert near_groups([fingerprint(red), fingerprint(red[::2, ::2])]).tolist() == [0, 0]


def test_black_is_no_copy_of_white() -> None:
    shades = [np.full((40, 40, 3), value, np.uint8) for value in (0, 90, 255)]
    assert near_groups([fingerprint(entry) for entry in shades]).tolist() == [0, 1, 2]


def test_groups_join_by_others() -> None:
    """Each is 30 bits from the next: near, while first and last are 60 apart."""
    bits = np.zeros((3, 192), np.uint8)
    bits[1, :30] = 1
    bits[2, :60] = 1
    chain = [Fingerprint(np.packbits(row).tobytes(), bytes(48)) for row in bits]
    assert near_groups(chain).tolist() == [0, 0, 0]
    assert near_groups([chain[0], chain[2]]).tolist() == [0, 1]
    assert near_groups([chain[2], chain[0], chain[1]]).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("bits", "near"), [(34, True), (35, False)])
def test_limit(bits: int, near: bool) -> None:
    other = np.zeros(192, np.uint8)
    other[:bits] = 1
    pair = [Fingerprint(bytes(24), bytes(48)), Fingerprint(np.packbits(other).tobytes(), bytes(48))]
    assert (near_groups(pair)[1] == 0) == near


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(count: int) -> None:
    assert near_groups([Fingerprint(bytes(24), bytes(48))] * count).tolist() == [0] * count


def test_blocks_find_what_all_pairs_do() -> None:
    """Across the borders of blocks, against every pair compared in plain Python."""
    rng = np.random.default_rng(1)
    words = [int.from_bytes(rng.bytes(18), "big") for _ in range(300)]
    words += [word ^ (1 << int(rng.integers(144))) for word in words]
    prints = [Fingerprint(word.to_bytes(18, "big") + bytes(6), bytes(48)) for word in words]
    expected = [
        min(other for other in range(600) if (words[other] ^ words[index]).bit_count() <= 34)
        for index in range(600)
    ]
    assert near_groups(prints).tolist() == expected


def test_many_identical_ones_take_no_longer_than_different_ones() -> None:
    rng = np.random.default_rng(2)
    different = [Fingerprint(rng.bytes(18) + bytes(6), rng.bytes(48)) for _ in range(4000)]
    seconds = []
    for prints in (different, different[:1] * 4000):
        started = time.perf_counter()
        groups = near_groups(prints)
        seconds.append(time.perf_counter() - started)
        assert len(set(groups.tolist())) == len(set(prints))
    assert seconds[1] < 20 * seconds[0]


def test_text_and_back() -> None:
    entry = fingerprint(np.random.default_rng(3).integers(0, 256, (30, 40, 3), np.uint8))
    assert Fingerprint.from_hex(entry.to_hex()) == entry


def saved(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=40)
    return buffer.getvalue()
