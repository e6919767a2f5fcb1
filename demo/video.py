"""A synthetic video to try live recognition on: the cards come, stay and go before one scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator

from pocketlens.runtime.live.sources.opencv import plain_path
from pocketlens.synthetic.backdrops import add_backdrop
from pocketlens.synthetic.cards import LABELS, NOTHING, Picture, draw_card
from pocketlens.synthetic.scenes import Corners, Pose, add_card, expose, random_light, visible_share

UNSURE: Final = ""
"""The label of a frame in which a card is only partly to be seen."""

CARDS: Final = tuple(label for label in LABELS if label != NOTHING)
"""The labels of all cards."""

# A room's generator is no video's.
_ROOM_SEED: Final = 8
_FRAMES_PER_CARD: Final = 10
_VISIBLE_ENOUGH: Final = 0.7
# One card's turn: when it comes in, has come, begins to leave, and is gone.
_TIMES: Final = (0.25, 0.38, 0.87, 1.0)


@dataclass(frozen=True)
class _Turn:
    """One card's appearance: between which two places it sways, and where it comes from."""

    label: str
    corners_xy: tuple[Corners, Corners]
    entry_xy: Corners
    seed: int

    def corners_at(self, progress: float) -> Corners:
        """The card's corners at a part, 0 to 1, of the turn."""
        sway = 0.5 + 0.5 * math.sin(2 * math.pi * (progress - 0.6))
        away = float(np.interp(progress, _TIMES, (1, 0, 0, 1)))
        away *= away * (3 - 2 * away)
        first, last = self.corners_xy
        corners = first + sway * (last - first) + away * self.entry_xy
        return np.asarray(corners, np.float32)


def write_video(
    path: Path,
    seed: int,
    seconds: float = 10.0,
    fps: int = 25,
    size_wh: tuple[int, int] = (640, 480),
    *,
    cards: Sequence[str] = CARDS,
    room: int | None = None,
) -> list[str]:
    """Write a video in which every card appears once, in an order given by the seed.

    Args:
        path: the .mp4 file to write; its folder must exist, a file there is replaced.
        seed: 0 or more; it decides what is in the video.
        seconds: how long it lasts; there must be at least 10 frames for each card.
        fps: frames per second.
        size_wh: width and height of a frame in pixels.
        cards: those that appear; one that is named twice appears twice.
        room: 0 or more, the seed of the scene and its light alone: videos of one room differ in
            how cards are shown there. None for a room that the seed decides, too.

    Returns:
        The true label of every frame: a card's name, "nothing", or "" (`UNSURE`) where a card
        is coming in or leaving and less than about 70 % of it is to be seen.

    Raises:
        ValueError: if there are too few frames.
        OSError: if the file cannot be written.
    """
    count = round(seconds * fps)
    if count < _FRAMES_PER_CARD * len(cards):
        raise ValueError(f"{count} frames are too few: each card needs {_FRAMES_PER_CARD}")
    rng = np.random.default_rng(seed)
    width, height = size_wh
    # Room around the frame for the camera to move.
    scene = np.empty((round(1.15 * height), round(1.15 * width), 3), np.uint8)
    middle_xy = np.array(scene.shape[1::-1]) / 2
    room_rng = rng if room is None else np.random.default_rng((_ROOM_SEED, room))
    add_backdrop(scene, room_rng)
    light = random_light(room_rng, size_wh)
    turns = [_random_turn(str(label), rng, size_wh) for label in rng.permutation(cards)]
    with plain_path(path) as plain:
        writer = cv2.VideoWriter(plain, cv2.VideoWriter.fourcc(*"mp4v"), fps, size_wh)
    if not writer.isOpened():
        raise OSError(f"cannot write a video to {path}")
    labels = []
    try:
        for index in range(count):
            # The camera wanders slowly and shakes a little.
            wander = np.sin((0.7 * index / fps, 0.9 * index / fps + 1)) * size_wh
            x, y = (middle_xy + 0.06 * wander + rng.normal(0, 0.3, 2)).tolist()
            frame = np.asarray(cv2.getRectSubPix(scene, size_wh, (x, y)), np.uint8)
            number, progress = divmod(index * len(turns) / count, 1)
            labels.append(_add_turn(frame, turns[int(number)], progress))
            expose(frame, light, 1.0, 3.0, rng)
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()
    return labels


def _random_turn(label: str, rng: Generator, size_wh: tuple[int, int]) -> _Turn:
    def place() -> Corners:
        x, y = (rng.uniform((0.42, 0.46), (0.58, 0.54)) * size_wh).tolist()
        pitch, yaw, roll = rng.uniform(-20, 20, 3).tolist()
        return Pose((x, y), rng.uniform(0.68, 0.84) * size_wh[1], (pitch, yaw, roll)).corners_xy()

    # From below or from a side, where nothing of it is to be seen.
    entry_xy = rng.choice(((0, 1), (1, 0), (-1, 0))) * np.array(size_wh, np.float32)
    return _Turn(label, (place(), place()), entry_xy, int(rng.integers(1 << 32)))


def _add_turn(frame: Picture, turn: _Turn, progress: float) -> str:
    """Put the card where it is at this part of its turn into the frame, and return the label."""
    if progress < _TIMES[0]:
        return NOTHING
    corners = turn.corners_at(progress)
    # The same generator in every frame, so that shadow and fingers stay.
    add_card(
        frame, draw_card(turn.label, frame.shape[0]), corners, 1, np.random.default_rng(turn.seed)
    )
    visible = visible_share(corners, (frame.shape[1], frame.shape[0]))
    return turn.label if visible >= _VISIBLE_ENOUGH else UNSURE
