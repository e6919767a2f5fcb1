import cv2
import numpy as np
import pytest

from pocketlens.synthetic.cards import LABELS
from pocketlens.synthetic.scenes import random_pose, render, render_many, visible_share


@pytest.mark.parametrize("index", range(len(LABELS)), ids=LABELS)
def test_picture_follows_the_generator(index: int) -> None:
    first, again, other = (render(index, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first.shape == (96, 96, 3)
    assert first.dtype == np.uint8
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("size_wh", [(96, 96), (160, 120), (64, 128)], ids=str)
def test_pictures_have_the_wanted_size(size_wh: tuple[int, int]) -> None:
    pixels, labels = render_many(9, 1, size_wh)
    assert pixels.shape == (9, size_wh[1], size_wh[0], 3)
    assert pixels.dtype == np.uint8
    assert labels.shape == (9,)
    assert labels.dtype == np.int64


def test_pictures_follow_the_seed() -> None:
    first, again = render_many(14, 3, (32, 32)), render_many(14, 3, (32, 32))
    assert (first[0] == again[0]).all()
    assert (first[1] == again[1]).all()


def test_opencv_keeps_its_number_of_threads() -> None:
    before = cv2.getNumThreads()
    render_many(2, 1)
    assert cv2.getNumThreads() == before


def test_labels_are_balanced_and_shuffled() -> None:
    _, labels = render_many(72, 3, (32, 32))
    counts = np.bincount(labels, minlength=len(LABELS))
    assert counts.max() - counts.min() <= 1
    assert (np.diff(labels) != 1).any()


def test_seeds_and_indices_give_different_pictures() -> None:
    pixels = np.concatenate([render_many(14, seed, (32, 32))[0] for seed in (0, 1)])
    assert len({picture.tobytes() for picture in pixels}) == 28


def test_no_picture_is_all_black_or_white() -> None:
    pixels, _ = render_many(210, 8)
    assert pixels.mean(axis=(1, 2, 3)).min() > 8
    assert pixels.std(axis=(1, 2, 3)).min() > 2


@pytest.mark.parametrize("size_wh", [(96, 96), (640, 480)], ids=str)
def test_cards_are_nearly_all_inside(size_wh: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    poses = [random_pose(rng, size_wh) for _ in range(300)]
    shares = [visible_share(pose.corners_xy(), size_wh) for pose in poses]
    assert min(shares) > 0.8
    heights = np.array([pose.height_px for pose in poses]) / min(size_wh)
    assert heights.min() > 0.3
    assert heights.max() < 1.1


@pytest.mark.parametrize("index", [-1, len(LABELS)], ids=["negative", "too-great"])
def test_unknown_label_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match="label"):
        render(index, np.random.default_rng(0))


@pytest.mark.parametrize(("count", "seed"), [(-1, 0), (1, -1)], ids=["count", "seed"])
def test_negative_numbers_are_refused(count: int, seed: int) -> None:
    with pytest.raises(ValueError, match="negative"):
        render_many(count, seed)
