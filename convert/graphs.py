"""From a Keras model to the frozen graphs that all formats are made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from pocketlens.convert.int8_layers import with_int8_layers


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


def trace(model: keras.Model) -> Graphs:
    """Trace a model for a fixed batch of one.

    A model that begins with a Rescaling layer is traced behind it for int8, any other from the raw
    pixels, whose quantization then has scale 1 and zero point 0.

    Freezing is not optional: the converter leaves the weights out of a concrete function whose
    variables are still variables, without an error.
    """
    scale, offset, network = _split(model)

    def normalise(pixels: Any) -> Any:
        return pixels * scale + offset

    shape = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="pixels")
    int8_network = with_int8_layers(network)
    normalised = _frozen(int8_network, shape)
    float_network = normalised if int8_network is network else _frozen(network, shape)

    # A thin layer around the frozen graph, so that the network itself is traced once only.
    @tf.function
    def run_pixels(values: Any) -> Any:
        return float_network(normalise(values))

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


def _frozen(network: keras.Model, shape: tf.TensorSpec) -> Any:
    @tf.function
    def run(values: Any) -> Any:
        return network(values, training=False)

    return convert_variables_to_constants_v2(run.get_concrete_function(shape))
