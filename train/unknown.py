"""The label `unknown`: what a model says of a photo that shows nothing it was trained on.

A classifier has to choose one of its classes, and its scores say which, not whether any fits: with
thresholds that keep 95 % of the known photos, the best score accepts more than half of all
strangers. The features below its head tell more. Those of the training photos lie near a subspace
of few dimensions; a stranger's do not. So the logit of `unknown` grows with the part of a photo's
features f outside the subspace that the directions V span, and answers where it is above the best
class:

    offset - weight * (|V^T f|^2 - share * |f|^2)

A residual to principal components as a sign of novelty is old (J. E. Jackson and G. S. Mudholkar,
"Control procedures for residuals associated with principal component analysis", Technometrics 21
(1979), 341-349); together with logits it is ViM (H. Wang et al. 2022, arXiv:2203.10807). Without
its square root and its division it is made of dense layers and products, which XNNPACK and 8 bits
have, in one partition with the network. docs/explanation/unknown.md has the figures of this and of
other ways that were tried.

Counter-examples, photos in a folder called like one of `COUNTER_EXAMPLES`, train a class of their
own like any other; its logit is then the sum of that class's and of the above.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pocketlens.choices import COUNTER_EXAMPLES, UNKNOWN
from pocketlens.errors import DataError
from pocketlens.train.grid import round_kernels
from pocketlens.train.head import FeatureExtractor
from pocketlens.train.networks import HEAD_NAME
from pocketlens.train.pixel_cache import SplitPixels

# Of flowers, two seeds fine-tuned and five frozen: 32 to 96 differ by less than the seeds do.
_DIRECTIONS = 64

# How much the best logit counts beside the residual, both in standard deviations on validation
# photos. Without it 5.3 to 5.9 % of strangers pass, with 0.6 of it 3.4 to 4.1 %, with 1 no fewer.
_LOGIT_WEIGHT = 0.6

# The residual, as a share of |f|^2, varies by 8 to 10 % among photos of flowers. Where photos are
# much alike it hardly does, and an int8 file, which is off by half a percent, would see little but
# its own rounding: so much is added to the deviation.
_ROUNDING = 0.02

# Of fewer photos the quantile is taken from their mean and deviation: the lowest of ten photos is
# a bad estimate of where one in twenty lies.
_FEW_PHOTOS = 60


@dataclass(frozen=True)
class UnknownLabel:
    """The label's place among the outputs, and what the network says of unknown photos.

    `labels` are all labels, `index` that of the unknown one. `network` is the trained one with
    that output.
    """

    labels: tuple[str, ...]
    index: int
    network: keras.Model

    @property
    def label(self) -> str:
        """Its name."""
        return self.labels[self.index]


def counter_class(labels: Sequence[str]) -> int | None:
    """Return the index of the class of counter-examples, None where there is none.

    Raises:
        DataError: several classes are called like one.
    """
    found = [index for index, label in enumerate(labels) if label.casefold() in COUNTER_EXAMPLES]
    if len(found) > 1:
        names = ", ".join(repr(labels[index]) for index in found)
        raise DataError(
            f"Expected one folder of counter-examples. Received: {names}. Put their photos into "
            "one, or train with --unknown off."
        )
    return found[0] if found else None


def add_unknown(
    network: keras.Model,
    labels: tuple[str, ...],
    train: SplitPixels,
    validation: SplitPixels,
    known_kept: float,
) -> UnknownLabel:
    """Return a trained and calibrated network with an output for unknown photos.

    Args:
        network: with a softmax over `labels`.
        labels: names of its outputs; one of them may be the class of counter-examples.
        train: photos whose features span what is known.
        validation: photos by which the threshold is chosen.
        known_kept: the share of the known ones among these that are to keep their label.
    """
    index = counter_class(labels)
    extractor = FeatureExtractor(network)
    kernel, bias = network.get_layer(HEAD_NAME).get_weights()
    with network.distribute_strategy.scope():
        directions = keras.layers.Dense(
            _DIRECTIONS, use_bias=False, trainable=False, name="unknown_directions"
        )
        directions.build((None, extractor.channels))
        first = keras.layers.Dense(1, use_bias=False, trainable=False, name="unknown_first")
        first.build((None, extractor.channels))
    features = _known(extractor, train, index)
    _, _, basis = np.linalg.svd(
        features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-9), full_matrices=False
    )
    spanned = np.zeros((extractor.channels, 1 + _DIRECTIONS), np.float32)
    count = min(1 + _DIRECTIONS, len(basis))
    spanned[:, :count] = basis[:count].T
    first.set_weights([spanned[:, :1]])
    directions.set_weights([spanned[:, 1:]])
    # What the 8-bit files would round, is rounded before anything is fitted to it.
    round_kernels((first, directions))
    spanned = np.hstack([layer.get_weights()[0] for layer in (first, directions)])
    features = _known(extractor, validation, index)
    logits = features @ kernel + bias
    beside = np.zeros(len(logits)) if index is None else logits[:, index]
    best = np.delete(logits, [] if index is None else index, axis=1).max(axis=1) - beside
    inside, length = (features @ spanned) ** 2, (features**2).sum(axis=1)
    share = float(np.quantile(inside.sum(axis=1) / length.clip(1e-9), 1 - known_kept))
    residual = inside.sum(axis=1) - share * length
    deviation = math.hypot(residual.std(), _ROUNDING * max(length.mean(), 1e-9))
    weight = float(best.std() / deviation / _LOGIT_WEIGHT)
    offset = low_quantile(best + weight * residual, 1 - known_kept)
    if index is not None and len(best) < _FEW_PHOTOS:
        # A limit that few photos leave wide open must not undo what the class has learned.
        offset = max(offset, 0.0)
    with network.distribute_strategy.scope():
        whole = _with_output(network, index, (first, directions), weight, share, offset)
    names = labels if index is not None else (*labels, UNKNOWN)
    return UnknownLabel(names, len(labels) if index is None else index, whole)


def low_quantile(values: NDArray[Any], share: float) -> float:
    """Return the value below which a share of a population lies, from a sample (N,) of it.

    Of few values it is the limit below which the next one lies with that probability if they are
    normal: mean - t * deviation * sqrt(1 + 1 / N), with Student's t.
    """
    count = len(values)
    if count >= _FEW_PHOTOS:
        return float(np.quantile(values, share))
    if count < 2:
        return float(values.min())
    t = _student_t(share, count - 1)
    return float(values.mean() + t * values.std(ddof=1) * math.sqrt(1 + 1 / count))


def _student_t(share: float, freedom: int) -> float:
    """Return Student's quantile by its expansion about the normal one.

    M. Abramowitz and I. Stegun, Handbook of Mathematical Functions (1964), 26.7.5: for shares about
    0.05 within 1 % from three degrees of freedom on.
    """
    z = NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, 1))


def _known(
    extractor: FeatureExtractor, split: SplitPixels, index: int | None
) -> NDArray[np.float64]:
    """Return float64 (N, channels): the features of the photos that are no counter-examples."""
    rows = np.flatnonzero(split.labels != (-1 if index is None else index))
    size = extractor.batch_size
    blocks = (split.pixels[rows[start : start + size]] for start in range(0, len(rows), size))
    return np.concatenate(list(extractor.each(blocks))).astype(np.float64)


def _with_output(
    network: keras.Model,
    index: int | None,
    spanning: tuple[keras.layers.Layer, keras.layers.Layer],
    weight: float,
    share: float,
    offset: float,
) -> keras.Model:
    """Return the network with the logit for unknown photos before its softmax.

    The first direction is nearly that of the mean: by itself, since in 8 bits it would take the
    whole range of the others.
    """
    features = network.get_layer("pooling").output
    head = network.get_layer(HEAD_NAME)
    kernel, bias = head.get_weights()
    logits = _dense(kernel, bias, "logits")(network.get_layer("dropout")(features))
    parts = []
    for layer in spanning:
        squares = keras.layers.Multiply(name=f"{layer.name}_squared")([layer(features)] * 2)
        sums = np.full((layer.units, 1), -weight)
        parts.append(_dense(sums, np.array([offset / 2]), f"{layer.name}_weighted")(squares))
    squares = keras.layers.Multiply(name="unknown_length_squared")([features] * 2)
    sums = np.full((features.shape[-1], 1), weight * share)
    parts.append(_dense(sums, np.zeros(1), "unknown_length_weighted")(squares))
    unknown = keras.layers.Add(name="unknown_logit")(parts)
    if index is None:
        every = keras.layers.Concatenate(name="all_logits")([logits, unknown])
    else:
        place = np.eye(kernel.shape[1])[index : index + 1]
        placed = _dense(place, np.zeros(kernel.shape[1]), "unknown_placed")(unknown)
        every = keras.layers.Add(name="all_logits")([logits, placed])
    scores = keras.layers.Activation("softmax", name=HEAD_NAME)(every)
    return keras.Model(network.input, scores, name=network.name)


def _dense(kernel: NDArray[Any], bias: NDArray[Any], name: str) -> keras.layers.Layer:
    layer = keras.layers.Dense(len(bias), trainable=False, name=name)
    layer.build((None, len(kernel)))
    layer.set_weights([kernel, bias])
    return layer
