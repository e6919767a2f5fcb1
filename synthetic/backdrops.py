"""What may be around a card: backdrops, and things that are not a card."""

from __future__ import annotations

import colorsys
import math
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from pocketlens.synthetic.cards import CARD_PROPORTION, Picture

Colour = tuple[int, int, int]
Range = tuple[float, float]

# Coordinates are handed to OpenCV in sixteenths of a pixel, which keeps edges smooth.
_SUBPIXEL_BITS: Final = 4


class Brush:
    """Draws into an (h, w, 3) uint8 RGB picture, in place, in coordinates of its own.

    They begin at `origin_xy`, in pixels, have a unit of `unit_px` pixels and are turned clockwise.
    """

    def __init__(
        self, picture: Picture, origin_xy: npt.ArrayLike, unit_px: float, degrees: float = 0.0
    ) -> None:
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        self.picture = picture
        self.size_wh = (picture.shape[1], picture.shape[0])
        self._origin_xy = np.asarray(origin_xy)
        self._axes = unit_px * np.array([[cos, sin], [-sin, cos]])
        self._unit_px = unit_px
        self._degrees = degrees

    def polygon(self, points_xy: npt.ArrayLike, colour: Colour) -> None:
        """Fill a convex polygon."""
        points = self._subpixels(points_xy)
        cv2.fillConvexPoly(self.picture, points, colour, cv2.LINE_AA, _SUBPIXEL_BITS)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill a rectangle."""
        self.polygon(((left, top), (right, top), (right, bottom), (left, bottom)), colour)

    def line(self, start_xy: Range, end_xy: Range, width: float, colour: Colour) -> None:
        """Draw a line with round ends."""
        start, end = self._subpixels((start_xy, end_xy)).tolist()
        thickness = max(1, round(width * self._unit_px))
        cv2.line(self.picture, start, end, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)

    def oval(self, centre_xy: Range, radii: Range, colour: Colour) -> None:
        """Fill an ellipse."""
        centre = (np.asarray(centre_xy) @ self._axes + self._origin_xy).tolist()
        sides = (2 * radii[0] * self._unit_px, 2 * radii[1] * self._unit_px)
        box = (centre, sides, self._degrees)
        cv2.ellipse(self.picture, box, colour, cv2.FILLED, cv2.LINE_AA)

    def _subpixels(self, points_xy: npt.ArrayLike) -> npt.NDArray[np.int32]:
        pixels = np.asarray(points_xy) @ self._axes + self._origin_xy
        return np.asarray(np.rint(pixels * (1 << _SUBPIXEL_BITS)), np.int32)


def shaded(colour: Colour, factor: float) -> Colour:
    """The colour made darker, or lighter by a factor above 1."""
    red, green, blue = (min(255, int(part * factor)) for part in colour)
    return red, green, blue


def skin_colour(rng: Generator) -> Colour:
    """A skin colour from dark to light, as RGB from 0 to 255."""
    return shaded((228, 172, 140), rng.uniform(0.3, 1.05))


def add_backdrop(picture: Picture, rng: Generator) -> None:
    """Fill the (h, w, 3) uint8 RGB picture with one backdrop, often a little out of focus."""
    size_wh = picture.shape[1::-1]
    paint = _BACKDROPS[int(rng.integers(len(_BACKDROPS)))]
    # The shorter side is the unit, so that nothing is stretched.
    paint(Brush(picture, (0, 0), min(size_wh)), rng)
    if rng.random() < 0.5:
        cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.004, 0.026) * min(size_wh), picture)


def add_thing(picture: Picture, rng: Generator) -> None:
    """Draw one random thing that is not a card into the (h, w, 3) uint8 RGB picture."""
    size_wh = picture.shape[1::-1]
    centre_xy = rng.uniform(0.05, 0.95, 2) * size_wh
    length = rng.uniform(0.35, 1.0) * min(size_wh)
    paint = _THINGS[int(rng.integers(len(_THINGS)))]
    paint(Brush(picture, centre_xy, length, rng.uniform(-45, 45)), rng)


def _colour(rng: Generator, saturation: Range = (0, 0.45), value: Range = (0.15, 0.95)) -> Colour:
    """A colour of any hue; saturation and value are ranges within 0 to 1."""
    hsv = rng.random(), rng.uniform(*saturation), rng.uniform(*value)
    red, green, blue = (int(255 * part) for part in colorsys.hsv_to_rgb(*hsv))
    return red, green, blue


def _mix(brush: Brush, first: Colour, second: Colour, share: npt.NDArray[np.float32]) -> None:
    """Fill the picture with one colour where the (h, w) share is 0, and another where it is 1."""
    ramp = np.stack([np.subtract(second, first), first], axis=1).astype(np.float64)
    brush.picture[:] = cv2.transform(np.clip(share, 0, 1), ramp)


def _smooth(
    rng: Generator, size_wh: tuple[int, int], cells_wh: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Values mostly from 0 to 1 that vary smoothly between random cells: (h, w) float32."""
    cells = rng.random(cells_wh[::-1], np.float32)
    return np.asarray(cv2.resize(cells, size_wh, interpolation=cv2.INTER_CUBIC), np.float32)


def _gradient(brush: Brush, rng: Generator) -> None:
    corners = np.clip(_colour(rng) + rng.normal(0, 35, (2, 3, 3)), 0, 255).astype(np.uint8)
    brush.picture[:] = cv2.resize(corners, brush.size_wh, interpolation=cv2.INTER_CUBIC)


def _grain(brush: Brush, rng: Generator) -> None:
    """Wood where the grain has a direction, else plaster or stone."""
    wide, high = rng.choice(((3, 30), (30, 3), (20, 20))).tolist()
    share = 0.6 * _smooth(rng, brush.size_wh, (wide, high))
    share += 0.4 * _smooth(rng, brush.size_wh, (9, 9))
    dark = (100, 65, 40) if rng.random() < 0.5 else _colour(rng)
    _mix(brush, dark, shaded(dark, rng.uniform(1.2, 2.2)), share)


def _cloth(brush: Brush, rng: Generator) -> None:
    y, x = np.indices(brush.picture.shape[:2], np.float32)
    period = rng.uniform(0.04, 0.23) * min(brush.size_wh)
    slope = rng.uniform(-0.5, 0.5)
    along = (x + slope * y) % period < 0.5 * period
    across = (y - slope * x) % period < 0.5 * period
    share = 0.5 * along + 0.5 * (across if rng.random() < 0.5 else along)
    _mix(brush, _colour(rng), _colour(rng), share.astype(np.float32))


def _lights(brush: Brush, rng: Generator) -> None:
    width, height = brush.size_wh
    brush.picture[:] = _colour(rng, (0.0, 0.5), (0.05, 0.6))
    for x, y, radius in rng.uniform((0, 0, 0.03), (width / height, 1, 0.15), (14, 3)).tolist():
        brush.oval((x, y), (radius, radius), _colour(rng, (0.0, 0.7), (0.2, 1.0)))
    cv2.GaussianBlur(brush.picture, (0, 0), 0.025 * min(width, height), brush.picture)


def _room(brush: Brush, rng: Generator) -> None:
    _gradient(brush, rng)
    width, height = brush.size_wh
    floor = rng.uniform(0.55, 0.95)
    brush.box(0, floor, width, height, _colour(rng, (0.0, 0.6), (0.1, 0.7)))
    places = rng.uniform((-0.2, -0.35, 0.1, 0.15), (1.0, 0.15, 0.5, 0.75), (4, 4))
    for x, bottom, wide, high in places.tolist():
        left, bottom = x * width / height, floor + bottom
        colour = _colour(rng, (0.0, 0.6), (0.1, 1.0))
        brush.box(left, bottom - high, left + wide, bottom, colour)
        if high < 0.5:
            inner = _colour(rng, (0.0, 0.6), (0.1, 1.0))
            brush.box(left + 0.02, bottom - high + 0.02, left + wide - 0.02, bottom - 0.02, inner)


def _shelves(brush: Brush, rng: Generator) -> None:
    width, height = brush.size_wh
    brush.picture[:] = _colour(rng, (0.1, 0.5), (0.1, 0.5))
    step = rng.uniform(0.3, 0.6)
    for bottom in np.arange(rng.uniform(0.3, 1.0) * step, 1 + step, step):
        x = 0.0
        while x < width / height:
            wide, high = rng.uniform((0.02, 0.6 * step), (0.11, 0.95 * step)).tolist()
            colour = _colour(rng, (0.1, 0.7), (0.1, 0.9))
            brush.box(x, bottom - high, x + wide - 0.01, bottom - 0.03, colour)
            x += wide


def _person(brush: Brush, rng: Generator) -> None:
    _gradient(brush, rng)
    width, height = brush.size_wh
    size = rng.uniform(0.16, 0.3)
    x, y = rng.uniform(0.25, 0.75) * width / height, rng.uniform(0.25, 0.5)
    hair = shaded((110, 80, 55), rng.uniform(0.2, 1.8))
    brush.oval((x, y + 3 * size), (1.9 * size, 1.9 * size), _colour(rng, (0.0, 0.8), (0.1, 0.9)))
    brush.oval((x, y - 0.2 * size), (0.85 * size, rng.uniform(0.95, 1.3) * size), hair)
    brush.oval((x, y), (0.7 * size, size), skin_colour(rng))


def _sheet(brush: Brush, rng: Generator) -> None:
    """Paper with text, often below a picture, or a book's cover."""
    half = rng.uniform(0.3, 0.5)
    is_paper = rng.random() < 0.5
    paper = _colour(rng, (0.0, 0.12), (0.8, 1.0)) if is_paper else _colour(rng, (0.2, 1.0))
    brush.box(-half, -0.5, half, 0.5, paper)
    ink = _colour(rng, (0.0, 0.7), (0.0, 0.6))
    top = -0.4
    if rng.random() < 0.5:
        top = rng.uniform(-0.2, 0.1)
        brush.box(-0.8 * half, -0.42, 0.8 * half, top - 0.06, _colour(rng, (0.1, 0.9)))
    step = rng.uniform(0.06, 0.12)
    for y in np.arange(top, rng.uniform(top, 0.42), step):
        brush.line((-0.82 * half, y), (rng.uniform(-0.2, 0.82) * half, y), 0.3 * step, ink)


def _blank_card(brush: Brush, rng: Generator) -> None:
    """A card without a pictogram: white paper with a coloured border alone says nothing."""
    half = 0.5 * CARD_PROPORTION
    paper = _colour(rng, (0.0, 0.12), (0.8, 1.0))
    brush.box(-half, -0.5, half, 0.5, paper)
    brush.box(0.05 - half, -0.45, half - 0.05, 0.45, _colour(rng, (0.0, 1.0), (0.1, 0.9)))
    brush.box(0.08 - half, -0.42, half - 0.08, 0.42, paper)
    if rng.random() < 0.4:
        brush.line((-0.15, 0.38), (0.15, 0.38), 0.05, (70, 70, 70))


def _hand(brush: Brush, rng: Generator) -> None:
    skin = skin_colour(rng)
    turn = rng.uniform(-0.2, 0.2)
    brush.line((0.0, 0.3), (turn, 1.4), 0.36, skin)
    brush.line((0.0, 0.75), (turn, 1.5), 0.46, _colour(rng, (0.0, 0.8), (0.1, 0.9)))
    brush.oval((0.0, 0.15), (0.24, 0.25), skin)
    reach = rng.uniform(0.25, 0.5)
    for x, longer in ((-0.17, 0.85), (-0.06, 1.0), (0.06, 1.0), (0.17, 0.85)):
        brush.line((x, 0.1), (1.6 * x, -reach * longer), 0.1, skin)
    brush.line((0.15, 0.2), (0.42, -0.05), 0.11, skin)


_BACKDROPS: Final = (_gradient, _grain, _grain, _cloth, _lights, _room, _shelves, _person)
_THINGS: Final = (_sheet, _sheet, _sheet, _blank_card, _hand)
