"""A small network off the int8 grid, and what its conversion starts from."""

import importlib.util
from typing import Any

import numpy as np
import pytest

SIZE = 32


@pytest.fixture(scope="session")
def rough_network() -> Any:
    """Return a small network whose rounded kernels shift every channel.

    Weights are all of one sign and small beside one large one in each channel, so that rounding
    errs for most of them in one direction.
    """
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("conversion needs the train extra")
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    pixels = keras.Input((SIZE, SIZE, 3))
    x = layers.Rescaling(1 / 127.5, -1)(pixels)
    x = layers.Conv2D(8, 3, strides=2, activation="relu6")(x)
    x = layers.DepthwiseConv2D(3, activation="relu6")(x)
    x = layers.Conv2D(16, 1, activation="relu6")(x)
    x = layers.GlobalAveragePooling2D()(x)
    network = keras.Model(pixels, layers.Dense(3, activation="softmax")(x))
    rng = np.random.default_rng(0)
    for layer in network.layers:
        weights = layer.get_weights()
        if weights:
            kernel = rng.uniform(0.0015, 0.0019, weights[0].shape)
            # Rounded down to nothing: a step is the largest of a channel / 127, 0.0031 or more.
            large = (
                (0, 0) if isinstance(layer, layers.DepthwiseConv2D) else (0,) * (kernel.ndim - 1)
            )
            kernel[large] = rng.uniform(0.4, 0.5, kernel[large].shape)
            layer.set_weights([kernel, rng.uniform(-0.1, 0.1, weights[1].shape)])
    # A head whose scores differ by more than the steps of an int8 output.
    kernel, bias = network.layers[-1].get_weights()
    kernel[0] *= (1, -1, 0.5)
    network.layers[-1].set_weights([20 * kernel, bias])
    return network


@pytest.fixture(scope="session")
def photos() -> list[np.ndarray]:
    """Pictures with smooth patches, uint8 (32, 32, 3) each."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (24, 4, 4, 3))
    return [np.kron(entry, np.ones((8, 8, 1))).astype(np.uint8) for entry in coarse]


@pytest.fixture(scope="session")
def rough_encoder(rough_network: Any, photos: list[np.ndarray]) -> Any:
    """Return the network's encoder, with the pictures for calibration."""
    from pocketlens.convert.encoders import Encoder
    from pocketlens.convert.graphs import trace

    return Encoder(trace(rough_network), photos)
