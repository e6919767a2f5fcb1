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
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from pocketlens.progress import track
from pocketlens.report.html import counted
from pocketlens.train.batches import Change
from pocketlens.train.networks import HEAD_NAME
from pocketlens.train.pixel_cache import SplitPixels, write_array
from pocketlens.workers import map_ahead

LOGGER = logging.getLogger("pocketlens")

# How many augmented photos are looked at for what augmentation does to features: this share of the
# training photos, and each of them several times where they are few.
_VIEWED_SHARE = 0.2
_MIN_VIEWED = 120

# Photos at once. What lies between the layers of a few photos stays in a processor's cache; two
# such batches at once keep two cores a fifth busier than one that is spread over both.
_CPU_BATCH = 8
_GPU_BATCH = 64
_BATCHES_AT_ONCE = 2

# Few photos make few steps an epoch, in which a head gets nowhere; steps on features cost nothing.
_MIN_STEPS = 20


class FeatureExtractor:
    """A network up to its pooled features, with the weights that it has when this is made.

    `channels` is how many features a photo has, `batch_size` how many photos it should get at once.
    """

    def __init__(self, network: keras.Model) -> None:
        base = keras.Model(network.input, network.get_layer("pooling").output)
        self.channels = int(base.output.shape[-1])
        gpus = tf.config.list_logical_devices("GPU")
        self.batch_size = _GPU_BATCH if gpus else _CPU_BATCH

        # Not Keras's `predict_on_batch`, which gives every row once for each GPU.
        @tf.function(input_signature=[tf.TensorSpec(base.input.shape, tf.uint8)])
        def compute(pixels: Any) -> Any:
            return tf.cast(base(tf.cast(pixels, tf.float32)), tf.float32)

        # Among constants TensorFlow merges convolutions with the normalisations that follow them,
        # which takes a third off the time.
        self._compute = convert_variables_to_constants_v2(compute.get_concrete_function())

    def each(self, batches_rgb: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """Yield float32 (batch, channels) of batches, uint8 (batch, height, width, 3) RGB."""
        return map_ahead(self._features, batches_rgb, _BATCHES_AT_ONCE, 2 * _BATCHES_AT_ONCE)

    def _features(self, pixels_rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        (features,) = self._compute(tf.constant(pixels_rgb))
        return np.asarray(features)


def head_model(network: keras.Model) -> keras.Model:
    """Return the network's own layers from the pooled features on, as a model."""
    entry = keras.Input(network.get_layer("pooling").output.shape[1:])
    return keras.Model(entry, network.get_layer(HEAD_NAME)(network.get_layer("dropout")(entry)))


def features_of(extractor: FeatureExtractor, split: SplitPixels, path: Path) -> NDArray[Any]:
    """Return float32 (N, channels): the features of photos as they are, mapped from a new file."""
    LOGGER.info("Computing the features of %s …", counted(len(split.pixels)))
    shape = (len(split.pixels), extractor.channels)
    size = extractor.batch_size
    starts = range(0, len(split.pixels), size)
    batches = (split.pixels[start : start + size] for start in starts)
    features = track(extractor.each(batches), "Computing features", len(starts))
    return write_array(path, shape, np.float32, features)


def feature_change(
    extractor: FeatureExtractor,
    split: SplitPixels,
    features: NDArray[np.float32],
    augment: Change,
    seed: int,
) -> Change:
    """Return what does to features, (batch, channels), what `augment` does to pictures."""
    rng = np.random.default_rng((seed, len(features)))
    count = max(_MIN_VIEWED, round(_VIEWED_SHARE * len(features)))
    rows = np.sort(np.resize(rng.permutation(len(features)), count))
    LOGGER.info("Computing the features of %d augmented photos …", count)
    size = extractor.batch_size
    batches = (rows[start : start + size] for start in range(0, count, size))
    views = extractor.each(augment(split.pixels[batch], rng) for batch in batches)
    bar = track(views, "Computing features", -(-count // size))
    differences = np.concatenate(list(bar)) - features[rows]

    def change(values: NDArray[Any], rng: np.random.Generator) -> NDArray[np.float32]:
        return np.asarray(values + differences[rng.integers(count, size=len(values))], np.float32)

    return change


def rounds(count: int, batch_size: int) -> int:
    """Return how often an epoch of the head goes through `count` photos to make enough steps."""
    steps = -(-count // batch_size)
    return -(-_MIN_STEPS // steps)
