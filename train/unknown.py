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

A binary or multilabel model gets a second output in its place, the novelty: the sigmoid of the
above, without the best logit.

All it takes are the features of photos and the weights of the last dense layer, so `fit_unknown`
and `with_unknown` serve any network with such a layer behind a softmax: `train`'s by `add_unknown`,
a third-party one by `convert --unknown`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
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

NOVELTY_NAME = "novelty"

# Of flowers, two seeds fine-tuned and five frozen: 32 to 96 differ by less than the seeds do.
_DIRECTIONS = 64

# How much the best logit counts beside the residual, both in standard deviations on validation
# photos. Without it 5.3 to 5.9 % of strangers pass, with 0.6 of it 3.4 to 4.1 %, with 1 no fewer.
_LOGIT_WEIGHT = 0.6

# How steep the novelty is: logits for a standard deviation of the residual. So known flowers have
# 0.005 and strangers 0.94 in the median, and few of either are at the ends of 8 bits.
_STEEPNESS = 3.0

# The residual, as a share of |f|^2, varies by 8 to 10 % among photos of flowers. Where photos are
# much alike it hardly does, and an int8 file, which is off by half a percent, would see little but
# its own rounding: so much is added to the deviation.
_ROUNDING = 0.02

# With fewer validation photos, where one in twenty of them lies is a matter of chance. Then the
# training photos count as well, how much of each is outside by directions found without it.
_FEW_PHOTOS = 60
# Parts of the training photos that take turns in that.
_PARTS = 20
# And the best logit counts half as much. Of flowers, ten a class and five seeds, 8 % of strangers
# pass and 94 % of the known are kept; by the validation photos alone 39 % and 90 %.
_FEW_LOGIT_WEIGHT = 0.3


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


@dataclass(frozen=True)
class Head:
    """The last layer of a network, whose softmax over features @ `kernel` + `bias` are its scores.

    `counter` is the class that counter-examples have trained, None where there is none.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    counter: int | None = None


@dataclass(frozen=True)
class Outside:
    """How much of a photo's features lies outside the directions of the known ones, as a logit.

    It is `offset` - `weight` * (|V^T f|^2 - `share` * |f|^2), with V the kernels of both layers.
    The first direction is nearly that of the mean: by itself, since in 8 bits it would take the
    whole range of the others.
    """

    first: keras.layers.Layer
    directions: keras.layers.Layer
    weight: float
    share: float
    offset: float

    def logit(self, features: Any) -> Any:
        """Return the tensor (batch, 1) of the logit of features, a tensor (batch, channels)."""
        parts = []
        for layer in (self.first, self.directions):
            squares = keras.layers.Multiply(name=f"{layer.name}_squared")([layer(features)] * 2)
            sums = np.full((layer.units, 1), -self.weight)
            weighted = _dense(sums, np.array([self.offset / 2]), f"{layer.name}_weighted")
            parts.append(weighted(squares))
        squares = keras.layers.Multiply(name="unknown_length_squared")([features] * 2)
        sums = np.full((features.shape[-1], 1), self.weight * self.share)
        parts.append(_dense(sums, np.zeros(1), "unknown_length_weighted")(squares))
        return keras.layers.Add(name="unknown_logit")(parts)


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
    head = Head(kernel, bias, index)
    known, held_back = (_known(extractor, split, index) for split in (train, validation))
    features = network.get_layer("pooling").output
    with network.distribute_strategy.scope():
        outside = fit_unknown(known, held_back, head, known_kept)
        dropped = network.get_layer("dropout")(features)
        scores = with_unknown(features, dropped, head, outside)
        whole = keras.Model(network.input, scores, name=network.name)
    return labelled(labels, index, whole)


def add_novelty(
    network: keras.Model, train: SplitPixels, validation: SplitPixels, known_kept: float
) -> keras.Model:
    """Return a trained network with a second output, the novelty, (batch, 1) in 0-1.

    Args:
        network: of a binary or multilabel task.
        train: photos whose features span what is known.
        validation: photos of which the share `known_kept` is to have a novelty below 0.5.
        known_kept: see there.
    """
    extractor = FeatureExtractor(network)
    known, held_back = (_known(extractor, split, None) for split in (train, validation))
    with network.distribute_strategy.scope():
        logit = fit_novelty(known, held_back, known_kept).logit(network.get_layer("pooling").output)
        novelty = keras.layers.Activation("sigmoid", name=NOVELTY_NAME)(logit)
        return keras.Model(network.input, [network.output, novelty], name=network.name)


def labelled(labels: tuple[str, ...], counter: int | None, network: keras.Model) -> UnknownLabel:
    """Return what the outputs of `with_unknown` are called, for a network of these `labels`."""
    if counter is not None:
        return UnknownLabel(labels, counter, network)
    return UnknownLabel((*labels, UNKNOWN), len(labels), network)


def fit_unknown(
    known: NDArray[np.float64], held_back: NDArray[np.float64], head: Head, known_kept: float
) -> Outside:
    """Fit the logit of `unknown` to photos of what a network knows.

    Args:
        known: features (N, channels) that span what is known.
        held_back: features (M, channels) of other known photos, by which the threshold is chosen.
        head: what makes logits of features.
        known_kept: the share of the latter that are to keep their label.
    """
    first, directions = _spanning(known)
    best = _best_logit(held_back, head)
    share, residual, deviation = _residual(known, held_back, first, directions, known_kept)
    few = len(best) < _FEW_PHOTOS
    weight = float(best.std() / deviation / (_FEW_LOGIT_WEIGHT if few else _LOGIT_WEIGHT))
    if few:
        # The network is surer of training photos than of new ones.
        trained = _best_logit(known, head)
        best = np.append(best, trained - trained.mean() + best.mean())
    offset = float(np.quantile(best + weight * residual, 1 - known_kept))
    if head.counter is not None and few:
        # A limit that few photos leave wide open must not undo what the class has learned.
        offset = max(offset, 0.0)
    return Outside(first, directions, weight, share, offset)


def _best_logit(features: NDArray[np.float64], head: Head) -> NDArray[np.float64]:
    """Return (N,): the best logit of a class, less that of counter-examples if there is one."""
    logits = features @ head.kernel + head.bias
    if head.counter is None:
        return np.asarray(logits.max(axis=1), np.float64)
    others = np.delete(logits, head.counter, axis=1)
    return np.asarray(others.max(axis=1) - logits[:, head.counter], np.float64)


def fit_novelty(
    known: NDArray[np.float64], held_back: NDArray[np.float64], known_kept: float
) -> Outside:
    """Fit the logit of the novelty; the arguments are those of `fit_unknown`."""
    first, directions = _spanning(known)
    share, residual, deviation = _residual(known, held_back, first, directions, known_kept)
    weight = _STEEPNESS / deviation
    offset = float(weight * np.quantile(residual, 1 - known_kept))
    return Outside(first, directions, weight, share, offset)


def _spanning(features: NDArray[np.float64]) -> tuple[keras.layers.Layer, keras.layers.Layer]:
    """Return dense layers onto the direction that features (N, channels) span best, and others."""
    channels = features.shape[1]
    directions = keras.layers.Dense(
        _DIRECTIONS, use_bias=False, trainable=False, name="unknown_directions"
    )
    directions.build((None, channels))
    first = keras.layers.Dense(1, use_bias=False, trainable=False, name="unknown_first")
    first.build((None, channels))
    spanned = _basis(features)
    first.set_weights([spanned[:, :1]])
    directions.set_weights([spanned[:, 1:]])
    # What the 8-bit files would round, is rounded before anything is fitted to it.
    round_kernels((first, directions))
    return first, directions


def _basis(features: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return orthonormal columns (channels, 1 + directions), 0 where there are not so many."""
    _, _, basis = np.linalg.svd(
        features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-9), full_matrices=False
    )
    spanned = np.zeros((features.shape[1], 1 + _DIRECTIONS), np.float32)
    count = min(1 + _DIRECTIONS, len(basis))
    spanned[:, :count] = basis[:count].T
    return spanned


def _residual(
    known: NDArray[np.float64],
    held_back: NDArray[np.float64],
    first: keras.layers.Layer,
    directions: keras.layers.Layer,
    known_kept: float,
) -> tuple[float, NDArray[np.float64], float]:
    """Return the share, |V^T f|^2 - share * |f|^2 of each photo, and the deviation to scale it.

    The photos are those held back and, where these are few, behind them the known ones.
    """
    spanned = np.hstack([layer.get_weights()[0] for layer in (first, directions)])
    inside, length = ((held_back @ spanned) ** 2).sum(axis=1), (held_back**2).sum(axis=1)
    if len(held_back) < _FEW_PHOTOS:
        inside = np.append(inside, _inside_others(known))
        length = np.append(length, (known**2).sum(axis=1))
    share = float(np.quantile(inside / length.clip(1e-9), 1 - known_kept))
    residual = inside - share * length
    deviation = math.hypot(residual.std(), _ROUNDING * max(length.mean(), 1e-9))
    return share, residual, deviation


def _inside_others(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return |V^T f|^2 of each photo (N,), by directions that the others span."""
    inside = np.zeros(len(features))
    for part in range(min(_PARTS, len(features))):
        rows = np.arange(part, len(features), _PARTS)
        others = np.delete(features, rows, axis=0)
        inside[rows] = ((features[rows] @ _basis(others)) ** 2).sum(axis=1)
    return inside


def with_unknown(features: Any, dropped: Any, head: Head, outside: Outside) -> Any:
    """Return the tensor of scores with one for unknown photos: the class of `head` or the last.

    Args:
        features: the tensor (batch, channels) that the head starts from.
        dropped: the same with the dropout that it has in training.
        head: the layer that this stands in for.
        outside: what `fit_unknown` returned.
    """
    logits = _dense(head.kernel, head.bias, "logits")(dropped)
    unknown = outside.logit(features)
    if head.counter is None:
        every = keras.layers.Concatenate(name="all_logits")([logits, unknown])
    else:
        classes = head.kernel.shape[1]
        place = np.eye(classes)[head.counter : head.counter + 1]
        placed = _dense(place, np.zeros(classes), "unknown_placed")(unknown)
        every = keras.layers.Add(name="all_logits")([logits, placed])
    return keras.layers.Activation("softmax", name=HEAD_NAME)(every)


def _known(
    extractor: FeatureExtractor, split: SplitPixels, index: int | None
) -> NDArray[np.float64]:
    """Return float64 (N, channels): the features of the photos that are no counter-examples."""
    every = np.arange(len(split.labels))
    rows = every if index is None else np.flatnonzero(split.labels != index)
    size = extractor.batch_size
    blocks = (split.pixels[rows[start : start + size]] for start in range(0, len(rows), size))
    return np.concatenate(list(extractor.each(blocks))).astype(np.float64)


def _dense(kernel: NDArray[Any], bias: NDArray[Any], name: str) -> keras.layers.Layer:
    layer = keras.layers.Dense(len(bias), trainable=False, name=name)
    layer.build((None, len(kernel)))
    layer.set_weights([kernel, bias])
    return layer
