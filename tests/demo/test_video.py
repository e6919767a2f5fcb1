import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pocketlens.demo.video import UNSURE, write_video
from pocketlens.synthetic.cards import LABELS, NOTHING

SIZE_WH = (160, 120)


def frames_of(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        found, frame = capture.read()
        if not found:
            return frames
        frames.append(frame)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    path = tmp_path_factory.mktemp("film") / "cards.mp4"
    # A scene without stripes: before those the moving camera changes as much as a card does.
    return path, write_video(path, seed=4, seconds=6, fps=20, size_wh=SIZE_WH)


def test_every_frame_has_a_label(film: tuple[Path, list[str]]) -> None:
    path, labels = film
    frames = frames_of(path)
    assert len(frames) == len(labels) == 120
    assert frames[0].shape == (SIZE_WH[1], SIZE_WH[0], 3)


def test_every_card_comes_once_and_goes(film: tuple[Path, list[str]]) -> None:
    _, labels = film
    shown = [label for label in labels if label != UNSURE]
    runs = [label for label, last in zip(shown, ["", *shown], strict=False) if label != last]
    assert runs[::2] == [NOTHING] * 6
    assert sorted(runs[1::2]) == sorted(set(LABELS) - {NOTHING})
    assert 0 < labels.count(UNSURE) < 0.3 * len(labels)
    assert min(labels.count(label) for label in LABELS) >= 5


def test_frames_with_a_card_differ_from_the_empty_scene(
    film: tuple[Path, list[str]],
) -> None:
    path, labels = film
    frames = np.array(frames_of(path), np.float32)
    scene = np.median([f for f, label in zip(frames, labels, strict=True) if label == NOTHING], 0)
    change = np.abs(frames - scene).mean(axis=(1, 2, 3))
    empty = max(c for c, label in zip(change, labels, strict=True) if label == NOTHING)
    shown = min(c for c, label in zip(change, labels, strict=True) if label not in (NOTHING, ""))
    assert shown > empty


def test_labels_follow_the_seed(tmp_path: Path) -> None:
    first, again, other = (
        write_video(tmp_path / f"{place}.mp4", seed, seconds=6, fps=10, size_wh=(64, 48))
        for place, seed in enumerate((3, 3, 4))
    )
    assert first == again
    assert first != other


def test_too_short_film_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="few"):
        write_video(tmp_path / "short.mp4", 0, seconds=1, fps=10)


def test_unwritable_place_is_reported(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot write"):
        write_video(tmp_path / "missing" / "film.mp4", 0, size_wh=(64, 48))


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="other systems have no such names")
def test_a_name_that_is_no_unicode_does_not_end_python(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    write_video(folder / "film.mp4", 0, seconds=10, fps=10, size_wh=(64, 48))
    assert (folder / "film.mp4").stat().st_size > 1000


def test_videos_of_one_room_differ_in_how_the_chosen_cards_are_shown(tmp_path: Path) -> None:
    cards = ("ring", "star")
    films = {}
    for seed, room in ((1, 5), (2, 5), (1, 6)):
        path = tmp_path / f"{seed}-{room}.mp4"
        labels = write_video(path, seed, 2, 10, SIZE_WH, cards=cards, room=room)
        assert set(labels) - {NOTHING, UNSURE} == set(cards)
        films[seed, room] = np.array(frames_of(path), np.float32)
    # The first frame is the empty scene, whose only difference is noise.
    same = np.abs(films[1, 5][0] - films[2, 5][0]).mean()
    other = np.abs(films[1, 5][0] - films[1, 6][0]).mean()
    assert same < 0.2 * other
    assert np.abs(films[1, 5] - films[2, 5]).mean() > 2 * same
