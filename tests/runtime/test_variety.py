"""What is said of a class's photos: enough, one background, the same light, blur."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from pocketlens.demo.video import write_video
from pocketlens.runtime.pictures import decode
from pocketlens.runtime.variety import (
    ENOUGH_PHOTOS,
    Traits,
    advise,
    background_distances,
    count_occasions,
    traits_of,
)

BORDER = np.zeros((28, 3), np.float32)


def at(*times):
    return [Traits(time_s, 0.0, 0.0, BORDER) for time_s in times]


@pytest.fixture(scope="module")
def flowers():
    """Photos of five classes, BGR."""
    shared = os.environ.get("POCKETLENS_SHARED")
    if not shared:
        pytest.skip("POCKETLENS_SHARED does not say where the shared material is")
    folders = sorted(
        path for path in (Path(shared) / "data" / "flowers").iterdir() if path.is_dir()
    )
    return {
        folder.name: [
            cv2.cvtColor(decode(path), cv2.COLOR_RGB2BGR) for path in sorted(folder.iterdir())[:40]
        ]
        for folder in folders
    }


def test_real_photos_are_warned_of_nothing(flowers):
    for label, frames in flowers.items():
        advice = advise([traits_of(frame) for frame in frames], len(frames))
        assert advice.warnings == (), label
        # None says when it was taken, so each is one by itself.
        assert advice.enough


def test_blurred_photos_are_said(flowers):
    frames = [
        cv2.GaussianBlur(frame, (0, 0), min(frame.shape[:2]) / 96) for frame in flowers["daisy"]
    ]
    (warning,) = advise([traits_of(frame) for frame in frames], len(frames)).warnings
    assert "of the last 20 photos are blurred" in warning
    # The lens was cleaned since.
    frames += flowers["daisy"][:20]
    assert advise([traits_of(frame) for frame in frames], len(frames)).warnings == ()


def test_a_camera_that_stands_still_has_one_background_and_one_light(tmp_path):
    path = tmp_path / "video.mp4"
    labels = write_video(path, seed=0, seconds=5, size_wh=(320, 240))
    video = cv2.VideoCapture(str(path))
    frames = [video.read()[1] for _ in labels]
    video.release()
    label = next(label for label in labels if label not in ("", "nothing"))
    card = [frame for frame, name in zip(frames, labels, strict=True) if name == label][:15]
    assert len(card) >= 12
    one, other = advise([traits_of(frame) for frame in card], len(card)).warnings
    assert one.startswith("One background in nearly all photos.")
    assert other.startswith("The same light in all photos.")
    # Of few photos nothing is said.
    assert advise([traits_of(frame) for frame in card[:11]], 11).warnings == ()


def test_a_background_is_the_same_when_it_is_darker_but_black_is_not_white():
    rng = np.random.default_rng(0)
    frame = cv2.resize(rng.integers(60, 200, (8, 8, 3), np.uint8), (160, 120))
    darker = (0.8 * frame).astype(np.uint8)
    assert background_distances([traits_of(frame), traits_of(darker)]) < 5
    black, white = np.zeros_like(frame), np.full_like(frame, 255)
    assert background_distances([traits_of(black), traits_of(white)]) > 100
    three = [traits_of(picture) for picture in (black, white, black)]
    assert background_distances(three)[1] == 0


@pytest.mark.parametrize(
    ("times", "count"),
    [
        ((), 0),
        ((5.0,), 1),
        ((5.0, 6.0, 20.0, 30.0), 1),
        ((5.0, 100.0, 6.0, 300.0), 3),
        ((None, None), 2),
        ((None, 5.0, 6.0), 2),
    ],
)
def test_occasions_are_parted_by_pauses(times, count):
    assert count_occasions(at(*times)) == count


def test_enough_needs_photos_and_occasions_and_says_which():
    assert advise([], 0).text.startswith("No photos yet")
    few = advise(at(1.0, 2.0), 2)
    assert not few.enough
    assert few.text.startswith(f"{ENOUGH_PHOTOS - 2} more")
    once = advise(at(*range(ENOUGH_PHOTOS)), ENOUGH_PHOTOS)
    assert not once.enough
    assert "from 1 recording: take some on 2 other occasions" in once.text
    twice = advise(at(*range(ENOUGH_PHOTOS), 100.0), ENOUGH_PHOTOS + 1)
    assert "1 other occasion," in twice.text
    # All count, also those that are not looked at any more.
    assert advise(at(1.0, 100.0, 200.0), ENOUGH_PHOTOS).enough
