"""Augmentation of training photos: what a camera would also have seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# The weights of red, green and blue in the brightness of a pixel (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114])


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
    changed = np.empty_like(pixels)
    for picture, target in zip(pixels, changed, strict=True):
        moved = cv2.warpAffine(
            picture,
            _movement(size_wh, ranges, rng, flip=flip),
            size_wh,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        cv2.transform(moved, _colours(cv2.mean(moved)[:3], ranges, rng), dst=target)
    return changed


def _movement(
    size_wh: tuple[int, int], ranges: Ranges, rng: np.random.Generator, *, flip: bool
) -> NDArray[np.float64]:
    """Return (2, 3): the affine map from a pixel of the result to one of the photo."""
    angle = math.radians(rng.uniform(-1, 1) * ranges.rotation_degrees)
    zoom = 1 + rng.uniform(-1, 1) * ranges.zoom
    shift = rng.uniform(-1, 1, 2) * ranges.shift * size_wh
    mirror = -1.0 if rng.random() < 0.5 and flip else 1.0
    cosine, sine = math.cos(angle) * zoom, math.sin(angle) * zoom
    turn = np.array([[cosine * mirror, -sine], [sine * mirror, cosine]])
    centre = (np.array(size_wh) - 1) / 2
    return np.column_stack([turn, centre - turn @ centre + shift])


def _colours(
    mean_rgb: tuple[float, ...], ranges: Ranges, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return (3, 4): the affine map of a pixel's colours; contrast is around the mean."""
    brightness = rng.uniform(-1, 1) * ranges.brightness * 255
    contrast = 1 + rng.uniform(-1, 1) * ranges.contrast
    saturation = 1 + rng.uniform(-1, 1) * ranges.saturation
    hue = math.radians(rng.uniform(-1, 1) * ranges.hue_degrees)
    # A turn around the grey axis (Rodrigues' formula), then towards or away from grey.
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    turn = np.eye(3) * math.cos(hue) + cross * math.sin(hue) + (1 - math.cos(hue)) / 3
    grey = np.tile(_LUMA, (3, 1))
    mix = contrast * (grey + saturation * (np.eye(3) - grey)) @ turn
    return np.column_stack([mix, (1 - contrast) * np.array(mean_rgb) + brightness])
