"""Layers for which XNNPACK has no int8 kernel, put in operators for which it has.

Left as they are, each would end a partition: the interpreter's own kernels run them, and XNNPACK
starts again behind them. The weights and, but for what is said below, the results stay the same.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

# The converter quantizes a constant operand to whole steps from 0 to its largest value.
_CONSTANT_STEPS = 255


def with_int8_layers(network: keras.Model) -> keras.Model:
    """Return a network with the same weights that int8 files are to be made from.

    It is the network itself where nothing is to be replaced.
    """
    if not any(map(_has_replacement, _flat_layers(network))):
        return network
    return keras.models.clone_model(network, clone_function=_int8_layer, recursive=True)


def _flat_layers(model: keras.Model) -> list[keras.layers.Layer]:
    layers: list[keras.layers.Layer] = []
    for layer in model.layers:
        layers.extend(_flat_layers(layer) if isinstance(layer, keras.Model) else [layer])
    return layers


def _has_replacement(layer: keras.layers.Layer) -> bool:
    return _int8_layer(layer) is not layer


def _int8_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    if isinstance(layer, keras.layers.Activation) and (
        layer.activation is keras.activations.hard_silu
    ):
        return _HardSwish(name=layer.name)
    if isinstance(layer, keras.layers.AveragePooling2D):
        return _AveragePooling(layer.pool_size, layer.strides, layer.padding, name=layer.name)
    return layer


class _HardSwish(keras.layers.Layer):
    """x * relu6(x + 3) / 6, with a subtraction: the converter makes HARD_SWISH of the addition."""

    def call(self, x: Any) -> Any:
        return x * tf.nn.relu6(x - (-3.0)) * (1 / 6)


class _AveragePooling(keras.layers.Layer):
    """The average as a depthwise convolution.

    At the border Keras averages over the pixels that are there, so the result is multiplied there.
    That map is rounded to the steps that int8 has for it, exact inside and within 0.5 % at the
    border of a 3 x 3 pool.
    """

    def __init__(
        self, pool_size: tuple[int, int], strides: tuple[int, int], padding: str, **options: Any
    ) -> None:
        super().__init__(**options)
        self._pool_size = pool_size
        self._strides = (1, *strides, 1)
        self._padding = padding.upper()

    def call(self, x: Any) -> Any:
        height, width = self._pool_size
        average = np.full((height, width, x.shape[-1], 1), 1 / (height * width), np.float32)
        y = tf.nn.depthwise_conv2d(x, average, self._strides, self._padding)
        factors = self._border_factors(x.shape[1], x.shape[2])
        return y if np.all(factors == 1) else y * factors

    def _border_factors(self, height: int, width: int) -> NDArray[np.float32]:
        """Return float32 (1, height, width, 1): pixels of a pool / those of them that are there."""
        kernel = np.ones((*self._pool_size, 1, 1), np.float32)
        ones = np.ones((1, height, width, 1), np.float32)
        with tf.init_scope():
            there = tf.nn.conv2d(ones, kernel, self._strides, self._padding).numpy()
        factors = kernel.size / there
        steps = np.rint(factors / factors.max() * _CONSTANT_STEPS)
        return np.asarray(factors.min() * steps / steps.min(), np.float32)
