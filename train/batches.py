"""Feeding pixels to the network, batch by batch, never all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pocketlens.train.pixel_cache import Part

# Gives the pictures of one epoch by its number, uint8 (N, height, width, 3), and what is true of
# them, as `truth` gives it.
EpochPictures = Callable[[int], tuple[NDArray[np.uint8], NDArray[Any]]]


def plain_batches(part: Part, batch_size: int) -> Any:
    """Return a dataset of a part in its order, unchanged: for validation, test and features."""

    def generate() -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        for start in range(0, len(part.labels), batch_size):
            rows = slice(start, start + batch_size)
            yield part.pixels[rows], part.labels[rows]

    batches = _dataset(generate, part, batch_size)
    return batches.map(lambda pixels, labels: (to_float(pixels), labels)).prefetch(tf.data.AUTOTUNE)


def training_batches(
    pictures: EpochPictures,
    part: Part,
    batch_size: int,
    seed: int,
    change: Callable[[Any], Any],
) -> Any:
    """Return a dataset of training pictures, shuffled anew in every epoch.

    Each pass over the dataset is one epoch, with as many pictures as the training part has.
    `change` gets batches of uint8 (batch, height, width, 3) and gives float32: the augmentation.
    """
    shuffler = np.random.default_rng(seed)
    epoch = -1

    def generate() -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        nonlocal epoch
        epoch += 1
        pixels, labels = pictures(epoch)
        order = shuffler.permutation(len(labels))
        for start in range(0, len(order), batch_size):
            # Sorted within the batch, since reading from disk likes it and training does not mind.
            rows = np.sort(order[start : start + batch_size])
            yield pixels[rows], labels[rows]

    return (
        _dataset(generate, part, batch_size)
        .map(
            lambda pixels, labels: (change(pixels), labels),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .prefetch(tf.data.AUTOTUNE)
    )


def same_every_epoch(part: Part) -> EpochPictures:
    """Return the same photos for every epoch."""
    return lambda _epoch: (part.pixels, part.labels)


def _dataset(
    generate: Callable[[], Iterator[tuple[NDArray[Any], NDArray[Any]]]],
    part: Part,
    batch_size: int,
) -> Any:
    dataset = tf.data.Dataset.from_generator(
        generate,
        output_signature=(
            tf.TensorSpec((None, *part.pixels.shape[1:]), tf.uint8),
            tf.TensorSpec((None, *part.labels.shape[1:]), part.labels.dtype),
        ),
    )
    return dataset.apply(
        tf.data.experimental.assert_cardinality(-(-len(part.labels) // batch_size))
    )


def to_float(pixels: Any) -> Any:
    """Return pixels as float32, unchanged otherwise."""
    return tf.cast(pixels, tf.float32)
