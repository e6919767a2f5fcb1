"""From a Keras model to the one frozen graph that all formats are made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from pocketlens.errors import ModelFileError


@dataclass(frozen=True)
class Graphs:
    """A model's concrete functions for one picture, variables frozen into constants.

    `pixels` takes float32 (1, height, width, 3) raw pixels in 0-255. `normalised` is the same
    without the first layer, so it takes what `normalise` makes of them.
    """

    pixels: Any
    normalised: Any
    normalise: Callable[[Any], Any]


def trace(model: keras.Model) -> Graphs:
    """Trace a model once, for a fixed batch of one.

    Freezing is not optional: the converter leaves the weights out of a concrete function whose
    variables are still variables, without an error.

    Raises:
        ModelFileError: the model does not begin with its normalisation.
    """
    rescaling = next(
        (layer for layer in model.layers if isinstance(layer, keras.layers.Rescaling)), None
    )
    if rescaling is None:
        raise ModelFileError(
            "Expected a model that begins with a Rescaling layer. Received: one without. "
            "Train it with pocketlens train."
        )
    network = keras.Model(rescaling.output, model.output, name="network")
    height, width = model.input_shape[1:3]
    return trace_function(
        lambda values: network(values, training=False),
        (width, height),
        float(rescaling.scale),
        float(rescaling.offset),
    )


def trace_function(
    network: Callable[[Any], Any], size_wh: tuple[int, int], scale: float, offset: float
) -> Graphs:
    """Trace a function of normalised pixels, which are pixels * `scale` + `offset`."""

    def normalise(pixels: Any) -> Any:
        return pixels * scale + offset

    shape = tf.TensorSpec((1, size_wh[1], size_wh[0], 3), tf.float32, name="pixels")
    normalised = convert_variables_to_constants_v2(
        tf.function(network).get_concrete_function(shape)
    )

    # A thin layer around the frozen graph, so that the network itself is traced once only.
    @tf.function
    def run_pixels(values: Any) -> Any:
        return normalised(normalise(values))

    return Graphs(run_pixels.get_concrete_function(shape), normalised, normalise)
