"""Procedural backgrounds: walls, cloth, wood, bricks, rooms, lights, shelves, print, people."""

import colorsys
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]
Colour = tuple[int, int, int]
Range = tuple[float, float]


def backdrop(rng: np.random.Generator, size_wh: tuple[int, int]) -> Picture:
    """Draw one background of a random family, often a little out of focus.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    picture = _FAMILIES[int(rng.integers(len(_FAMILIES)))](rng, size_wh)
    if rng.random() < 0.5:
        sigma = rng.uniform(0.4, 2.5) * pixel_unit(size_wh)
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)
    return picture


def pixel_unit(size_wh: tuple[int, int]) -> float:
    """How many pixels of this picture make one pixel of a picture whose shorter side is 96."""
    return min(size_wh) / 96


def random_colour(
    rng: np.random.Generator, saturation: Range = (0.0, 0.45), value: Range = (0.15, 0.95)
) -> Colour:
    """A colour of any hue, as RGB from 0 to 255; saturation and value are ranges within 0 to 1."""
    hue, part_s, part_v = rng.random(3)
    red, green, blue = colorsys.hsv_to_rgb(
        hue,
        saturation[0] + part_s * (saturation[1] - saturation[0]),
        value[0] + part_v * (value[1] - value[0]),
    )
    return int(255 * red), int(255 * green), int(255 * blue)


def smooth_field(
    rng: np.random.Generator, size_wh: tuple[int, int], cells_wh: tuple[int, int]
) -> Field:
    """Random values, mostly from 0 to 1, that vary smoothly between cells: (h, w) float32."""
    cells = rng.random((cells_wh[1], cells_wh[0]), np.float32)
    return np.asarray(cv2.resize(cells, size_wh, interpolation=cv2.INTER_CUBIC), np.float32)


def _mix(first: Colour, second: Colour, share: Field) -> Picture:
    start = np.array(first, np.float64)
    ramp = np.stack([np.array(second) - start, start], axis=1)
    return np.asarray(cv2.transform(np.clip(share, 0, 1), ramp), np.float32).astype(np.uint8)


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, int(part * factor)) for part in colour)
    return red, green, blue


def _gradient(rng: np.random.Generator, size_wh: tuple[int, int]) -> Picture:
    base = random_colour(rng)
    corners = np.clip(np.array(base) + rng.normal(0, 35, (2, 3, 3)), 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(corners, size_wh, interpolation=cv2.INTER_CUBIC), np.uint8)


def _clouds(rng: np.random.Generator, size_wh: tuple[int, int]) -> Picture:
    share = 0.5 * smooth_field(rng, size_wh, (3, 3))
    share += 0.3 * smooth_field(rng, size_wh, (9, 9))
    share += rng.uniform(0.05, 0.4) * smooth_field(rng, size_wh, (32, 32))
    return _mix(random_colour(rng), random_colour(rng), share)


def _wood(rng: np.random.Generator, size_wh: tuple[int, int]) -> Picture:
    lengthwise = rng.random() < 0.5
    length_wh = size_wh if lengthwise else (size_wh[1], size_wh[0])
    share = 0.6 * smooth_field(rng, length_wh, (3, int(rng.integers(12, 40))))
    share += 0.4 * smooth_field(rng, length_wh, (2, 5))
    for seam in rng.uniform(0, length_wh[1], int(rng.integers(0, 5))):
        share[int(seam) : int(seam + pixel_unit(size_wh)) + 1] -= 0.6
    tone = rng.uniform(0.5, 1.2)
    dark, light = _shade((105, 62, 32), tone), _shade((190, 140, 90), tone)
    return _mix(dark, light, share if lengthwise else np.ascontiguousarray(share.T))


def _cloth(rng: np.random.Generator, size_wh: tuple[int, int]) -> Picture:
    width, height = size_wh
    period = rng.uniform(4, 22) * pixel_unit(size_wh)
    slope, phase = rng.uniform(-0.5, 0.5), rng.uniform(0, period)
    x = np.arange(width, dtype=np.float32)
    y = np.arange(height, dtype=np.float32)[:, None]
    along = ((x + slope * y + phase) % period < 0.5 * period).astype(np.float32)
    across = ((y - slope * x + phase) % period < 0.5 * period).astype(np.float32)
    weight = rng.choice([0.0, 0.5, 1.0])
    share = np.asarray(weight * along + (1 - weight) * across, np.float32)
    return _mix(random_colour(rng), random_colour(rng), share)


def _bricks(rng: np.random.Generator, size_wh: tuple[int, int]) -> Picture:
    unit = pixel_unit(size_wh)
    brick_h = max(4, int(rng.uniform(7, 24) * unit))
    brick_w = int(brick_h * rng.uniform(1.0, 2.6))
    joint = max(1, int(rng.uniform(0.8, 2.2) * unit))
    y = np.arange(size_wh[1]) + int(rng.integers(brick_h))
    row = y // brick_h
    shift = brick_w // 2 if rng.random() < 0.7 else 0
    x = np.arange(size_wh[0]) + shift * (row[:, None] % 2)
    columns = x // brick_w
    tones = rng.uniform(0.0, 0.6, (int(row[-1]) + 1, int(columns.max()) + 1)).astype(np.float32)
    share = tones[row[:, None], columns]
    share[y % brick_h < joint] = 1.0
    share[x % brick_w < joint] = 1.0
    base = random_colour(rng, (0.1, 0.6), (0.3, 0.8))
    return _mix(base, random_colour(rng, (0.0, 0.2)), share)


def _lights(rng: np.random.Generator, size_wh: tuple[int, int]) -> Picture:
    unit = pixel_unit(size_wh)
    picture = np.empty((size_wh[1], size_wh[0], 3), np.uint8)
    picture[:] = random_colour(rng, (0.0, 0.5), (0.05, 0.6))
    for x, y, radius in rng.random((int(rng.integers(6, 22)), 3)):
        cv2.circle(
            picture,
            (int(x * size_wh[0]), int(y * size_wh[1])),
            int((3 + 12 * radius) * unit),
            random_colour(rng, (0.0, 0.7), (0.2, 1.0)),
            -1,
        )
    sigma = rng.uniform(1.0, 4.0) * unit
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


def _room(rng: np.random.Generator, size_wh: tuple[int, int]) -> Picture:
    width, height = size_wh
    picture = _gradient(rng, size_wh)
    floor = int(height * rng.uniform(0.55, 0.95))
    picture[floor:] = random_colour(rng, (0.0, 0.6), (0.1, 0.7))
    for x, y, part_w, part_h in rng.random((int(rng.integers(2, 6)), 4)):
        left, bottom = int((1.2 * x - 0.2) * width), int(floor + (y - 0.7) * 0.5 * height)
        right, top = (
            left + int((0.1 + 0.4 * part_w) * width),
            bottom - int((0.15 + 0.6 * part_h) * height),
        )
        colour = random_colour(rng, (0.0, 0.6), (0.1, 1.0))
        cv2.rectangle(picture, (left, top), (right, bottom), colour, -1)
        if part_h < 0.6:
            frame = random_colour(rng, (0.0, 0.4), (0.1, 1.0))
            thickness = max(1, int(rng.uniform(1, 3) * pixel_unit(size_wh)))
            cv2.rectangle(picture, (left, top), (right, bottom), frame, thickness)
    return picture


def _bookshelf(rng: np.random.Generator, size_wh: tuple[int, int]) -> Picture:
    width, height = size_wh
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = random_colour(rng, (0.1, 0.5), (0.1, 0.5))
    shelf_h = int(height * rng.uniform(0.3, 0.6))
    board = max(2, int(3 * pixel_unit(size_wh)))
    bottom = int(rng.uniform(0.3, 1.0) * shelf_h)
    while bottom - shelf_h < height:
        x = 0
        while x < width:
            part_w, part_h = rng.random(2)
            right = x + max(2, int((2 + 9 * part_w) * pixel_unit(size_wh)))
            top = bottom - int(shelf_h * (0.6 + 0.35 * part_h))
            colour = random_colour(rng, (0.1, 0.7), (0.1, 0.9))
            cv2.rectangle(picture, (x, top), (right - 1, bottom - board), colour, -1)
            x = right
        bottom += shelf_h
    return picture


def _print(rng: np.random.Generator, size_wh: tuple[int, int]) -> Picture:
    width, height = size_wh
    unit = pixel_unit(size_wh)
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = random_colour(rng, (0.0, 0.2), (0.5, 1.0))
    ink = random_colour(rng, (0.0, 0.7), (0.0, 0.5))
    step = rng.uniform(3.5, 10) * unit
    thickness = max(1, int(0.4 * step))
    slope = rng.uniform(-0.4, 0.4)
    for y in np.arange(-0.3 * height, 1.3 * height, step):
        start, end = rng.uniform(-0.1, 0.2) * width, rng.uniform(0.4, 1.1) * width
        first = (int(start), int(y + slope * start))
        cv2.line(picture, first, (int(end), int(y + slope * end)), ink, thickness, cv2.LINE_AA)
    return picture


def _person(rng: np.random.Generator, size_wh: tuple[int, int]) -> Picture:
    width, height = size_wh
    picture = _room(rng, size_wh) if rng.random() < 0.5 else _gradient(rng, size_wh)
    head_h = rng.uniform(0.16, 0.3) * height
    x, y = rng.uniform(0.25, 0.75) * width, rng.uniform(0.25, 0.5) * height
    centre = (int(x), int(y))
    skin = _shade((225, 175, 145), rng.uniform(0.35, 1.1))
    clothes = random_colour(rng, (0.0, 0.8), (0.1, 0.9))
    hair = _shade((110, 80, 55), rng.uniform(0.2, 1.8))
    shoulders = (int(x), int(y + 3.0 * head_h))
    axes = (int(1.9 * head_h), int(1.9 * head_h))
    cv2.ellipse(picture, shoulders, axes, 0, 0, 360, clothes, -1, cv2.LINE_AA)
    above = (int(x), int(y - 0.2 * head_h))
    hair_axes = (int(0.85 * head_h), int(rng.uniform(0.95, 1.3) * head_h))
    cv2.ellipse(picture, above, hair_axes, 0, 0, 360, hair, -1, cv2.LINE_AA)
    cv2.ellipse(picture, centre, (int(0.7 * head_h), int(head_h)), 0, 0, 360, skin, -1, cv2.LINE_AA)
    return picture


_FAMILIES: Final[tuple[Callable[[np.random.Generator, tuple[int, int]], Picture], ...]] = (
    _gradient,
    _clouds,
    _wood,
    _cloth,
    _bricks,
    _lights,
    _room,
    _bookshelf,
    _print,
    _person,
)
