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
from pocketlens.convert.grid_fitting import fit_kernels
from pocketlens.progress import track
from pocketlens.train.networks import flat_layers

LOGGER = logging.getLogger("pocketlens")

DEFAULT_EPOCHS = 4

# Measured on ImageNet's MobileNetV2 and 600 photos of which 530 were of other things: 2e-5 in two
# epochs wins half as much, 1e-3 learns the photos themselves.
DEFAULT_LEARNING_RATE = 1e-4

_BATCH = 16

# Scores below which float32 says nothing of the logits any more.
_LEAST_SHARE, _LEAST_SIGMOID = 1e-30, 1e-6

# Photos for the means of what goes into each layer, as many as calibration takes by default.
_MEASURED = 200


@dataclass(frozen=True)
class Adaptation:
    """What `adapt` did, on photos that it did not see.

    `before` is the model with its kernels fitted onto the int8 grid, which `convert` does by
    itself; `after` the adapted model, whose kernels are the same; both beside the model as it was.
    `kept` is False where that did not bring the scores nearer, and the model was left as it was.
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

    The model is changed in place. Every kernel is put onto its grid and stays there; the factors
    and offsets of batch normalisation and the biases learn to give the logits of before again
    (knowledge distillation in the limit of a high temperature: Hinton, Vinyals and Dean 2015,
    arXiv:1503.02531, section 2.1). All logits count alike, so that a photo of a few classes says
    something of all of them. What learns is little, so that some hundred photos cannot teach the
    model much else: training the kernels on the same photos left the scores twice as far away. The
    statistics of batch normalisation stay still.

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
    fit_kernels(model, pixels[:_MEASURED])
    before = reference.compare(predict(model, np.stack(reference.pixels)))
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
    # Factors, offsets and biases are vectors; no kernel is.
    weights = [weight for weight in model.trainable_variables if len(weight.shape) == 1]
    optimizer.build(weights)
    softmax = targets[0].shape[1] > 1 and np.allclose(targets[0].sum(axis=1), 1, atol=1e-3)

    # Not `fit`, which would hand `training=True` down to every batch normalisation.
    @tf.function(reduce_retracing=True)
    def step(batch: Any, wanted: Any) -> Any:
        with tf.GradientTape() as tape:
            scores = model(tf.cast(batch, tf.float32), training=False)
            error = _logits(scores, softmax=softmax) - _logits(wanted, softmax=softmax)
            value = tf.reduce_mean(tf.square(error))
        optimizer.apply_gradients(zip(tape.gradient(value, weights), weights, strict=True))
        return value

    for batch, wanted in track(_batches(pixels, targets, epochs, seed), "Adapting", steps):
        step(tf.constant(batch), tf.constant(wanted))


def _logits(scores: Any, *, softmax: bool) -> Any:
    """Return what the scores (photos, outputs) were made of; softmax forgets their mean."""
    if softmax:
        logs = tf.math.log(tf.maximum(scores, _LEAST_SHARE))
        return logs - tf.reduce_mean(logs, axis=1, keepdims=True)
    inside = tf.clip_by_value(scores, _LEAST_SIGMOID, 1 - _LEAST_SIGMOID)
    return tf.math.log(inside / (1 - inside))


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
