"""A rendered film to try live recognition on: the cards come, stay and go before one scene."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from pocketlens.demo.backdrops import Picture, backdrop, pixel_unit
from pocketlens.demo.camera import expose, random_light
from pocketlens.demo.cards import LABELS, NOTHING
from pocketlens.demo.clutter import skin_colour
from pocketlens.demo.placement import (
    Finger,
    Pose,
    Print,
    cast_shadow,
    draw_finger,
    paste_card,
    visible_share,
)

UNSURE: Final = ""
"""The label of a frame in which a card is only partly to be seen."""

_CARDS: Final = tuple(label for label in LABELS if label != NOTHING)
_FRAMES_PER_CARD: Final = 10
_VISIBLE_ENOUGH: Final = 0.7
# One card's turn, as shares of its time: nothing, coming in, staying, leaving.
_ARRIVES: Final = 0.25
_STAYS: Final = 0.38
_LEAVES: Final = 0.87


@dataclass(frozen=True)
class _Turn:
    """One card's appearance: its pose while it stays, how it drifts, and where it comes from."""

    label: str
    pose: Pose
    drift: tuple[float, ...]
    entry_xy: tuple[float, float]
    finger: Finger


def write_video(
    path: Path,
    seed: int,
    seconds: float = 10.0,
    fps: int = 25,
    size_wh: tuple[int, int] = (640, 480),
) -> list[str]:
    """Write a film in which every card appears once, in an order given by the seed.

    Args:
        path: the .mp4 file to write; its folder must exist, a file there is replaced.
        seed: 0 or more; it alone decides what is in the film.
        seconds: how long it lasts; there must be at least 10 frames for each card.
        fps: frames per second.
        size_wh: width and height of a frame in pixels.

    Returns:
        The true label of every frame: a card's name, "nothing", or "" (`UNSURE`) where a card
        is coming in or leaving and less than about 70 % of it is to be seen.

    Raises:
        ValueError: if there are too few frames.
        OSError: if the file cannot be written.
    """
    count = round(seconds * fps)
    if count < _FRAMES_PER_CARD * len(_CARDS):
        raise ValueError(f"{count} frames are too few: each card needs {_FRAMES_PER_CARD}")
    rng = np.random.default_rng(seed)
    width, height = size_wh
    # Room around the scene for the camera to move.
    wide_wh = (round(1.15 * width), round(1.15 * height))
    scene = backdrop(rng, wide_wh)
    light = random_light(rng, size_wh)
    turns = [_random_turn(str(label), rng, size_wh) for label in rng.permutation(_CARDS)]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size_wh)
    if not writer.isOpened():
        raise OSError(f"cannot write a video to {path}")
    labels = []
    try:
        for index in range(count):
            frame = _moved(scene, index / fps, rng, size_wh)
            place = index * len(turns) / count
            frame, label = _with_turn(frame, turns[int(place)], place % 1)
            frame = expose(frame, light, 1.0, 3.0, rng)
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            labels.append(label)
    finally:
        writer.release()
    return labels


def _random_turn(label: str, rng: np.random.Generator, size_wh: tuple[int, int]) -> _Turn:
    width, height = size_wh
    pose = Pose(
        centre_xy=(rng.uniform(0.4, 0.6) * width, rng.uniform(0.46, 0.54) * height),
        height_px=rng.uniform(0.68, 0.84) * height,
        roll=rng.uniform(-12, 12),
        pitch=rng.uniform(-10, 10),
        yaw=rng.uniform(-10, 10),
    )
    skin = skin_colour(rng)
    finger = Finger(edge=2, along=rng.uniform(0.3, 0.7), depth=0.22, width=0.2, lean=0.3, skin=skin)
    # From below or from a side, a card's length beyond the edge.
    reach = 0.6 * pose.height_px
    entries = (
        (pose.centre_xy[0], height + reach),
        (-reach, 0.6 * height),
        (width + reach, 0.6 * height),
    )
    drift = tuple(rng.uniform(-1, 1, 4).tolist())
    return _Turn(label, pose, drift, entries[int(rng.integers(len(entries)))], finger)


def _with_turn(frame: Picture, turn: _Turn, progress: float) -> tuple[Picture, str]:
    """The frame with the card where it is at this part (0 to 1) of its turn, and its label."""
    if progress < _ARRIVES:
        return frame, NOTHING
    here = 1.0
    if progress < _STAYS:
        here = _eased((progress - _ARRIVES) / (_STAYS - _ARRIVES))
    elif progress > _LEAVES:
        here = 1 - _eased((progress - _LEAVES) / (1 - _LEAVES))
    corners = _drifted(turn, progress, here).corners_xy()
    height, width = frame.shape[:2]
    visible = visible_share(corners, (width, height))
    shift = 4 * pixel_unit((width, height))
    frame = cast_shadow(frame, corners, (shift, shift), 0.3)
    frame = paste_card(frame, LABELS.index(turn.label), corners, Print(ink=0.95))
    draw_finger(frame, corners, turn.finger)
    return frame, turn.label if visible >= _VISIBLE_ENOUGH else UNSURE


def _drifted(turn: _Turn, progress: float, here: float) -> Pose:
    pose = turn.pose
    roll, pitch, yaw, scale = turn.drift
    # From one side of the pose to the other, so that the card never stands still.
    swing = math.sin(2 * math.pi * (progress - 0.6))
    x = here * (pose.centre_xy[0] + 0.03 * pose.height_px * swing) + (1 - here) * turn.entry_xy[0]
    y = here * pose.centre_xy[1] + (1 - here) * turn.entry_xy[1]
    return replace(
        pose,
        centre_xy=(x, y),
        height_px=pose.height_px * (1 + 0.1 * scale * swing),
        roll=pose.roll + 14 * roll * swing,
        pitch=pose.pitch + 12 * pitch * swing,
        yaw=pose.yaw + 12 * yaw * swing,
    )


def _eased(part: float) -> float:
    return part * part * (3 - 2 * part)


def _moved(
    scene: Picture, time_s: float, rng: np.random.Generator, size_wh: tuple[int, int]
) -> Picture:
    """The camera's view of the wider scene: it wanders slowly and shakes a little."""
    spare = (np.array(scene.shape[1::-1]) - size_wh) / 2
    wander = 0.8 * np.array([math.sin(0.7 * time_s), math.sin(0.9 * time_s + 1)])
    x, y = (spare * (1 + wander) + rng.normal(0, 0.3, 2)).tolist()
    matrix = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
    return np.asarray(cv2.warpAffine(scene, matrix, size_wh), np.uint8)
