"""What a network makes of raw pixels before its first layer, as a layer of the saved model.

Each is what the network's publishers did to the pixels that its weights have seen:
keras.applications.imagenet_utils.preprocess_input in its modes "tf", "caffe" and "torch".
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from numpy.typing import NDArray

from pocketlens.train.architectures import IMAGENET_BGR, IMAGENET_RGB, SYMMETRIC

LAYER_NAME = "normalisation"

# Of ImageNet's training photos, red, green and blue, as the publishers of each network rounded
# them: Simonyan and Zisserman 2014, https://arxiv.org/abs/1409.1556, in 0-255, and
# https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet, as shares of 255.
_MEAN_RGB = np.array([123.68, 116.779, 103.939])
_MEAN_SHARES, _DEVIATION_SHARES = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def normalisation(kind: str) -> keras.layers.Layer:
    """Return the layer for float32 (batch, height, width, 3) raw RGB pixels in 0-255.

    One factor for all channels is a Rescaling layer, which int8 files replace by the quantization
    of their input. Channels that are treated differently or change places are a convolution of
    one pixel: in int8 it is exact but for the rounding of its output, where factors and offsets
    of their own would be rounded too. It is never trained, and its kernel is on the int8 grid.
    """
    return _LAYERS[kind]()


def _symmetric() -> keras.layers.Layer:
    return keras.layers.Rescaling(1 / 127.5, -1.0, name=LAYER_NAME)


def _imagenet_bgr() -> keras.layers.Layer:
    return _pointwise(np.eye(3)[::-1], -_MEAN_RGB[::-1])


def _imagenet_rgb() -> keras.layers.Layer:
    factors = 1 / (255 * _DEVIATION_SHARES)
    return _pointwise(np.diag(factors), -_MEAN_SHARES / _DEVIATION_SHARES)


_LAYERS: dict[str, Callable[[], keras.layers.Layer]] = {
    SYMMETRIC: _symmetric,
    IMAGENET_BGR: _imagenet_bgr,
    IMAGENET_RGB: _imagenet_rgb,
}


def _pointwise(matrix: NDArray[np.float64], offsets: NDArray[np.float64]) -> keras.layers.Layer:
    """Return x @ matrix + offsets for the channels x of each pixel."""
    layer = keras.layers.Conv2D(3, 1, trainable=False, name=LAYER_NAME)
    layer.build((None, None, None, 3))
    layer.set_weights([matrix[None, None], offsets])
    return layer
