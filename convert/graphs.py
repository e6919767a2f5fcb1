"""From a model to the frozen graphs that all formats are made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

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


@dataclass(frozen=True)
class Graphs:
    """A model's concrete functions for one picture, variables frozen into constants.

    `pixels` takes float32 (1, height, width, 3) raw pixels in 0-255, for the float formats.
    `normalised` is for int8: it takes what `normalise` makes of them, one factor and one offset,
    which are to become the quantization of its input.
    """

    pixels: Any
    normalised: Any
    normalise: Callable[[Any], Any]

    def float32(self) -> bytes:
        """Return the float32 `.tflite` model that takes raw pixels."""
        return bytes(_converter(self.pixels).convert())

    def float16(self) -> bytes:
        """Return the same with weights in float16."""
        converter = _converter(self.pixels)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
        return bytes(converter.convert())

    def for_int8(self) -> bytes:
        """Return the float32 `.tflite` model that takes normalised pixels."""
        return bytes(_converter(self.normalised).convert())


def trace(model: keras.Model) -> Graphs:
    """Trace a model for a fixed batch of one.

    A model that begins with a Rescaling layer is traced behind it for int8, any other from the raw
    pixels, whose quantization then has scale 1 and zero point 0.
    """
    scale, offset, network = _split(model)
    height, width = model.input_shape[1:3]
    int8_network = with_int8_layers(network)
    return trace_function(
        lambda values: network(values, training=False),
        (width, height),
        scale,
        offset,
        None if int8_network is network else lambda values: int8_network(values, training=False),
    )


def trace_function(
    network: Callable[[Any], Any],
    size_wh: tuple[int, int],
    scale: float,
    offset: float,
    int8_network: Callable[[Any], Any] | None = None,
) -> Graphs:
    """Trace a function of normalised pixels, which are pixels * `scale` + `offset`.

    `int8_network` is the same for int8 where that is to consist of other operators.
    """

    def normalise(pixels: Any) -> Any:
        return pixels * scale + offset

    shape = tf.TensorSpec((1, size_wh[1], size_wh[0], 3), tf.float32, name="pixels")
    frozen = _frozen(network, shape)
    normalised = _frozen(int8_network, shape) if int8_network else frozen

    # A thin layer around the frozen graph, so that the network itself is traced once only.
    @tf.function
    def run_pixels(values: Any) -> Any:
        return frozen(normalise(values))

    return Graphs(run_pixels.get_concrete_function(shape), normalised, normalise)


def _split(model: keras.Model) -> tuple[float, float, keras.Model]:
    """Return the factor and the offset that a model begins with, and the rest of it."""
    first = next(layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer))
    if (
        isinstance(first, keras.layers.Rescaling)
        and np.ndim(first.scale) == np.ndim(first.offset) == 0
    ):
        rest = keras.Model(first.output, model.output, name="network")
        return float(first.scale), float(first.offset), rest
    return 1.0, 0.0, model


def _frozen(network: Callable[[Any], Any], shape: tf.TensorSpec) -> Any:
    """Trace with constants for variables.

    Not optional: the converter leaves the weights out of a concrete function whose variables are
    still variables, without an error.
    """
    return convert_variables_to_constants_v2(tf.function(network).get_concrete_function(shape))


def _converter(function: Any) -> Any:
    return tf.lite.TFLiteConverter.from_concrete_functions([function])
