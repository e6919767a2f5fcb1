"""What is known of a class's photos before anything is trained: enough, and different enough?

Kinds and limits were measured, in pictures of the size that networks see: on 5 × 120 photos of
flowers, on the same blurred, and on the frames of each card in the demo's videos, whose camera
stands still before one scene.

| number                                | photos of flowers   | video          | blurred |
|---------------------------------------|---------------------|----------------|---------|
| border colours apart, median of pairs | 42 to 50            | 2 to 20        |         |
| standard deviation of log brightness  | 0.35 to 0.45        | 0.00 to 0.05   |         |
| sharpness, median (1st percentile)    | -1.5 to -0.8 (-2.4) | -1.7 to -1.4   | -2.8    |

Blurred is by a Gaussian with a standard deviation of 1/96 of the shorter side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from pocketlens.runtime.pictures import Pixels
from pocketlens.runtime.shift import picture_numbers

ENOUGH_PHOTOS = 40
"""From so many photos a class a first training is worth its time."""

# Measured with the features of MobileNetV2 (ImageNet) and logistic regression on five classes of
# flowers, ten draws each: 5 photos a class 0.69, 10 0.76, 20 0.82, 30 0.83, 40 0.85, 50 0.86,
# 80 0.87, 130 0.89, on 300 others.
WHY_ENOUGH = (
    "Of five kinds of flowers, a model got 76 % right with 10 photos of each, 85 % with 40, 89 % "
    "with 130."
)
"""Why that many, as a sentence."""

ENOUGH_OCCASIONS = 3
"""On so many occasions they should have been taken: those of one show one scene and one light."""

# Photos that were taken within so many seconds of each other are of one occasion.
_OCCASION_S = 20.0
# Of fewer photos nothing is said of what is the same in all.
_LEAST_PHOTOS = 12
# Of so many last photos blur is said, so that the warning goes when the lens is clean.
_LAST_PHOTOS = 20
_BLURRED_SHARE = 1 / 3

_SAME_BACKGROUND = 25.0
_SAME_LIGHT = 0.1
_BLURRED = -2.5

_SIDE = 224
_CELLS = 8
# A darker background is the same one, but black is not the same as white.
_MOST_GAIN = 1.4
# All pairs of 120 photos would take longer than the photo.
_LAST_PAIRS = 24


@dataclass(frozen=True)
class Traits:
    """What is compared of a photo.

    `at_s` is when it was taken, seconds since 1970, None where nothing says it; `brightness` and
    `sharpness` are those of `shift.picture_numbers`; `border` has the colours along its border,
    float32 (28, 3), BGR, 0 to 255.
    """

    at_s: float | None
    brightness: float
    sharpness: float
    border: NDArray[np.float32]


@dataclass(frozen=True)
class Advice:
    """What is said of a class: whether it has enough to begin, a sentence on it, and warnings."""

    enough: bool = False
    text: str = ""
    warnings: tuple[str, ...] = ()


def traits_of(frame_bgr: Pixels, at_s: float | None = None) -> Traits:
    """Return what is compared of a photo, uint8 (height, width, 3) BGR, and when it was taken."""
    small = cv2.resize(frame_bgr, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    numbers = picture_numbers(np.ascontiguousarray(small[..., ::-1], np.uint8))
    cells = cv2.resize(small, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA).astype(np.float32)
    edge = np.ones((_CELLS, _CELLS), np.bool_)
    edge[1:-1, 1:-1] = False
    return Traits(at_s, numbers["brightness"], numbers["sharpness"], cells[edge])


def advise(photos: Sequence[Traits], count: int) -> Advice:
    """Return what is to be said of a class.

    Args:
        photos: its last photos, in the order in which they were kept.
        count: how many it has in all.
    """
    occasions = count_occasions(photos)
    enough = count >= ENOUGH_PHOTOS and occasions >= ENOUGH_OCCASIONS
    if not count:
        text = f"No photos yet. About {ENOUGH_PHOTOS} are enough to begin."
    elif count < ENOUGH_PHOTOS:
        text = f"{ENOUGH_PHOTOS - count} more until it is enough to begin."
    elif not enough:
        more = ENOUGH_OCCASIONS - occasions
        text = (
            f"Enough photos, but from {_counted(occasions, 'recording')}: take some on "
            f"{_counted(more, 'other occasion')}, with another place, light or example."
        )
    else:
        text = f"Enough to begin: {count} photos on {_counted(occasions, 'occasion')}."
    return Advice(enough, text, tuple(_warnings(photos)))


def count_occasions(photos: Sequence[Traits]) -> int:
    """Return on how many occasions photos were taken; one without a time is one by itself."""
    times = sorted(photo.at_s for photo in photos if photo.at_s is not None)
    gaps = sum(later - earlier > _OCCASION_S for earlier, later in pairwise(times))
    return len(photos) - len(times) + gaps + bool(times)


def background_distances(photos: Sequence[Traits]) -> NDArray[np.float32]:
    """Return how far the borders of each two photos are apart, 0 to 255, at the same brightness.

    Returns:
        float32 (pairs,), in the order of `itertools.combinations`.
    """
    borders = np.stack([photo.border for photo in photos])
    one, other = np.triu_indices(len(photos), k=1)
    means = np.maximum(borders.mean(axis=(1, 2)), 1)
    ratio = np.clip(means[one] / means[other], 1 / _MOST_GAIN, _MOST_GAIN)
    # Half of the gain on each side, so that the order of the two does not matter.
    gain = np.sqrt(ratio)[:, None, None]
    apart = np.abs(borders[one] / gain - borders[other] * gain).mean(axis=2)
    # The median: what stands before the background may reach the border.
    distances: NDArray[np.float32] = np.median(apart, axis=1)
    return distances


def _warnings(photos: Sequence[Traits]) -> list[str]:
    warnings = []
    if len(photos) >= _LEAST_PHOTOS:
        # Spread over all of them, since neighbours are alike anyway.
        step = max(1, len(photos) // _LAST_PAIRS)
        if float(np.median(background_distances(photos[::step]))) < _SAME_BACKGROUND:
            warnings.append(
                "One background in nearly all photos. The model may learn it instead: move the "
                "camera or go to another place."
            )
        if float(np.std([photo.brightness for photo in photos])) < _SAME_LIGHT:
            warnings.append(
                "The same light in all photos. Take some by day and by lamp, brighter and darker."
            )
        last = photos[-_LAST_PHOTOS:]
        blurred = sum(photo.sharpness < _BLURRED for photo in last)
        if blurred > _BLURRED_SHARE * len(last):
            warnings.append(
                f"{blurred} of the last {len(last)} photos are blurred. Clean the lens, look at "
                "the focus, or hold it still."
            )
    return warnings


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
