"""A card in space: where its corners fall in the picture, how it is pasted, who holds it."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from pocketlens.demo.backdrops import Colour, Picture
from pocketlens.demo.cards import CARD_PROPORTION, LABELS, draw_card
from pocketlens.demo.clutter import SUBPIXEL_BITS, subpixels

Corners = npt.NDArray[np.float32]

# How far the eye is from the card, in card heights: near enough that tilting shows.
_EYE_DISTANCE: Final = 2.5
_TEXTURE_HEIGHT: Final = 640
_TEXTURE_MARGIN: Final = 2
# From red, green, blue and cover to the cover three times over.
_ONLY_COVER: Final = np.array([[0.0, 0.0, 0.0, 1.0]] * 3)


@dataclass(frozen=True)
class Pose:
    """How a card stands before the camera; the angles are degrees, 0 when it faces the camera.

    `aspect` stretches the finished picture of the card in width against its height, as squashing
    a whole frame does; 1 keeps its shape.
    """

    centre_xy: tuple[float, float]
    height_px: float
    roll: float = 0.0
    pitch: float = 0.0
    yaw: float = 0.0
    aspect: float = 1.0

    def corners_xy(self) -> Corners:
        """The card's corners in the picture: (4, 2) float32 pixels, from top left clockwise."""
        pitch, yaw, roll = (math.radians(turn) for turn in (self.pitch, self.yaw, self.roll))
        stretch = math.sqrt(self.aspect)
        corners = []
        for side_x, side_y in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            x, y = 0.5 * side_x * CARD_PROPORTION, 0.5 * side_y
            x, depth = x * math.cos(yaw), x * math.sin(yaw)
            y, depth = (
                y * math.cos(pitch) - depth * math.sin(pitch),
                y * math.sin(pitch) + depth * math.cos(pitch),
            )
            scale = self.height_px * _EYE_DISTANCE / (_EYE_DISTANCE + depth)
            x, y = x * scale, y * scale
            turned_x = x * math.cos(roll) - y * math.sin(roll)
            turned_y = x * math.sin(roll) + y * math.cos(roll)
            corners.append(
                (
                    self.centre_xy[0] + turned_x * stretch,
                    self.centre_xy[1] + turned_y / stretch,
                )
            )
        return np.array(corners, np.float32)


@dataclass(frozen=True)
class Print:
    """How a card was printed: `ink` from 0 (nothing) to 1 (full), and the paper's RGB gains."""

    ink: float = 1.0
    grey: bool = False
    paper_rgb: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Finger:
    """A finger over a card's edge; lengths are shares of the card's width in the picture.

    `edge` is 0 for the top, then clockwise; `along` from 0 to 1 says where on that edge.
    """

    edge: int
    along: float
    depth: float
    width: float
    lean: float
    skin: Colour


def visible_share(corners_xy: Corners, size_wh: tuple[int, int]) -> float:
    """Which share of the card lies inside the picture, from 0 to 1."""
    width, height = size_wh
    inside = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    overlap, _ = cv2.intersectConvexConvex(corners_xy, inside)
    return float(min(1.0, overlap / max(cv2.contourArea(corners_xy), 1e-6)))


def paste_card(picture: Picture, label_index: int, corners_xy: Corners, look: Print) -> Picture:
    """Put a card over a picture.

    Args:
        picture: (h, w, 3) uint8 RGB; it is left as it is.
        label_index: which card, as an index into `LABELS`.
        corners_xy: (4, 2) float32, the card's corners in pixels, from top left clockwise.
        look: how it was printed.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    pasted = picture.copy()
    height, width = picture.shape[:2]
    left, top = np.clip(np.floor(corners_xy.min(axis=0)) - 1, 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(corners_xy.max(axis=0)) + 2, 0, (width, height)).astype(int)
    if left >= right or top >= bottom:
        return pasted
    sides = np.linalg.norm(corners_xy - corners_xy[[3, 0, 1, 2]], axis=1)
    wanted = max(sides[0], sides[2], float(max(sides[1], sides[3])) / CARD_PROPORTION)
    levels = _textures(label_index, look.grey)
    # The smallest drawing that is not enlarged: shrinking by more than sqrt(2) would alias.
    texture = next((level for level in reversed(levels) if level.shape[0] >= wanted), levels[0])
    near = _TEXTURE_MARGIN - 0.5
    far_y, far_x = texture.shape[0] - near - 1, texture.shape[1] - near - 1
    source = np.array([(near, near), (far_x, near), (far_x, far_y), (near, far_y)], np.float32)
    target = corners_xy - np.array([left, top], np.float32)
    matrix = cv2.getPerspectiveTransform(source, target)
    size_wh = (int(right - left), int(bottom - top))
    layer = cv2.warpPerspective(texture, matrix, size_wh)
    ink = np.hstack([look.ink * np.eye(3), np.full((3, 1), 1 - look.ink)])
    card = cv2.transform(layer, np.diag(look.paper_rgb) @ ink)
    behind = 255 - np.asarray(cv2.transform(layer, _ONLY_COVER), np.uint8)
    region = pasted[top:bottom, left:right]
    region[:] = cv2.add(cv2.multiply(region, behind, scale=1 / 255), card)
    return pasted


def cast_shadow(
    picture: Picture, corners_xy: Corners, shift_xy: tuple[float, float], depth: float
) -> Picture:
    """Darken a picture where a card's shadow falls; `depth` from 0 (none) to 1 (black).

    Returns:
        (h, w, 3) uint8 RGB, a new picture.
    """
    light = np.full(picture.shape[:2], 255, np.uint8)
    points = subpixels(corners_xy + np.array(shift_xy, np.float32))
    cv2.fillConvexPoly(light, points, 255 * (1 - depth), cv2.LINE_AA, SUBPIXEL_BITS)
    sigma = 0.6 + 0.4 * math.hypot(*shift_xy)
    light = np.asarray(cv2.GaussianBlur(light, (0, 0), sigma), np.uint8)
    gains = cv2.cvtColor(light, cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.multiply(picture, gains, scale=1 / 255), np.uint8)


def draw_finger(picture: Picture, corners_xy: Corners, finger: Finger) -> None:
    """Draw a finger over the card's edge, in place; its hand lies outside the card."""
    start, end = corners_xy[finger.edge], corners_xy[(finger.edge + 1) % 4]
    on_edge = start + finger.along * (end - start)
    inward = np.mean(corners_xy, axis=0) - on_edge
    inward /= max(float(np.linalg.norm(inward)), 1e-6)
    sideways = np.array([-inward[1], inward[0]])
    top, right = corners_xy[1] - corners_xy[0], corners_xy[2] - corners_xy[1]
    card_w = min(float(np.linalg.norm(top)), CARD_PROPORTION * float(np.linalg.norm(right)))
    tip = on_edge + inward * (finger.depth - 0.5 * finger.width) * card_w
    root = on_edge - (inward - finger.lean * sideways) * 0.7 * card_w
    width = finger.width * card_w
    red, green, blue = finger.skin
    dark = (int(0.7 * red), int(0.7 * green), int(0.7 * blue))
    _thick_line(picture, root, tip, width + max(1.0, 0.12 * width), dark)
    _thick_line(picture, root, tip, width, finger.skin)
    _thick_line(picture, root - inward * 0.3 * card_w, root - inward * card_w, 2.4 * width, dark)
    nail = (min(255, red + 25), min(255, green + 30), min(255, blue + 30))
    _thick_line(picture, tip, tip + inward * 0.12 * width, 0.5 * width, nail)


def _thick_line(
    picture: Picture,
    start_xy: npt.NDArray[np.floating],
    end_xy: npt.NDArray[np.floating],
    width: float,
    colour: Colour,
) -> None:
    start, end = subpixels(start_xy).tolist(), subpixels(end_xy).tolist()
    cv2.line(picture, start, end, colour, max(1, round(width)), cv2.LINE_AA, SUBPIXEL_BITS)


@cache
def _textures(label_index: int, grey: bool) -> tuple[Picture, ...]:
    """One card at falling sizes: (h, w, 4) uint8, RGB times cover and cover, clear at the rim."""
    card = draw_card(LABELS[label_index], _TEXTURE_HEIGHT)
    if grey:
        card = np.asarray(
            cv2.cvtColor(cv2.cvtColor(card, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8
        )
    levels = []
    height = float(_TEXTURE_HEIGHT)
    while height >= 20:
        size_wh = (round(height * CARD_PROPORTION), round(height))
        level = cv2.resize(card, size_wh, interpolation=cv2.INTER_AREA)
        level = cv2.cvtColor(level, cv2.COLOR_RGB2RGBA)
        margin = _TEXTURE_MARGIN
        level = cv2.copyMakeBorder(
            level, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0)
        )
        levels.append(np.asarray(level, np.uint8))
        height /= math.sqrt(2)
    return tuple(levels)
