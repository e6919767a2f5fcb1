"""Augmentation of training photos: what a camera would also have seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# Makes a colour grey, of the same brightness (ITU-R BT.601).
_GREY = np.tile([0.299, 0.587, 0.114], (3, 1))
# The cross product with the unit vector of grey.
_AXIS = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)


@dataclass(frozen=True)
class Ranges:
    """How far a photo may be changed; each change is drawn evenly from plus or minus its range.

    `rotation_degrees` turns, `zoom` is a share of the size, `shift` of the width and height,
    `brightness` of white, `contrast` and `saturation` of what they were, `hue_degrees` turns the
    colours around grey.
    """

    rotation_degrees: float
    zoom: float
    shift: float
    brightness: float
    contrast: float
    saturation: float = 0.0
    hue_degrees: float = 0.0


# "light" is what the measured accuracy in the README was reached with.
PRESETS: dict[str, Ranges | None] = {
    "none": None,
    "light": Ranges(15, 0.15, 0.08, 0.15, 0.2),
    "strong": Ranges(30, 0.3, 0.15, 0.25, 0.4, 0.4, 10),
}


def augment(
    pixels: NDArray[np.uint8], rng: np.random.Generator, ranges: Ranges, *, flip: bool = True
) -> NDArray[np.uint8]:
    """Change each picture of a batch at random, with one resampling and one change of colours.

    Bytes in and bytes out: a fifth of the work of the same on floats, and the processor's cores
    belong to the training step.

    Args:
        pixels: uint8 (batch, height, width, 3), RGB.
        rng: where chance comes from.
        ranges: how far.
        flip: mirror half of the pictures left to right; not for signs and letters.

    Returns:
        uint8 (batch, height, width, 3).
    """
    size_wh = (pixels.shape[2], pixels.shape[1])
    movements = _movements(len(pixels), size_wh, ranges, rng, flip=flip)
    mixes, contrasts, brightnesses = _colours(len(pixels), ranges, rng)
    changed = np.empty_like(pixels)
    for index, picture in enumerate(pixels):
        moved = cv2.warpAffine(
            picture,
            movements[index],
            size_wh,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        # Contrast leaves the mean colour where it is.
        offset = (1 - contrasts[index]) * np.array(cv2.mean(moved)[:3]) + brightnesses[index]
        colours = np.column_stack([mixes[index], offset])
        cv2.transform(moved, colours, dst=changed[index])
    return changed


def _movements(
    count: int, size_wh: tuple[int, int], ranges: Ranges, rng: np.random.Generator, *, flip: bool
) -> NDArray[np.float64]:
    """Return (count, 2, 3): affine maps from a pixel of the result to one of the photo."""
    angle = np.radians(rng.uniform(-1, 1, count) * ranges.rotation_degrees)
    zoom = 1 + rng.uniform(-1, 1, count) * ranges.zoom
    shift = rng.uniform(-1, 1, (count, 2)) * ranges.shift * size_wh
    mirror = np.where((rng.random(count) < 0.5) & flip, -1.0, 1.0)
    cosine, sine = np.cos(angle) * zoom, np.sin(angle) * zoom
    turn = np.array([[cosine * mirror, -sine], [sine * mirror, cosine]]).transpose(2, 0, 1)
    centre = (np.array(size_wh) - 1) / 2
    return np.concatenate([turn, (centre - turn @ centre + shift)[..., None]], axis=2)


def _colours(
    count: int, ranges: Ranges, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return (count, 3, 3) mixes of red, green and blue, (count,) contrasts and brightnesses."""
    brightness = rng.uniform(-1, 1, count) * ranges.brightness * 255
    contrast = 1 + rng.uniform(-1, 1, count) * ranges.contrast
    saturation = 1 + rng.uniform(-1, 1, (count, 1, 1)) * ranges.saturation
    hue = np.radians(rng.uniform(-1, 1, (count, 1, 1)) * ranges.hue_degrees)
    # A turn around the grey axis (Rodrigues' formula), then towards or away from grey.
    turn = np.eye(3) * np.cos(hue) + _AXIS * np.sin(hue) + (1 - np.cos(hue)) / 3
    mix = (_GREY + saturation * (np.eye(3) - _GREY)) @ turn
    return contrast[:, None, None] * mix, contrast, brightness
