"""Shift: whether pictures are still like the photos that a model was chosen by.

Of each picture some numbers are taken: how surprised the model is by it (`answers.surprise`), and
brightness, sharpness and colour of its pixels. A window of pictures is compared with the validation
photos by the two-sample Kolmogorov-Smirnov test of each number (N. Smirnov, Table for estimating
the goodness of fit of empirical distributions, Ann. Math. Statist. 19 (1948), 279-281), for values
that are too low and for those that are too high. The chances of a false alarm are added up
(Bonferroni), so that what `compare` returns holds for all of these tests together.

The test is for pictures that have nothing to do with each other, but the frames of a camera
resemble the one before. So they count as fewer: n frames with a correlation r between neighbours
count as n (1 - r) / (1 + r) (G. Bayley, J. Hammersley, The effective number of independent
observations in an autocorrelated time series, J. R. Statist. Soc. Suppl. 8 (1946), 184-197). r is 1
less the mean square step between neighbours over twice the variance of the reference (J. von
Neumann, Distribution of the ratio of the mean square successive difference to the variance, Ann.
Math. Statist. 12 (1941), 367-395). It is taken of the number in which neighbours resemble each
other least: what is shifted may be alike in one, such as all grey, but hardly in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pocketlens.choices import BLURRED, BRIGHTER, DARKER, GREY, OTHER, SHIFT_KINDS
from pocketlens.runtime.answers import surprise
from pocketlens.runtime.pictures import Pixels

LEAST_PHOTOS = 10
"""From fewer photos no reference is made: it would say next to nothing."""

_SURPRISE, _BRIGHTNESS, _SHARPNESS, _COLOUR = "surprise", "brightness", "sharpness", "colour"
# What lower and higher values mean. That a model is less surprised than by photos is no harm.
_MEANINGS: Mapping[str, tuple[str | None, str]] = {
    _BRIGHTNESS: (DARKER, BRIGHTER),
    _SHARPNESS: (BLURRED, OTHER),
    _COLOUR: (GREY, OTHER),
    _SURPRISE: (None, OTHER),
}

# So many values of each number stand for the photos. The least and the greatest are among them.
_QUANTILES = 64
# As a card has them, so that equal values stay equal.
_DECIMALS = 3
# In levels of 0-255: what is less than noise makes no difference in a logarithm.
_NOISE = 1.0
# So many frames in a row, each further from the photos than any of them by a standard deviation,
# are no chance even if all are the same picture, as under a cap.
_OUTSIDE_FRAMES = 20


def picture_numbers(
    pixels_rgb: Pixels, scores: NDArray[np.floating] | None = None, unknown: int | None = None
) -> dict[str, float]:
    """Return the numbers of a picture by name, rounded.

    All but the surprise are logarithms: of the mean brightness; of the mean absolute Laplacian over
    the contrast, so that what is darker is not less sharp; of the mean difference of the strongest
    and the weakest channel over the brightness.

    Args:
        pixels_rgb: uint8 (height, width, 3), RGB, in a model's size.
        scores: (labels,), what the model says of them.
        unknown: the index of its label for unknown photos; without it there is no surprise.
    """
    grey = cv2.cvtColor(pixels_rgb, cv2.COLOR_RGB2GRAY)
    mean, deviation = (float(value.item()) for value in cv2.meanStdDev(grey))
    edges = cv2.norm(cv2.Laplacian(grey, cv2.CV_16S), cv2.NORM_L1) / grey.size
    red, green, blue = cv2.split(pixels_rgb)
    strongest = cv2.max(cv2.max(red, green), blue)
    weakest = cv2.min(cv2.min(red, green), blue)
    colour = cv2.mean(strongest)[0] - cv2.mean(weakest)[0]
    numbers = {
        _BRIGHTNESS: math.log(mean + _NOISE),
        _SHARPNESS: math.log((edges + _NOISE) / (deviation + _NOISE)),
        _COLOUR: math.log((colour + _NOISE) / (mean + _NOISE)),
    }
    if scores is not None and unknown is not None:
        numbers[_SURPRISE] = float(surprise(scores, unknown))
    return {name: round(value, _DECIMALS) for name, value in numbers.items()}


def make_reference(numbers: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Return what a model card keeps of the numbers of photos (`ModelCard.shift`).

    Args:
        numbers: what `picture_numbers` returns, of each photo. Of fewer than `LEAST_PHOTOS` the
            reference is empty.
    """
    if len(numbers) < LEAST_PHOTOS:
        return {}
    ranks = np.linspace(0, len(numbers) - 1, min(len(numbers), _QUANTILES)).round().astype(int)
    values = {name: np.sort([entry[name] for entry in numbers]) for name in numbers[0]}
    return {
        "photos": len(numbers),
        "values": {name: entry[ranks].tolist() for name, entry in values.items()},
    }


def fit_shift(
    pictures: Iterable[Pixels], scores: NDArray[np.floating], unknown: int | None
) -> dict[str, Any]:
    """Return the reference of photos that a model was not trained on, as `make_reference` does.

    Args:
        pictures: uint8 (height, width, 3), RGB, in the model's size.
        scores: (N, outputs), what the model says of them.
        unknown: the index of its label for unknown photos, None without one.
    """
    return make_reference(
        [picture_numbers(*both, unknown) for both in zip(pictures, scores, strict=True)]
    )


def compare(
    reference: Mapping[str, Any], window: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """Return for each of `SHIFT_KINDS` how likely such a difference is without a shift, at most.

    The likelihoods, in 0-1, are those of all kinds together: that the least of them is below p has
    a probability of at most p.

    Args:
        reference: a card's `shift`, not empty.
        window: the numbers of pictures in the order of time, at least one.
    """
    names = [name for name in _MEANINGS if name in reference["values"] and name in window[0]]
    photos = {name: np.asarray(reference["values"][name], np.float64) for name in names}
    frames = {name: np.array([entry[name] for entry in window]) for name in names}
    alike = (_resemblance(frames[name], photos[name].std()) for name in names)
    resemblance = min(alike, default=1.0)
    count = len(window) * (1 - resemblance) / (1 + resemblance)
    tests = [
        (meaning, side, name)
        for name in names
        for side, meaning in zip((-1, 1), _MEANINGS[name], strict=True)
        if meaning is not None
    ]
    found = dict.fromkeys(SHIFT_KINDS, 1.0)
    for meaning, side, name in tests:
        ours, theirs = np.sort(side * frames[name]), np.sort(side * photos[name])
        p = smirnov_p(above(theirs, ours), reference["photos"], count)
        if len(ours) >= _OUTSIDE_FRAMES and ours[0] > theirs[-1] + theirs.std():
            p = 0.0
        found[meaning] = min(found[meaning], len(tests) * p)
    return found


def shift_kind(likely: Mapping[str, float], limit: float) -> str | None:
    """Return the least likely kind of those below a limit, None if there is none.

    `OTHER` comes last, since it follows from the others: what is darker has stronger colours, too.

    Args:
        likely: what `compare` returns.
        limit: the share of windows without a shift, in 0-1, in which one may be found.
    """
    found = [kind for kind in SHIFT_KINDS if likely[kind] < limit]
    return min(found, key=lambda kind: (kind == OTHER, likely[kind]), default=None)


def above(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return by how much the second sample is above the first, in 0-1.

    That is the largest excess of the first one's distribution function over the second one's.

    Args:
        first: (N,), ascending.
        second: (M,), ascending.
    """
    # It is largest just before a value of the second, where that one's function steps up.
    share = np.searchsorted(first, second, side="left") / len(first)
    own = np.searchsorted(second, second, side="left") / len(second)
    return max(0.0, float((share - own).max()))


def smirnov_p(distance: float, first: float, second: float) -> float:
    """Return the probability of such a one-sided distance of two samples of one distribution.

    It is the limit for large samples, exp(-2 D^2 N M / (N + M)), which is too high for small ones
    and for those with equal values: a false alarm is rarer than it says.

    Args:
        distance: D, in 0-1.
        first: the size N of a sample.
        second: the size M of the other.
    """
    return math.exp(-2 * distance**2 * first * second / (first + second))


def _resemblance(values: NDArray[np.float64], deviation: float) -> float:
    """Return the correlation of neighbours in a window, 0-1, by the reference's deviation."""
    if len(values) < 2:
        return 0.0
    steps = float(np.mean(np.diff(values) ** 2))
    return 1.0 if deviation == 0 else min(1.0, max(0.0, 1 - steps / (2 * deviation**2)))
