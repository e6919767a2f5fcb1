"""Training the head alone: on features of the frozen base that are computed once.

The head still sees augmentation. What it does to a photo's features hardly depends on the photo, so
it is looked at on a few training photos and done to all (feature hallucination: Hariharan and
Girshick 2017, arXiv:1606.02819; Schwartz et al. 2018, arXiv:1806.04734): the features of a photo
plus, newly drawn each time it comes, the difference that augmentation made to those of some photo.
So an epoch sees other views of every photo, and all of them cost little more than one pass of the
photos through the base.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pocketlens.train.arrays import write_array
from pocketlens.train.batches import Change, plain_batches
from pocketlens.train.networks import HEAD_NAME
from pocketlens.train.pixel_cache import Part

LOGGER = logging.getLogger("pocketlens")

# How many augmented photos are looked at for what augmentation does to features: this share of the
# training photos, and each of them several times where they are few.
_VIEWED_SHARE = 0.2
_MIN_VIEWED = 120

# Few photos make few steps an epoch, in which a head gets nowhere; steps on features cost nothing.
_MIN_STEPS = 20


def feature_extractor(network: keras.Model) -> keras.Model:
    """Return the network up to its pooled features, float32 (batch, channels)."""
    return keras.Model(network.input, network.get_layer("pooling").output)


def head_model(network: keras.Model) -> keras.Model:
    """Return the network's own layers from the pooled features on, as a model."""
    entry = keras.Input(network.get_layer("pooling").output.shape[1:])
    return keras.Model(entry, network.get_layer(HEAD_NAME)(network.get_layer("dropout")(entry)))


def features_of(extractor: keras.Model, part: Part, batch_size: int, path: Path) -> NDArray[Any]:
    """Return float32 (N, channels): the features of photos as they are, mapped from a new file."""
    LOGGER.info("Computing the features of %d photos …", len(part.labels))
    shape = (len(part.labels), extractor.output.shape[-1])
    rows = _features(extractor, part.pixels, part.labels, batch_size)
    return write_array(path, shape, np.float32, rows)


def feature_change(
    extractor: keras.Model,
    part: Part,
    features: NDArray[np.float32],
    augment: Change,
    batch_size: int,
    seed: int,
    path: Path,
) -> Change:
    """Return what does to features, (batch, channels), what `augment` does to pictures.

    The augmented pictures lie in a new file at `path`.
    """
    rng = np.random.default_rng((seed, len(features)))
    count = max(_MIN_VIEWED, round(_VIEWED_SHARE * len(features)))
    rows = np.sort(np.resize(rng.permutation(len(features)), count))
    LOGGER.info("Computing the features of %d augmented photos …", count)
    starts = range(0, count, batch_size)
    blocks = (augment(part.pixels[rows[start : start + batch_size]], rng) for start in starts)
    views = write_array(path, (count, *part.pixels.shape[1:]), np.uint8, blocks)
    changed = [*_features(extractor, views, part.labels[rows], batch_size)]
    differences = np.concatenate(changed) - features[rows]

    def change(values: NDArray[Any], rng: np.random.Generator) -> NDArray[np.float32]:
        return np.asarray(values + differences[rng.integers(count, size=len(values))], np.float32)

    return change


def rounds(count: int, batch_size: int) -> int:
    """Return how often an epoch of the head goes through `count` photos to make enough steps."""
    steps = -(-count // batch_size)
    return -(-_MIN_STEPS // steps)


def _features(
    extractor: keras.Model, pixels: NDArray[np.uint8], labels: NDArray[Any], batch_size: int
) -> Iterator[NDArray[np.float32]]:
    batches = plain_batches(pixels, labels, batch_size)
    # Not `predict_on_batch`, which gives every row once for each GPU.
    compute = tf.function(extractor, input_signature=[batches.element_spec[0]])
    for values, *_ in batches:
        yield np.asarray(tf.cast(compute(values), tf.float32))
