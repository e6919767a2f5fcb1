"""Augmentation: how far it goes, and that only training photos are touched by it."""

import dataclasses
import io

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

from PIL import Image

from pocketlens.train.augmentation import PRESETS, Ranges, augment
from pocketlens.train.pixel_cache import SplitPixels
from pocketlens.train.report import augmentation_sheet, augmented_photos

STILL = Ranges(0, 0, 0, 0, 0)
LIGHT, STRONG = PRESETS["light"], PRESETS["strong"]


def photos(count: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)


@pytest.mark.parametrize("ranges", [LIGHT, STRONG], ids=["light", "strong"])
def test_changes_every_picture(ranges: Ranges) -> None:
    pixels = photos(8)
    before = pixels.copy()
    changed = augment(pixels, np.random.default_rng(1), ranges)
    assert changed.dtype == np.uint8
    assert changed.shape == pixels.shape
    differences = changed.astype(float) - pixels
    assert all(np.abs(differences[i]).mean() > 1 for i in range(8))
    np.testing.assert_array_equal(pixels, before)


def test_same_chance_same_change() -> None:
    pixels = photos(4)
    first, again, other = (
        augment(pixels, np.random.default_rng(seed), STRONG) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_flip_never_mirrors() -> None:
    pixels = photos(32, 16)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(augment(pixels, rng, STILL, flip=False), pixels)
    mirrored = augment(pixels, rng, STILL, flip=True)
    flips = [np.array_equal(mirrored[i], pixels[i, :, ::-1]) for i in range(32)]
    stays = [np.array_equal(mirrored[i], pixels[i]) for i in range(32)]
    assert all(one != other for one, other in zip(flips, stays, strict=True))
    assert 4 < sum(flips) < 28


@pytest.mark.parametrize("what", ["rotation_degrees", "zoom", "shift"])
def test_movements_keep_the_middle_in_the_picture(what: str) -> None:
    """The grey ground stays grey, and a white square in the middle stays in sight, moved."""
    pixels = np.full((16, 64, 64, 3), 90, np.uint8)
    pixels[:, 22:42, 22:46] = 255
    ranges = dataclasses.replace(STILL, **{what: getattr(STRONG, what)})
    changed = augment(pixels, np.random.default_rng(0), ranges)
    assert not np.array_equal(changed, pixels)
    white = (changed > 250).sum(axis=(1, 2, 3)) / (pixels > 250).sum(axis=(1, 2, 3))
    assert (white > 0.4).all()
    assert (white < 2.1).all()
    assert set(np.unique(changed[:, :2, :2])) <= {90}


def test_colours_move_by_no_more_than_their_ranges() -> None:
    grey = np.full((64, 8, 8, 3), 100, np.uint8)
    brighter = augment(grey, np.random.default_rng(0), dataclasses.replace(STILL, brightness=0.2))
    assert np.abs(brighter.astype(int) - 100).max() <= 0.2 * 255 + 1
    assert np.abs(brighter.astype(int) - 100).max() > 30
    halves = np.array([60, 140], np.uint8).repeat(4)[None, None, :, None]
    halves = np.broadcast_to(halves, (64, 8, 8, 3)).copy()
    contrast = augment(
        halves, np.random.default_rng(0), dataclasses.replace(STILL, contrast=0.5), flip=False
    )
    steps = contrast[:, 0, 7, 0].astype(int) - contrast[:, 0, 0, 0]
    assert steps.min() >= 40 - 1
    assert steps.max() <= 120 + 1
    assert steps.max() - steps.min() > 40
    np.testing.assert_allclose(contrast.mean(axis=(1, 2, 3)), 100, atol=1)


@pytest.mark.parametrize("what", ["saturation", "hue_degrees"])
def test_saturation_and_hue_leave_grey_alone(what: str) -> None:
    ranges = dataclasses.replace(STILL, **{what: getattr(STRONG, what)})
    grey = np.full((8, 4, 4, 3), 100, np.uint8)
    np.testing.assert_allclose(augment(grey, np.random.default_rng(0), ranges), 100, atol=1)
    red = grey.copy()
    red[..., 0] = 200
    changed = augment(red, np.random.default_rng(0), ranges).astype(int)
    assert np.abs(changed - red).max() > 5


@pytest.mark.parametrize("several", [False, True], ids=["one label", "several labels"])
def test_sheet_has_a_row_for_each_of_twelve_classes(several: bool) -> None:
    labels = np.arange(15)
    split = SplitPixels(photos(15, 48), np.eye(15, dtype=np.float32) if several else labels, ())
    names = [f"class $_{index}" for index in labels]
    sheets = {
        count: Image.open(
            io.BytesIO(
                augmentation_sheet(
                    augmented_photos(
                        split, names[:count], lambda pixels, rng: augment(pixels, rng, LIGHT), 0
                    )
                )
            )
        )
        for count in (2, 12, 15)
    }
    heights = {count: sheet.height for count, sheet in sheets.items()}
    assert heights[2] < heights[12] == heights[15]
