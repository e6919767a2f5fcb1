"""Things that are no card: sheets, blank cards, books, screens, mugs, pens, hands."""

import math
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from pocketlens.demo.backdrops import Colour, Picture, Range, random_colour

# Coordinates are handed to OpenCV in sixteenths of a pixel, which keeps edges smooth.
SUBPIXEL_BITS: Final = 4


def add_thing(picture: Picture, rng: np.random.Generator, relative_size: Range) -> None:
    """Draw one random thing into the picture, in place.

    Args:
        picture: (h, w, 3) uint8 RGB.
        rng: the source of every choice.
        relative_size: least and greatest length of the thing, as shares of the shorter side.
    """
    height, width = picture.shape[:2]
    length = rng.uniform(*relative_size) * min(width, height)
    centre = np.array([rng.uniform(0.05, 0.95) * width, rng.uniform(0.05, 0.95) * height])
    frame = _Frame(picture, centre, length, math.radians(rng.uniform(-45, 45)))
    _THINGS[int(rng.integers(len(_THINGS)))](frame, rng)


def skin_colour(rng: np.random.Generator) -> Colour:
    """A skin colour from dark to light, as RGB from 0 to 255."""
    tone = rng.uniform(0.3, 1.05)
    red, green, blue = rng.normal((228, 172, 140), 8) * tone
    return int(min(red, 255)), int(min(green, 255)), int(min(blue, 255))


def subpixels(points_xy: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Pixel coordinates as whole numbers of 1 / 2**SUBPIXEL_BITS pixel, int32."""
    scaled = np.asarray(points_xy, np.float64) * (1 << SUBPIXEL_BITS)
    return np.rint(scaled).astype(np.int32)


class _Frame:
    """A turned coordinate frame in a picture: lengths are shares of the thing's length."""

    def __init__(
        self, picture: Picture, centre_xy: npt.NDArray[np.float64], length: float, turn: float
    ) -> None:
        self.picture = picture
        self.length = length
        self.centre_xy = centre_xy
        self.degrees = math.degrees(turn)
        cos, sin = math.cos(turn) * length, math.sin(turn) * length
        self.axes = np.array([[cos, sin], [-sin, cos]])

    def fill(self, points_xy: npt.ArrayLike, colour: Colour) -> None:
        points = subpixels(np.asarray(points_xy) @ self.axes + self.centre_xy)
        cv2.fillConvexPoly(self.picture, points, colour, cv2.LINE_AA, SUBPIXEL_BITS)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        self.fill(((left, top), (right, top), (right, bottom), (left, bottom)), colour)

    def line(self, start_xy: Range, end_xy: Range, width: float, colour: Colour) -> None:
        start, end = subpixels(np.array([start_xy, end_xy]) @ self.axes + self.centre_xy).tolist()
        thickness = max(1, round(width * self.length))
        cv2.line(self.picture, start, end, colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS)

    def oval(self, centre_xy: Range, axes: Range, colour: Colour) -> None:
        x, y = (np.array(centre_xy) @ self.axes + self.centre_xy).tolist()
        size = (int(axes[0] * self.length), int(axes[1] * self.length))
        cv2.ellipse(
            self.picture, (int(x), int(y)), size, self.degrees, 0, 360, colour, -1, cv2.LINE_AA
        )


def _paper(rng: np.random.Generator) -> Colour:
    return random_colour(rng, (0.0, 0.12), (0.8, 1.0))


def _sheet(frame: _Frame, rng: np.random.Generator) -> None:
    half = 0.5 * rng.uniform(0.55, 1.0)
    frame.box(-half, -0.5, half, 0.5, _paper(rng))
    ink = random_colour(rng, (0.0, 0.7), (0.0, 0.6))
    content = rng.random()
    top = -0.4
    if content < 0.35:
        # A photo or a block above the text.
        top = rng.uniform(-0.2, 0.1)
        frame.box(-0.8 * half, -0.42, 0.8 * half, top - 0.06, random_colour(rng, (0.1, 0.9)))
    if content < 0.75:
        step = rng.uniform(0.06, 0.12)
        for y in np.arange(top, 0.42, step):
            end = rng.uniform(-0.2, 0.82) * half
            frame.line((-0.82 * half, y), (end, y), 0.3 * step, ink)


def _blank_card(frame: _Frame, rng: np.random.Generator) -> None:
    # The card's own stock and border without a pictogram: the white rectangle alone says nothing.
    half = 0.5 * 5 / 7
    frame.box(-half, -0.5, half, 0.5, _paper(rng))
    border = random_colour(rng, (0.0, 1.0), (0.1, 0.9))
    x, y = half - 0.035, 0.465
    corners = [(-x, -y), (x, -y), (x, y), (-x, y)]
    for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
        frame.line(start, end, 0.032, border)
    if rng.random() < 0.4:
        frame.line((-0.4 * half, 0.39), (0.4 * half, 0.39), 0.05, (70, 70, 70))


def _book(frame: _Frame, rng: np.random.Generator) -> None:
    half = 0.5 * rng.uniform(0.6, 0.8)
    cover = random_colour(rng, (0.2, 1.0), (0.15, 0.95))
    frame.box(-half, -0.5, half, 0.5, cover)
    frame.box(-half, -0.5, -0.86 * half, 0.5, random_colour(rng, (0.2, 0.8), (0.1, 0.6)))
    top = rng.uniform(-0.4, 0.1)
    title = random_colour(rng, (0.0, 0.6), (0.5, 1.0))
    frame.box(-0.6 * half, top, 0.8 * half, top + rng.uniform(0.08, 0.35), title)


def _screen(frame: _Frame, rng: np.random.Generator) -> None:
    half = rng.choice([0.25, 0.32, 0.5])
    tall = 0.5 if half < 0.4 else 0.31
    frame.box(-half, -tall, half, tall, random_colour(rng, (0.0, 0.2), (0.03, 0.25)))
    shown = random_colour(rng, (0.0, 0.7), (0.3, 1.0))
    frame.box(-0.9 * half, -0.88 * tall, 0.9 * half, 0.88 * tall, shown)
    for x, y, part in rng.random((int(rng.integers(0, 5)), 3)):
        left, top = (1.5 * x - 0.9) * half, (1.4 * y - 0.85) * tall
        panel = random_colour(rng, (0.0, 0.7), (0.1, 1.0))
        frame.box(left, top, left + 0.3 * half, top + (0.05 + 0.3 * part) * tall, panel)


def _mug(frame: _Frame, rng: np.random.Generator) -> None:
    colour = random_colour(rng, (0.0, 0.9), (0.2, 1.0))
    dark = random_colour(rng, (0.2, 0.6), (0.05, 0.35))
    frame.line((0.3, -0.15), (0.5, -0.05), 0.08, colour)
    frame.line((0.5, -0.05), (0.3, 0.2), 0.08, colour)
    frame.box(-0.35, -0.35, 0.35, 0.38, colour)
    frame.oval((0.0, 0.38), (0.35, 0.1), colour)
    frame.oval((0.0, -0.35), (0.35, 0.1), dark)


def _pens(frame: _Frame, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 4))):
        x, lean = rng.uniform(-0.3, 0.3), rng.uniform(-0.25, 0.25)
        colour = random_colour(rng, (0.1, 1.0), (0.1, 1.0))
        frame.line((x - lean, -0.5), (x + lean, 0.5), rng.uniform(0.04, 0.08), colour)


def _hand(frame: _Frame, rng: np.random.Generator) -> None:
    skin = skin_colour(rng)
    sleeve = random_colour(rng, (0.0, 0.8), (0.1, 0.9))
    frame.line((0.0, 0.3), (rng.uniform(-0.2, 0.2), 1.4), 0.36, skin)
    frame.line((0.0, 0.75), (rng.uniform(-0.2, 0.2), 1.5), 0.46, sleeve)
    frame.oval((0.0, 0.15), (0.24, 0.25), skin)
    reach = rng.uniform(0.55, 1.0)
    for finger, x in enumerate((-0.17, -0.06, 0.06, 0.17)):
        tip = (1.6 * x, -reach * (0.42 if finger in (0, 3) else 0.5))
        frame.line((x, 0.1), tip, 0.1, skin)
    frame.line((0.15, 0.2), (0.42, -0.05), 0.11, skin)


def _box_thing(frame: _Frame, rng: np.random.Generator) -> None:
    half_w, half_h = rng.uniform(0.2, 0.5, 2)
    frame.box(-half_w, -half_h, half_w, half_h, random_colour(rng, (0.0, 0.8), (0.1, 1.0)))


_THINGS: Final[tuple[Callable[[_Frame, np.random.Generator], None], ...]] = (
    _sheet,
    _sheet,
    _blank_card,
    _blank_card,
    _book,
    _screen,
    _mug,
    _pens,
    _hand,
    _hand,
    _box_thing,
)
