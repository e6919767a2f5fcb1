"""Bringing a finished model onto the int8 grid with photos that need no labels."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pocketlens.convert.comparison import Comparison, Reference
from pocketlens.progress import track
from pocketlens.train.grid import GridTraining, round_kernels
from pocketlens.train.networks import flat_layers

LOGGER = logging.getLogger("pocketlens")

DEFAULT_EPOCHS = 4

# Far below training's: every weight of a finished model moves, and Adam's steps have the size of
# the rate whatever the gradient. On ImageNet's MobileNetV2 four steps at 2e-5 moved the scores
# further away than rounding had (0.156 to 0.180), and at 5e-6 nearer (to 0.148).
DEFAULT_LEARNING_RATE = 5e-6

_BATCH = 16


@dataclass(frozen=True)
class Adaptation:
    """What `adapt` did, on photos that it did not see.

    `before` is the model with its kernels rounded to int8, `after` the adapted model, whose
    kernels are rounded too; both beside the model as it was. `kept` is False where that did not
    bring the scores nearer, and the model was left as it was.
    """

    photos: int
    epochs: int
    before: Comparison
    after: Comparison
    kept: bool
    seconds: float


def adapt(
    model: keras.Model,
    pixels: Sequence[NDArray[np.uint8]],
    reference: Reference,
    *,
    epochs: int = DEFAULT_EPOCHS,
    learning_rate: float = DEFAULT_LEARNING_RATE,
    seed: int = 0,
) -> Adaptation:
    """Train a model on the int8 grid with its own answers as the truth.

    The model is changed in place: every kernel is on its grid afterwards, and all weights have
    moved so that the scores are again those of before, as far as they can be (knowledge
    distillation: Hinton, Vinyals and Dean 2015, arXiv:1503.02531). The statistics of batch
    normalisation stay still; its factors and offsets learn.

    Args:
        model: takes float32 (batch, height, width, 3) raw pixels, gives scores (batch, outputs).
        pixels: photos like those that the camera will see, uint8 (height, width, 3) RGB each, all
            of the model's size.
        reference: other photos, and what the model answers on them.
        epochs: how often each photo is seen, every second time mirrored.
        learning_rate: at the start, from where it falls to 0 (cosine).
        seed: of the order of the photos.
    """
    started = time.perf_counter()
    shown = np.stack(pixels)
    targets = [predict(model, shown), predict(model, shown[:, :, ::-1])]
    original = model.get_weights()
    trainable = [(layer, layer.trainable) for layer in flat_layers(model)]
    round_kernels(flat_layers(model))
    before = reference.compare(predict(model, np.stack(reference.pixels)))
    model.set_weights(original)
    for layer, _ in trainable:
        layer.trainable = True
    _train(model, shown, targets, epochs, learning_rate, seed)
    for layer, was in trainable:
        layer.trainable = was
    after = reference.compare(predict(model, np.stack(reference.pixels)))
    kept = after.distance < before.distance
    if not kept:
        model.set_weights(original)
    seconds = time.perf_counter() - started
    return Adaptation(len(pixels), epochs, before, after, kept, seconds)


def predict(model: keras.Model, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a model's scores, float32 (photos, outputs), for uint8 (photos, h, w, 3)."""
    batches = [
        model.predict_on_batch(pixels[start : start + _BATCH].astype(np.float32))
        for start in range(0, len(pixels), _BATCH)
    ]
    return np.concatenate(batches).astype(np.float32)


def _train(
    model: keras.Model,
    pixels: NDArray[np.uint8],
    targets: Sequence[NDArray[np.float32]],
    epochs: int,
    learning_rate: float,
    seed: int,
) -> None:
    steps = -(-len(pixels) // _BATCH) * epochs
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps))
    weights = model.trainable_variables
    optimizer.build(weights)
    adds_up = targets[0].shape[1] > 1 and np.allclose(targets[0].sum(axis=1), 1, atol=1e-3)
    loss = keras.losses.KLDivergence() if adds_up else keras.losses.BinaryCrossentropy()

    # Not `fit`, which would hand `training=True` down to every batch normalisation.
    @tf.function(reduce_retracing=True)
    def step(batch: Any, wanted: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(wanted, model(tf.cast(batch, tf.float32), training=False))
        optimizer.apply_gradients(zip(tape.gradient(value, weights), weights, strict=True))
        return value

    grid = GridTraining(flat_layers(model))
    grid.on_train_begin()
    batches = _batches(pixels, targets, epochs, seed)
    for index, (batch, wanted) in enumerate(track(batches, "Adapting", steps)):
        step(tf.constant(batch), tf.constant(wanted))
        grid.on_train_batch_end(index)


def _batches(
    pixels: NDArray[np.uint8], targets: Sequence[NDArray[np.float32]], epochs: int, seed: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Yield every photo once an epoch, in every second epoch mirrored."""
    chooser = np.random.default_rng(seed)
    for epoch in range(epochs):
        mirrored = epoch % 2
        order = chooser.permutation(len(pixels))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            batch = pixels[rows]
            yield (batch[:, :, ::-1] if mirrored else batch), targets[mirrored][rows]
