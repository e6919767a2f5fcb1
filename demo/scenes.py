"""Rendered training photos: a card in a random scene, or a scene without one."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from pocketlens.demo.backdrops import Picture, Range, backdrop, pixel_unit
from pocketlens.demo.camera import blurred, compressed, expose, random_light
from pocketlens.demo.cards import LABELS, NOTHING
from pocketlens.demo.clutter import add_thing, skin_colour
from pocketlens.demo.placement import (
    Corners,
    Finger,
    Pose,
    Print,
    cast_shadow,
    draw_finger,
    paste_card,
)

CARD_HEIGHTS: Final[Range] = (0.62, 1.05)
"""Height of a card that faces the camera, as a share of the picture's shorter side."""

_THING_SIZES: Final[Range] = (0.35, 1.0)
# How much of a card's width or height may lie beyond the edge of the picture.
_MOST_OUTSIDE: Final = 0.07


def render(
    label_index: int, rng: np.random.Generator, size_wh: tuple[int, int] = (96, 96)
) -> Picture:
    """Render one picture.

    Args:
        label_index: an index into `LABELS`: a card, or the last one for a scene without a card.
        rng: the source of every choice; the same state gives the same picture.
        size_wh: width and height of the picture in pixels.

    Returns:
        (h, w, 3) uint8 RGB. At least about 70 % of the card is to be seen.

    Raises:
        ValueError: if there is no such label.
    """
    if not 0 <= label_index < len(LABELS):
        raise ValueError(f"no label {label_index}; there are {len(LABELS)}")
    picture = backdrop(rng, size_wh)
    detail = 1.0
    if LABELS[label_index] == NOTHING:
        for _ in range(int(rng.choice((0, 1, 2, 3), p=(0.15, 0.45, 0.25, 0.15)))):
            add_thing(picture, rng, _THING_SIZES)
    else:
        for _ in range(int(rng.choice((0, 1, 2), p=(0.5, 0.3, 0.2)))):
            add_thing(picture, rng, _THING_SIZES)
        pose = random_pose(rng, size_wh)
        picture = _with_card(picture, label_index, pose.corners_xy(), rng)
        # A small card would not survive the blur that a large one does.
        detail = min(1.0, 1.4 * pose.height_px / min(size_wh))
    picture = blurred(picture, rng, detail)
    noise = rng.uniform(1.0, 6.0) * min(1.0, detail)
    light = random_light(rng, size_wh)
    picture = expose(picture, light, rng.uniform(0.8, 1.15), noise, rng)
    if rng.random() < 0.3:
        picture = compressed(picture, int(rng.integers(40, 95)))
    return picture


def render_many(
    count: int, seed: int, size_wh: tuple[int, int] = (96, 96), processes: int = 1
) -> tuple[Picture, npt.NDArray[np.int64]]:
    """Render many pictures, as many of each label as of the others (give or take one), shuffled.

    Args:
        count: how many.
        seed: 0 or more; it alone decides what is in the pictures.
        size_wh: width and height of the pictures in pixels.
        processes: how many to render at once, in threads of this process, so that it is safe
            beside libraries that do not survive a fork.

    Returns:
        The pictures, (count, h, w, 3) uint8 RGB, and their labels, (count,) int64.

    Raises:
        ValueError: if count or seed is negative, or processes is less than 1.
    """
    if count < 0 or seed < 0 or processes < 1:
        raise ValueError(
            f"count ({count}) and seed ({seed}) must not be negative, "
            f"processes ({processes}) must be positive"
        )
    width, height = size_wh
    labels = np.arange(count, dtype=np.int64) % len(LABELS)
    np.random.default_rng(seed).shuffle(labels)
    pixels = np.empty((count, height, width, 3), np.uint8)

    def fill(start: int) -> None:
        for index in range(start, count, processes):
            # A generator of its own for every picture, so that the threads do not matter.
            rng = np.random.default_rng((seed, index))
            pixels[index] = render(int(labels[index]), rng, size_wh)

    # Sharing out a picture as small as these among OpenCV's own threads takes longer than it saves.
    usual_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(processes) as threads:
            list(threads.map(fill, range(processes)))
    finally:
        cv2.setNumThreads(usual_threads)
    return pixels, labels


def random_pose(rng: np.random.Generator, size_wh: tuple[int, int]) -> Pose:
    """A card's pose at which nearly all of it is inside a picture of the given size."""
    width, height = size_wh
    pose = Pose(
        centre_xy=(0.0, 0.0),
        height_px=rng.uniform(*CARD_HEIGHTS) * min(size_wh),
        roll=rng.uniform(-35, 35),
        pitch=rng.uniform(-30, 30),
        yaw=rng.uniform(-30, 30),
        aspect=float(np.exp(rng.uniform(np.log(0.7), np.log(1.35)))),
    )
    corners = pose.corners_xy()
    extent = np.ptp(corners, axis=0)
    allowed = extent * (1 - 2 * _MOST_OUTSIDE)
    shrink = min(1.0, float((np.array(size_wh) / allowed).min()))
    low = -shrink * (corners.min(axis=0) + _MOST_OUTSIDE * extent)
    high = np.array([width, height]) - shrink * (corners.max(axis=0) - _MOST_OUTSIDE * extent)
    # Rather in the middle than at the edge, as a card is shown to a camera.
    x, y = low + rng.beta(2.5, 2.5, 2) * (high - low)
    return replace(pose, centre_xy=(float(x), float(y)), height_px=pose.height_px * shrink)


def random_print(rng: np.random.Generator) -> Print:
    """How a card was printed: now and then grey, on paper that is not quite white."""
    shade = rng.uniform(0.82, 1.02)
    red, green, blue = shade * rng.normal(1, 0.015, 3)
    return Print(
        ink=rng.uniform(0.85, 1.0),
        grey=bool(rng.random() < 0.08),
        paper_rgb=(float(red), float(green), float(blue)),
    )


def random_fingers(rng: np.random.Generator) -> list[Finger]:
    """The fingers that hold a card: none, one, or two of the same hand or of two hands."""
    skin = skin_colour(rng)
    # Seldom from above: a card is held from below or at its sides.
    edges = rng.choice(4, int(rng.choice((0, 1, 2), p=(0.5, 0.3, 0.2))), p=(0.1, 0.25, 0.4, 0.25))
    return [
        Finger(
            edge=int(edge),
            along=rng.uniform(0.15, 0.85),
            depth=rng.uniform(0.12, 0.34),
            width=rng.uniform(0.15, 0.26),
            lean=rng.uniform(-0.7, 0.7),
            skin=skin,
        )
        for edge in edges
    ]


def _with_card(
    picture: Picture, label_index: int, corners_xy: Corners, rng: np.random.Generator
) -> Picture:
    height, width = picture.shape[:2]
    if rng.random() < 0.6:
        x, y = rng.uniform(-6, 6, 2) * pixel_unit((width, height))
        picture = cast_shadow(picture, corners_xy, (x, y), rng.uniform(0.15, 0.55))
    picture = paste_card(picture, label_index, corners_xy, random_print(rng))
    for finger in random_fingers(rng):
        draw_finger(picture, corners_xy, finger)
    return picture
