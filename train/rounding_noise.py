"""Noise where int8 will round, so that a network grows up with it.

An int8 file rounds what each layer gives to 256 steps of one range. The grid (`grid`) keeps that
from the kernels, not from what flows between the layers, and in a narrow network it costs answers.
A network that learns from nothing with far coarser noise in those places learns weights through
which noise does not grow (C. Bishop, "Training with Noise is Equivalent to Tikhonov
Regularization", Neural Computation 7, 1995), and hardly notices the rounding afterwards. It costs
nothing at inference.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from pocketlens.train.networks import batch_normalizations

# The noise is as coarse as rounding to 32 steps.
_STEPS = 32


@contextlib.contextmanager
def rounding_noise(model: keras.Model, seed: int) -> Iterator[None]:
    """Add noise behind each batch normalisation while a model is trained inside the block.

    It is uniform, as wide as one of `_STEPS` steps between the smallest and the largest value of
    the batch. There is none where no training goes on. A run that is resumed goes on with the
    noise of its step.

    Args:
        model: compiled.
        seed: of the noise.
    """
    layers = batch_normalizations(model)
    for number, layer in enumerate(layers):
        layer.call = _noisy(layer.call, model.optimizer.iterations, seed + number)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call  # What its class says holds again.


def _noisy(call: Callable[..., Any], iterations: Any, seed: int) -> Callable[..., Any]:
    def noisy(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        values = call(inputs, training=training, mask=mask)
        if not training:
            return values
        step = (tf.reduce_max(values) - tf.reduce_min(values)) / _STEPS
        place = tf.stack([seed, tf.cast(iterations, tf.int32)])
        noise = tf.random.stateless_uniform(tf.shape(values), place, -0.5, 0.5, values.dtype)
        return values + tf.stop_gradient(step) * noise

    return noisy
