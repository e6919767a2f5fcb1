"""Feeding arrays to the network, batch by batch, never all at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


def class_weights(labels: NDArray[Any]) -> NDArray[np.float32] | None:
    """Return float32 (classes,): N / (classes * photos of the class), or None for multilabel.

    The mean over the photos is 1, so that the learning rate means the same for any photos, and
    all are 1 where the classes are even (King and Zeng 2001, "Logistic Regression in Rare Events
    Data"; scikit-learn's "balanced").

    Args:
        labels: int64 (N,), every class among them; or float (N, classes) for multilabel.
    """
    if labels.ndim != 1:
        return None
    counts = np.bincount(labels)
    return (len(labels) / (len(counts) * counts)).astype(np.float32)


def photo_weights(labels: NDArray[Any], weights: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Return float32 (N,): the weight of each photo's class; 1 where there are no weights."""
    return np.ones(len(labels), np.float32) if weights is None else weights[labels]


def shuffled(labels: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return int64 (N,): every row once, in an order by chance."""
    return rng.permutation(len(labels))


def oversampled(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return int64 (N,): rows drawn so that every class comes as often, in an order by chance.

    An epoch stays as long as it was: photos of rare classes come several times, those of common
    classes take turns from epoch to epoch.
    """
    classes = np.unique(labels)
    share, rest = divmod(len(labels), len(classes))
    drawn = []
    for place, label in enumerate(rng.permutation(classes)):
        rows = np.flatnonzero(labels == label)
        wanted = share + (place < rest)
        rounds = [rng.permutation(rows) for _ in range(-(-wanted // len(rows)))]
        drawn.append(np.concatenate(rounds)[:wanted])
    return rng.permutation(np.concatenate(drawn))


# Gives the pictures of one epoch by its number, uint8 (N, height, width, 3), and what is true of
# them, as `truth` gives it.
EpochPictures = Callable[[int], tuple[NDArray[Any], NDArray[Any]]]
# Changes a batch of pictures by chance: the augmentation.
Change = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]
Weights = NDArray[np.float32] | None


@dataclass(frozen=True)
class Shuffling:
    """What differs from epoch to epoch; it follows from the seed and the epoch's number alone.

    `change` is done to every batch; `oversample` draws photos of rare classes more often; `rounds`
    is how often an epoch goes through the pictures.
    """

    seed: int
    change: Change | None = None
    oversample: bool = False
    rounds: int = 1


def plain_batches(
    values: NDArray[Any], labels: NDArray[Any], batch_size: int, weights: Weights = None
) -> Any:
    """Return a dataset of values in their order, unchanged: for validation, test and features.

    It gives float32 values, labels and float32 (batch,) the weight of each photo, from `weights`
    by class.
    """

    def generate() -> Iterator[tuple[NDArray[Any], ...]]:
        for start in range(0, len(labels), batch_size):
            rows = slice(start, start + batch_size)
            yield values[rows], labels[rows], photo_weights(labels[rows], weights)

    batches = _dataset(generate, values, labels, -(-len(labels) // batch_size))
    return batches.map(_to_float).prefetch(tf.data.AUTOTUNE)


def training_batches(
    pictures: EpochPictures,
    like: tuple[NDArray[Any], NDArray[Any]],
    batch_size: int,
    shuffling: Shuffling,
    *,
    first_epoch: int = 0,
    weights: Weights = None,
) -> Any:
    """Return a dataset of pictures in another order in every epoch.

    Each pass over the dataset is one epoch, counted from `first_epoch`. Every epoch has as many
    values and labels as `like`, in the same form. The dataset gives what `plain_batches` does.
    """
    choose = oversampled if shuffling.oversample else shuffled
    epochs = itertools.count(first_epoch)

    def generate() -> Iterator[tuple[NDArray[Any], ...]]:
        epoch = next(epochs)
        values, labels = pictures(epoch)
        rng = np.random.default_rng((shuffling.seed, epoch))
        order = np.concatenate([choose(labels, rng) for _ in range(shuffling.rounds)])
        for start in range(0, len(order), batch_size):
            # Sorted within the batch, since reading from disk likes it and training does not mind.
            rows = np.sort(order[start : start + batch_size])
            chance = np.array([shuffling.seed, epoch, start], np.int64)
            yield values[rows], labels[rows], photo_weights(labels[rows], weights), chance

    def prepared(values: Any, labels: Any, weights: Any, chance: Any) -> tuple[Any, ...]:
        if shuffling.change is not None:
            # Beside the training step, several batches at once: OpenCV lets go of Python.
            change = partial(_changed, shuffling.change)
            done = tf.numpy_function(change, [values, chance], values.dtype)
            values = tf.ensure_shape(done, values.shape)
        return _to_float(values, labels, weights)

    values, labels = like
    steps = -(-len(labels) * shuffling.rounds // batch_size)
    batches = _dataset(generate, values, labels, steps, tf.TensorSpec((3,), tf.int64))
    return batches.map(prepared, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(
        tf.data.AUTOTUNE
    )


def same_every_epoch(values: NDArray[Any], labels: NDArray[Any]) -> EpochPictures:
    """Return the same photos for every epoch."""
    return lambda _epoch: (values, labels)


def _dataset(
    generate: Callable[[], Iterator[Any]],
    values: NDArray[Any],
    labels: NDArray[Any],
    steps: int,
    *more: tf.TensorSpec,
) -> Any:
    signature = (
        tf.TensorSpec((None, *values.shape[1:]), values.dtype),
        tf.TensorSpec((None, *labels.shape[1:]), labels.dtype),
        tf.TensorSpec((None,), tf.float32),
        *more,
    )
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(steps))


def _changed(change: Change, values: NDArray[Any], chance: NDArray[np.int64]) -> NDArray[Any]:
    return change(values, np.random.default_rng(chance))


def _to_float(values: Any, labels: Any, weights: Any) -> tuple[Any, ...]:
    return tf.cast(values, tf.float32), labels, weights
