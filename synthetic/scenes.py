"""Synthetic photos to train on: a card in a random scene, or a scene without one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from pocketlens.synthetic.backdrops import Brush, add_backdrop, add_thing, shaded, skin_colour
from pocketlens.synthetic.cards import CARD_PROPORTION, LABELS, NOTHING, Picture, draw_card

Corners = npt.NDArray[np.float32]
Light = npt.NDArray[np.float32]
Images = tuple[Picture, npt.NDArray[np.int64]]

# No split of the demo begins with it.
_EMPTY_SEED: Final = 7
# How far the eye is from the card, in card heights: near enough that tilting shows.
_EYE_DISTANCE: Final = 2.5
_CARD_XYZ: Final = 0.5 * np.array([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)], np.float64)
_CARD_XYZ[:, 0] *= CARD_PROPORTION


@dataclass(frozen=True)
class Pose:
    """How a card stands before the camera.

    `degrees` is a rotation vector (pitch, yaw, roll), 0 when the card faces the camera. `aspect`
    stretches the finished picture of the card in width against its height, as squashing a whole
    frame does; 1 keeps its shape.
    """

    centre_xy: tuple[float, float]
    height_px: float
    degrees: tuple[float, float, float]
    aspect: float = 1.0

    def corners_xy(self) -> Corners:
        """The card's corners in the picture: (4, 2) float32 pixels, from top left clockwise."""
        focal, stretch = self.height_px * _EYE_DISTANCE, math.sqrt(self.aspect)
        camera = np.diag((focal * stretch, focal / stretch, 1.0))
        camera[:2, 2] = self.centre_xy
        away = np.array((0.0, 0.0, _EYE_DISTANCE))
        corners, _ = cv2.projectPoints(_CARD_XYZ, np.radians(self.degrees), away, camera, None)
        return corners.reshape(4, 2).astype(np.float32)


def visible_share(corners_xy: Corners, size_wh: tuple[int, int]) -> float:
    """Which share of the card lies inside the picture, from 0 to 1."""
    width, height = size_wh
    inside = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    overlap, _ = cv2.intersectConvexConvex(corners_xy, inside)
    return float(min(1.0, overlap / max(cv2.contourArea(corners_xy), 1e-6)))


def random_pose(rng: Generator, size_wh: tuple[int, int]) -> Pose:
    """A card's pose at which nearly all of it is inside a picture of the given size."""
    pitch, yaw, roll = rng.uniform(-1, 1, 3) * (30, 30, 35)
    pose = Pose(
        centre_xy=(0.0, 0.0),
        height_px=rng.uniform(0.62, 1.05) * min(size_wh),
        degrees=(pitch, yaw, roll),
        aspect=math.exp(rng.uniform(math.log(0.7), math.log(1.35))),
    )
    corners = pose.corners_xy()
    # So much of its width and height may lie beyond the edges.
    spare = 0.07 * np.ptp(corners, axis=0)
    first, last = corners.min(axis=0) + spare, corners.max(axis=0) - spare
    shrink = min(1.0, float((size_wh / (last - first)).min()))
    # Rather in the middle than at the edge, as a card is shown to a camera.
    part = rng.beta(2.5, 2.5, 2)
    x, y = (part * size_wh - shrink * (part * last + (1 - part) * first)).tolist()
    return replace(pose, centre_xy=(x, y), height_px=pose.height_px * shrink)


def add_card(
    picture: Picture, card: Picture, corners_xy: Corners, fingers: int, rng: Generator
) -> None:
    """Put a card, with its shadow and the fingers that hold it, into an (h, w, 3) uint8 picture.

    `card` is its drawing, about as large or larger, `corners_xy` what `Pose.corners_xy` returns.
    """
    reach = 0.06 * min(picture.shape[:2])
    darkness, shift_xy = rng.uniform(0, 0.5), rng.uniform(-1, 1, 2) * reach
    shadow = np.full_like(picture, 255)
    grey = int(255 * (1 - darkness))
    Brush(shadow, shift_xy, 1).polygon(corners_xy, (grey, grey, grey))
    softness = 1 + 2 * math.ceil(0.5 * reach)
    cv2.blur(shadow, (softness, softness), shadow)
    cv2.multiply(picture, shadow, picture, 1 / 255)

    across, down = corners_xy[1] - corners_xy[0], corners_xy[3] - corners_xy[0]
    width, height = (max(1, math.ceil(np.linalg.norm(side))) for side in (across, down))
    # Warping takes the nearest pixels only, so the card is brought to its size before.
    scaled = cv2.resize(card, (width, height), interpolation=cv2.INTER_AREA)
    edges = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform(edges, corners_xy)
    size_wh = picture.shape[1::-1]
    layer = cv2.warpPerspective(scaled, matrix, size_wh, borderMode=cv2.BORDER_REPLICATE)
    cover = np.zeros_like(picture)
    Brush(cover, (0, 0), 1).polygon(corners_xy, (255, 255, 255))
    cv2.multiply(picture, 255 - cover, picture, 1 / 255)
    cv2.add(picture, cv2.multiply(layer, cover, scale=1 / 255), picture)

    # Seldom from above: a card is held from below or at its sides.
    skin = skin_colour(rng)
    for edge in rng.choice(4, fingers, p=(0.1, 0.25, 0.4, 0.25)):
        _add_finger(picture, np.roll(corners_xy, -edge, axis=0), skin, rng)


def random_light(rng: Generator, size_wh: tuple[int, int]) -> Light:
    """Brightness, colour temperature and fall-off: (h, w, 3) float32 RGB gains, 0.4 to 1.5."""
    warmth, tint = rng.normal(0, (0.07, 0.025))
    gains = rng.uniform(0.7, 1.2) * np.array([1 + warmth, 1 + tint, 1 - warmth], np.float32)
    x, y = rng.uniform(-0.18, 0.18, 2)
    ramp = np.arange(-1, 2, dtype=np.float32)
    cells = 1 + x * ramp + y * ramp[:, None]
    cells[1, 1] += max(0.0, rng.uniform(-0.6, 0.3))
    spread = np.multiply.outer(cells, gains)
    return np.asarray(cv2.resize(spread, size_wh, interpolation=cv2.INTER_CUBIC), np.float32)


def expose(picture: Picture, light: Light, contrast: float, noise: float, rng: Generator) -> None:
    """Apply light, contrast about mid grey, and sensor noise to an (h, w, 3) uint8 picture.

    A contrast of 1 changes nothing, less flattens; `noise` is a standard deviation in 8-bit steps.
    """
    # The same noise in all channels: what a camera's own filter leaves is mostly grey.
    grain = rng.standard_normal((*picture.shape[:2], 1), np.float32)
    exposed = picture * light
    exposed *= contrast
    exposed += noise * grain + 128 * (1 - contrast)
    picture[:] = np.clip(exposed, 0, 255, out=exposed)


def render(label_index: int, rng: Generator, size_wh: tuple[int, int] = (96, 96)) -> Picture:
    """Render one picture, (h, w, 3) uint8 RGB, with about 70 % of the card or more to be seen.

    Args:
        label_index: an index into `LABELS`: a card, or "nothing" for a scene without a card.
        rng: the source of every choice; the same state gives the same picture.
        size_wh: width and height of the picture in pixels.

    Raises:
        ValueError: if there is no such label.
    """
    if not 0 <= label_index < len(LABELS):
        raise ValueError(f"no label {label_index}; there are {len(LABELS)}")
    has_card = LABELS[label_index] != NOTHING
    picture = np.empty((size_wh[1], size_wh[0], 3), np.uint8)
    add_backdrop(picture, rng)
    for _ in range(rng.choice(4, p=(0.5, 0.3, 0.2, 0.0) if has_card else (0.15, 0.45, 0.25, 0.15))):
        add_thing(picture, rng)
    detail = 1.0
    if has_card:
        pose = random_pose(rng, size_wh)
        fingers = int(rng.choice(3, p=(0.5, 0.3, 0.2)))
        drawn = draw_card(LABELS[label_index], 2 * min(size_wh))
        card = np.asarray(cv2.transform(drawn, _random_print(rng)), np.uint8)
        add_card(picture, card, pose.corners_xy(), fingers, rng)
        # A small card would not survive the blur and the noise that a large one does.
        detail = min(1.0, 1.4 * pose.height_px / min(size_wh))
    if rng.random() < 0.7:
        # Out of focus, and shaken where one direction has more of it.
        sigma_x, sigma_y = rng.uniform(0.001, 0.009, 2) * min(size_wh) * detail
        cv2.GaussianBlur(picture, (0, 0), sigma_x, picture, sigma_y)
    light = random_light(rng, size_wh)
    expose(picture, light, rng.uniform(0.8, 1.15), rng.uniform(1.0, 6.0) * detail, rng)
    return picture


def render_empty(number: int, size_wh: tuple[int, int]) -> Picture:
    """Render a scene without a card: of each number another one, of all sizes the same.

    Args:
        number: 0 or more.
        size_wh: width and height of the picture in pixels.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    return render(LABELS.index(NOTHING), np.random.default_rng((_EMPTY_SEED, number)), size_wh)


def render_many(count: int, seed: int, size_wh: tuple[int, int] = (96, 96)) -> Images:
    """Render many pictures, as many of each label as of the others (give or take one), shuffled.

    Args:
        count: how many.
        seed: 0 or more; it alone decides what is in the pictures.
        size_wh: width and height of the pictures in pixels.

    Returns:
        The pictures, (count, h, w, 3) uint8 RGB, and their labels, (count,) int64.

    Raises:
        ValueError: count or seed is negative.
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count, dtype=np.int64) % len(LABELS))
    pixels = np.empty((count, size_wh[1], size_wh[0], 3), np.uint8)
    # Sharing out a picture this small among OpenCV's own threads takes longer than it saves.
    usual_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for index, label_index in enumerate(labels):
            pixels[index] = render(int(label_index), rng, size_wh)
    finally:
        cv2.setNumThreads(usual_threads)
    return pixels, labels


def _random_print(rng: Generator) -> npt.NDArray[np.float64]:
    """How a printer changes RGB, as (3, 4): now and then to grey, on paper not quite white."""
    ink = rng.uniform(0.85, 1.0)
    paper_rgb = rng.uniform(0.82, 1.02) * rng.normal(1, 0.015, 3)
    hues = np.eye(3) if rng.random() > 0.08 else np.full((3, 3), 1 / 3)
    return np.hstack([ink * hues, np.full((3, 1), 255 * (1 - ink))]) * paper_rgb[:, None]


def _add_finger(
    picture: Picture, corners_xy: Corners, skin: tuple[int, int, int], rng: Generator
) -> None:
    """Draw a finger over the edge from the first to the second corner; its hand lies outside."""
    on_edge = corners_xy[0] + rng.uniform(0.15, 0.85) * (corners_xy[1] - corners_xy[0])
    inward = corners_xy.mean(axis=0) - on_edge
    card_w = math.sqrt(cv2.contourArea(corners_xy) * CARD_PROPORTION)
    brush = Brush(picture, on_edge, card_w, math.degrees(math.atan2(inward[1], inward[0])))
    width, lean = rng.uniform(0.15, 0.26), rng.uniform(-0.5, 0.5)
    tip = rng.uniform(0.12, 0.34) - 0.5 * width
    dark, nail = shaded(skin, 0.7), shaded(skin, 1.15)
    brush.line((-0.7, lean), (tip, 0.0), 1.12 * width, dark)
    brush.line((-0.7, lean), (tip, 0.0), width, skin)
    brush.line((-0.9, lean), (-1.7, lean), 2.4 * width, dark)
    brush.line((tip, 0.0), (tip + 0.12 * width, 0.0), 0.5 * width, nail)
