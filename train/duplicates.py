"""Photos that show the same: a fingerprint for each, and the groups whose fingerprints are close.

A fingerprint is a perceptual hash of the brightness pattern and a coarse picture of the colours.
Kind and limits were chosen by measuring on 1,000 photos of flowers and on near copies of each:

| true copies found         | phash 144 bits, both limits | 64 bits, <= 10 | dhash 256 bits, <= 49 |
|---------------------------|-----------------------------|----------------|-----------------------|
| JPEG again at quality 40  | 100 %                       | 100 %          | 100 %                 |
| resized to 60 %           | 100 %                       | 100 %          | 100 %                 |
| brightness + 15 %, - 15 % | 99.9 %, 100 %               | 100 %, 100 %   | 99.8 %, 99.9 %        |
| borders of 3 % cut off    | 97.4 %                      | 91.3 %         | 70.0 %                |

Of the 499,500 pairs of different files these limits join 4, which are the same scene to the eye;
64 bits join 5 within 10, and 42 within 14, where they find borders as well; average and wavelet
hashes join hundreds. On 79,800 pairs of ImageNet photos none is joined (borders found: 96.3 %).
The hash alone joins 10 of 244,650 pairs of synthetic images (the same shape on another ground)
and 31 of 4,005 pairs of drawn crosses and circles; with the colours it is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pocketlens.runtime.pictures import Pixels, resize
from pocketlens.workers import count_cores, map_ahead

# To be raised when `fingerprint` changes what it gives.
FINGERPRINT_VERSION = 1
# Of the 144 bits of a hash, how many may differ.
MAX_BITS = 34
# How far the colours of two photos may be apart: mean absolute difference, 0-255.
MAX_COLOUR = 10.0

_HASH_SIDE = 12
_HASH_WORDS = 3
# Fingerprints are taken from pictures of this size: twice the side of what the hash transforms
# (12 x 4), four times that of the colours.
SIDE = 96
_COLOUR_SIDE = 4
# A darker or brighter copy is a copy, but black is no copy of white.
_MAX_GAIN = 2.0
# Photos whose channels differ by less are compared by brightness only.
_GREY = 6.0
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Rows of the comparison at a time: 64 x 20,000 photos take 30 MB, and more rows are no faster.
_BLOCK = 64


@dataclass(frozen=True)
class Fingerprint:
    """What is compared: 144 bits, packed (24 bytes, zeros at the end), and 4x4 RGB (48 bytes)."""

    bits: bytes
    colours: bytes

    def to_hex(self) -> str:
        """Return it as text."""
        return (self.bits + self.colours).hex()

    @classmethod
    def from_hex(cls, text: str) -> Fingerprint:
        """Return what `to_hex` made text of; ValueError where it made no such text."""
        data = bytes.fromhex(text)
        if len(data) != 8 * _HASH_WORDS + 3 * _COLOUR_SIDE**2:
            raise ValueError(f"a fingerprint of {len(data)} bytes")
        return cls(data[: 8 * _HASH_WORDS], data[8 * _HASH_WORDS :])


def fingerprint(pixels: Pixels) -> Fingerprint:
    """Return the fingerprint of a photo, uint8 (height, width, 3) RGB; SIDE by SIDE is enough."""
    small = resize(pixels, (SIDE, SIDE))
    bits = np.packbits(imagehash.phash(Image.fromarray(small), _HASH_SIDE).hash)
    cell = SIDE // _COLOUR_SIDE
    colours = small.reshape(_COLOUR_SIDE, cell, _COLOUR_SIDE, cell, 3).mean(axis=(1, 3))
    return Fingerprint(
        bits.tobytes().ljust(8 * _HASH_WORDS, b"\0"), np.rint(colours).astype(np.uint8).tobytes()
    )


class NearCopies:
    """Fingerprints ready to be compared: which of them are near copies of which."""

    def __init__(self, fingerprints: Sequence[Fingerprint]) -> None:
        self._count = len(fingerprints)
        bits = np.frombuffer(b"".join(entry.bits for entry in fingerprints), np.uint64)
        self._bits = bits.reshape(self._count, _HASH_WORDS)
        colours = np.frombuffer(b"".join(entry.colours for entry in fingerprints), np.uint8)
        self._colours = colours.reshape(self._count, -1, 3).astype(np.float32)

    def of(self, index: int) -> NDArray[np.int64]:
        """Return the indices of the near copies of one photo, without its own."""
        near = self._near_bits(slice(index, index + 1), slice(None))[0]
        near[index] = False
        return self._near_colours(index, np.flatnonzero(near))

    def groups(self) -> NDArray[np.int64]:
        """Return int64 (N,), as `near_groups` does."""
        groups = np.arange(self._count)

        def near_rows(start: int) -> NDArray[np.bool_]:
            near = self._near_bits(slice(start, start + _BLOCK), slice(start, None))
            return np.triu(near, k=1)

        cores = count_cores()
        starts = range(0, self._count, _BLOCK)
        for start, near in zip(starts, map_ahead(near_rows, starts, cores, 2 * cores), strict=True):
            for row in np.flatnonzero(near.any(axis=1)):
                one = start + int(row)
                others = start + np.flatnonzero(near[row])
                # Those already joined need no second look; in a long burst these are nearly all.
                others = self._near_colours(one, others[groups[others] != groups[one]])
                if len(others):
                    joined = np.append(groups[others], groups[one])
                    groups[np.isin(groups, joined)] = joined.min()
        return groups

    def _near_bits(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        one, others = self._bits[rows], self._bits[columns]
        distance = np.zeros((len(one), len(others)), np.uint8)
        for word in range(_HASH_WORDS):
            distance += np.bitwise_count(one[:, word, None] ^ others[None, :, word])
        near: NDArray[np.bool_] = distance <= MAX_BITS
        return near

    def _near_colours(self, one: int, others: NDArray[np.int64]) -> NDArray[np.int64]:
        apart = _colour_distance(self._colours[one], self._colours[others])
        return others[apart <= MAX_COLOUR]


def near_groups(fingerprints: Sequence[Fingerprint]) -> NDArray[np.int64]:
    """Return int64 (N,): the same number for photos that are near copies, directly or by others.

    The number is the lowest index in the group. All pairs are compared;
    the 200 million of 20,000 photos take a second or two.
    """
    return NearCopies(fingerprints).groups() if len(fingerprints) else np.arange(0)


def _colour_distance(one: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (N,) for colours (cells, 3) and (N, cells, 3), brought to the same brightness."""
    grey = (np.ptp(others, axis=-1).max(axis=-1) < _GREY) | (np.ptp(one, axis=-1).max() < _GREY)
    first = np.where(grey[:, None, None], (one @ _LUMA)[None, :, None], one[None])
    second = np.where(grey[:, None, None], (others @ _LUMA)[..., None], others)
    means = first.mean(axis=(1, 2)), second.mean(axis=(1, 2))
    gain = np.clip(np.maximum(means[0], 1) / np.maximum(means[1], 1), 1 / _MAX_GAIN, _MAX_GAIN)
    # Half of the gain on each side, so that the order of the two does not matter.
    half = np.sqrt(gain)[:, None, None]
    apart: NDArray[np.float32] = np.abs(first / half - second * half).mean(axis=(1, 2))
    return apart
