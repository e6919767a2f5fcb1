"""Feeding pixels to the network, batch by batch, never all at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pocketlens.train.pixel_cache import Part

# Gives the pictures of one epoch by its number: uint8 (N, height, width, 3) and int64 (N,).
EpochPictures = Callable[[int], tuple[NDArray[np.uint8], NDArray[np.int64]]]


def plain_batches(part: Part, batch_size: int) -> Any:
    """Return a dataset of a part in its order, unchanged: for validation, test and features."""
    batches = ordered_batches(part.pixels, part.labels, batch_size)
    return batches.map(lambda pixels, labels: (to_float(pixels), labels)).prefetch(tf.data.AUTOTUNE)


def ordered_batches(values: NDArray[Any], labels: NDArray[np.int64], batch_size: int) -> Any:
    """Return a dataset of batches of values and labels in their order."""

    def generate() -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        for start in range(0, len(labels), batch_size):
            rows = slice(start, start + batch_size)
            yield values[rows], labels[rows]

    return _dataset(generate, values, len(labels), batch_size)


def training_batches(
    pictures: EpochPictures,
    part: Part,
    batch_size: int,
    seed: int,
    first_epoch: int,
    change: Callable[[Any, Any], Any],
) -> Any:
    """Return a dataset of training pictures, shuffled anew in every epoch.

    Each pass over the dataset is one epoch, with as many pictures as the training part has; their
    order and `change` depend on `seed` and the number of the epoch only, from `first_epoch` on.
    `change` gets batches of uint8 (batch, height, width, 3) with an int32 (2,) seed and gives
    float32: the augmentation.
    """
    batches = shuffled_batches(
        pictures, part.pixels, len(part.labels), batch_size, seed, first_epoch
    )
    return batches.map(
        lambda pixels, labels, draw: (change(pixels, draw), labels),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    ).prefetch(tf.data.AUTOTUNE)


def shuffled_batches(
    rows: Callable[[int], tuple[NDArray[Any], NDArray[np.int64]]],
    like: NDArray[Any],
    count: int,
    batch_size: int,
    seed: int,
    first_epoch: int,
) -> Any:
    """Return a dataset of batches (values, labels, int32 (2,) random seed), see above.

    `rows` gives values and labels of an epoch by its number; `count` of them, each `like` those.
    """
    epochs = itertools.count(first_epoch)

    def generate() -> Iterator[tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int32]]]:
        epoch = next(epochs)
        values, labels = rows(epoch)
        shuffler = np.random.default_rng((seed, epoch))
        order = shuffler.permutation(len(labels))
        for start in range(0, len(order), batch_size):
            # Sorted within the batch, since reading from disk likes it and training does not mind.
            chosen = np.sort(order[start : start + batch_size])
            draw = shuffler.integers(2**31, size=2, dtype=np.int32)
            yield values[chosen], labels[chosen], draw

    draw = tf.TensorSpec((2,), tf.int32)
    return _dataset(generate, like, count, batch_size, draw)


def same_every_epoch(part: Part) -> EpochPictures:
    """Return the same photos for every epoch."""
    return lambda _epoch: (part.pixels, part.labels)


def to_float(pixels: Any) -> Any:
    """Return pixels as float32, unchanged otherwise."""
    return tf.cast(pixels, tf.float32)


def _dataset(
    generate: Callable[[], Iterator[Any]],
    like: NDArray[Any],
    count: int,
    batch_size: int,
    *more: Any,
) -> Any:
    values = tf.TensorSpec((None, *like.shape[1:]), like.dtype)
    labels = tf.TensorSpec((None,), tf.int64)
    dataset = tf.data.Dataset.from_generator(generate, output_signature=(values, labels, *more))
    return dataset.apply(tf.data.experimental.assert_cardinality(-(-count // batch_size)))
