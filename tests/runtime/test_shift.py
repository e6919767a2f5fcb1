"""Shift: the numbers of pictures, their reference, and the test that compares them."""

import itertools
import math

import cv2
import numpy as np
import pytest

from pocketlens.choices import BLURRED, BRIGHTER, DARKER, GREY, OTHER, SHIFT_KINDS
from pocketlens.runtime.answers import surprise
from pocketlens.runtime.shift import (
    LEAST_PHOTOS,
    above,
    compare,
    fit_shift,
    make_reference,
    picture_numbers,
    shift_kind,
    smirnov_p,
)

SIZE = 64


def scene(seed: int) -> np.ndarray:
    """A picture unlike the others: patches of some brightness, colour and fineness."""
    random = np.random.default_rng(seed)
    side = int(random.integers(6, 24))
    base, colour = random.uniform(60, 180), random.uniform(10, 60)
    patches = base + random.normal(0, 25, (side, side, 1)) + random.normal(0, colour, (1, 1, 3))
    patches = patches + random.normal(0, 12, (side, side, 3))
    pixels = cv2.resize(patches.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def dark(pixels: np.ndarray) -> np.ndarray:
    return (255 * (pixels / 255) ** 2.5).astype(np.uint8)


def bright(pixels: np.ndarray) -> np.ndarray:
    return (255 * (pixels / 255) ** 0.3).astype(np.uint8)


def blurred(pixels: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(pixels, (0, 0), 3)


def grey(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)


def half_covered(pixels: np.ndarray) -> np.ndarray:
    covered = pixels.copy()
    covered[:, : SIZE // 2] = 0
    return covered


def black(pixels: np.ndarray) -> np.ndarray:
    return np.zeros_like(pixels)


def unchanged(pixels: np.ndarray) -> np.ndarray:
    return pixels


@pytest.fixture(scope="module")
def reference():
    return make_reference([picture_numbers(scene(seed)) for seed in range(200)])


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (dark, {DARKER}),
        (bright, {BRIGHTER}),
        (blurred, {BLURRED}),
        (grey, {GREY}),
        # Half of it is darker, and has no edges.
        (half_covered, {DARKER, BLURRED}),
        (black, {DARKER}),
    ],
)
def test_what_happens_to_a_camera_is_found_and_named(reference, change, kinds):
    window = [picture_numbers(change(scene(seed))) for seed in range(1000, 1050)]
    found = compare(reference, window)
    assert set(found) == set(SHIFT_KINDS)
    assert shift_kind(found, 1e-4) in kinds


def test_no_alarm_for_pictures_like_the_photos(reference):
    numbers = [picture_numbers(scene(seed)) for seed in range(1000, 1400)]
    random = np.random.default_rng(0)
    windows = (random.choice(numbers, 50, replace=False) for _ in range(300))
    assert min(min(compare(reference, list(window)).values()) for window in windows) > 1e-4


def test_one_picture_again_and_again_is_one_picture(reference):
    """A camera in front of a still scene has no 50 pictures to say anything by."""
    for seed in range(1000, 1040):
        numbers = picture_numbers(scene(seed))
        assert min(compare(reference, [numbers] * 50).values()) > 1e-4
    # Under a cap it is a picture that no photo comes near.
    numbers = picture_numbers(black(scene(0)))
    assert compare(reference, [numbers] * 20)[DARKER] == 0
    assert min(compare(reference, [numbers] * 10).values()) > 1e-4


def test_surprise_alone_is_another_shift():
    random = np.random.default_rng(0)
    pictures = [scene(seed) for seed in range(100)]
    known = random.dirichlet((40, 2, 1), 100)
    reference = fit_shift(pictures, known, 2)
    assert reference["photos"] == 100
    window = list(zip(pictures[:50], random.dirichlet((40, 2, 1), 50), strict=True))
    assert min(compare(reference, [picture_numbers(*both, 2) for both in window]).values()) > 1e-4
    strange = random.dirichlet((2, 1, 40), 50)
    window = list(zip(pictures[:50], strange, strict=True))
    found = compare(reference, [picture_numbers(*both, 2) for both in window])
    assert found[OTHER] < 1e-4
    assert min(found[kind] for kind in SHIFT_KINDS if kind != OTHER) > 1e-4
    # To be surprised less than by the photos is no fault.
    sure = random.dirichlet((4000, 1, 0.01), 50)
    window = list(zip(pictures[:50], sure, strict=True))
    assert min(compare(reference, [picture_numbers(*both, 2) for both in window]).values()) > 1e-4


def test_surprise_is_the_difference_of_logits():
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 4.0]])
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert surprise(scores, 2) == pytest.approx([-1.5, 1.0])
    assert float(surprise(scores[0], 2)) == pytest.approx(-1.5)
    # What an 8-bit file rounds to nothing is finite.
    assert math.isfinite(float(surprise(np.array([1.0, 0.0, 0.0], np.float32), 2)))


def test_a_reference_is_small_whatever_the_photos():
    assert make_reference([picture_numbers(scene(0))] * (LEAST_PHOTOS - 1)) == {}
    for count in (LEAST_PHOTOS, 64, 65, 1000):
        numbers = [picture_numbers(scene(seed % 300)) for seed in range(count)]
        made = make_reference(numbers)
        assert made["photos"] == count
        assert list(made["values"]) == list(numbers[0])
        for name, values in made["values"].items():
            assert len(values) == min(count, 64)
            assert values == sorted(values)
            every = [entry[name] for entry in numbers]
            assert (values[0], values[-1]) == (min(every), max(every))


def test_what_a_later_version_compares_by_is_left_out(reference):
    later = {**reference, "values": {**reference["values"], "warmth": [1.0, 2.0]}}
    window = [picture_numbers(dark(scene(seed))) for seed in range(50)]
    assert compare(later, window) == compare(reference, window)
    later = {**reference, "values": {"warmth": [1.0, 2.0]}}
    assert set(compare(later, window).values()) == {1.0}


def distance(first, second):
    """The largest excess of the first one's distribution function, by its definition."""
    every = [*first, *second, -math.inf]
    return max(np.mean(first <= value) - np.mean(second <= value) for value in every)


@pytest.mark.parametrize("seed", range(20))
def test_distance_is_that_of_the_definition(seed):
    random = np.random.default_rng(seed)
    # Few values, so that many are equal within a sample and between both.
    first, second = (np.sort(random.integers(0, 12, random.integers(1, 40))) for _ in range(2))
    assert above(first, second) == pytest.approx(distance(first, second))
    assert above(first, first) == 0


@pytest.mark.parametrize(("first", "second"), [(10, 50), (50, 152), (50, 1000)])
def test_probability_is_never_below_the_exact_one(first, second):
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    for share in (0.2, 0.4, 0.6, 0.8):
        theirs = np.arange(second, dtype=float)
        ours = np.arange(first, dtype=float) * second / first + share * second
        found = stats.ks_2samp(theirs, ours, alternative="greater", method="exact")
        assert above(theirs, ours) == pytest.approx(found.statistic)
        assert smirnov_p(found.statistic, first, second) >= found.pvalue
        if found.pvalue > 1e-6:
            assert smirnov_p(found.statistic, first, second) < 10 * found.pvalue


def test_probability_against_all_orders():
    """Of 4 and 5 values that all differ, every order is as likely."""
    orders = list(itertools.combinations(range(9), 4))
    found = []
    for places in orders:
        rest = np.array([place for place in range(9) if place not in places])
        found.append(above(np.array(places), rest))
    for limit in set(found) - {0.0}:
        exact = np.mean([value >= limit - 1e-9 for value in found])
        assert smirnov_p(limit, 4, 5) >= exact


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8), scene(0)[:1, :1]],
    ids=["black", "white", "one-pixel"],
)
def test_any_picture_has_finite_numbers(pixels):
    assert all(map(math.isfinite, picture_numbers(pixels).values()))
