"""The network: an architecture with its normalisation inside and a head for one's own classes."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import ModelFileError, WeightsError
from pocketlens.keras_files import load_keras_model
from pocketlens.quiet import quiet
from pocketlens.runtime.runs import MODEL_NAME, is_run
from pocketlens.train.architectures import IMAGENET_BGR, IMAGENET_RGB, SYMMETRIC
from pocketlens.train.optimization import outputs
from pocketlens.train.settings import WEIGHTS_IMAGENET, WEIGHTS_NONE, Settings

# Channels of each stage; the picture is halved after it.
_SMALL = (16, 32, 64, 128)
_DEEP = (32, 64, 128, 256)

# The share of channels that each stage of the deep network drops in training, more the higher up:
# lower ones have few weights and hold what all classes need.
_DEEP_DROPOUT = (0.1, 0.2, 0.3, 0.4)


def cnn_small(image_size: int) -> keras.Model:
    """Build the baseline: one convolution a stage, nothing else."""
    pixels = keras.Input((image_size, image_size, 3))
    x = pixels
    for stage, channels in enumerate(_SMALL, 1):
        x = keras.layers.Conv2D(
            channels, 3, padding="same", activation="relu", name=f"stage{stage}_conv"
        )(x)
        x = keras.layers.MaxPooling2D(name=f"stage{stage}_pool")(x)
    return keras.Model(pixels, x)


def cnn_deep(image_size: int) -> keras.Model:
    """Build the deeper one: two convolutions a stage with batch normalisation, then dropout."""
    pixels = keras.Input((image_size, image_size, 3))
    x = pixels
    for stage, (channels, dropout) in enumerate(zip(_DEEP, _DEEP_DROPOUT, strict=True), 1):
        for place in (1, 2):
            x = _convolution(x, channels, f"stage{stage}_{place}")
        x = keras.layers.MaxPooling2D(name=f"stage{stage}_pool")(x)
        x = keras.layers.SpatialDropout2D(dropout, name=f"stage{stage}_dropout")(x)
    return keras.Model(pixels, x)


PLAIN_NETWORKS = {"cnn_small": cnn_small, "cnn_deep": cnn_deep}


def _convolution(x: Any, channels: int, name: str) -> Any:
    x = keras.layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = keras.layers.BatchNormalization(name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


NORMALISATION_NAME = "normalisation"

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
    return keras.layers.Rescaling(1 / 127.5, -1.0, name=NORMALISATION_NAME)


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
    layer = keras.layers.Conv2D(3, 1, trainable=False, name=NORMALISATION_NAME)
    layer.build((None, None, None, 3))
    layer.set_weights([matrix[None, None], offsets])
    return layer


LOGGER = logging.getLogger("pocketlens")

BASE_NAME = "base"
HEAD_NAME = "scores"

# Keras's own 0.999 needs thousands of steps to arrive; a network that starts from nothing on a
# few photos would be validated with averages that are still near their start.
_SCRATCH_MOMENTUM = 0.9

# Keras builds its normalisation into this one, another for ImageNet weights than for none; it is
# left out here and ends where the padding of the first convolution begins.
_WITH_NORMALISATION, _AFTER_NORMALISATION = "efficientnet_b0", "stem_conv_pad"


def build(classes: int, settings: Settings) -> keras.Model:
    """Build the network, with pretrained weights where the settings ask for them.

    Input: float32 (batch, height, width, 3), raw RGB in 0-255. Output: float32 scores in 0-1,
    (batch, classes), or (batch, 1) for the positive class of a binary task.

    Raises:
        WeightsError: the weights cannot be had or do not fit.
    """
    size = settings.image_size
    base = _base(settings)
    base.name = BASE_NAME
    if not settings.pretrained:
        for layer in batch_normalizations(base):
            layer.momentum = _SCRATCH_MOMENTUM
    pixels = keras.Input((size, size, 3), name="pixels")
    x = base(normalisation(settings.architecture.normalisation)(pixels))
    x = keras.layers.GlobalAveragePooling2D(name="pooling")(x)
    x = keras.layers.Dropout(settings.dropout, name="dropout")(x)
    units, activation = outputs(settings.task, classes)
    scores = keras.layers.Dense(units, activation=activation, name=HEAD_NAME)(x)
    return keras.Model(pixels, scores, name="pocketlens")


def batch_normalizations(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return every batch normalisation layer of a model, also of models nested in it."""
    return [
        layer for layer in flat_layers(model) if isinstance(layer, keras.layers.BatchNormalization)
    ]


def flat_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers of a model and of the models nested in it, in order."""
    layers: list[keras.layers.Layer] = []
    for layer in model.layers:
        layers.extend(flat_layers(layer) if isinstance(layer, keras.Model) else [layer])
    return layers


def freeze(model: keras.Model, trained_layers: int) -> None:
    """Let only the last `trained_layers` of the base and the head be trained, with still averages.

    Every BatchNormalization gets `trainable = False`, also among the trained layers: calling the
    base with `training=False` does not keep its statistics still once `fit` runs (Keras 3).
    """
    model.trainable = True
    model.get_layer(NORMALISATION_NAME).trainable = False
    base = model.get_layer(BASE_NAME)
    first_trained = len(base.layers) - trained_layers
    for position, layer in enumerate(base.layers):
        layer.trainable = position >= first_trained
    for layer in batch_normalizations(model):
        layer.trainable = False


def _base(settings: Settings) -> keras.Model:
    weights = settings.weights
    if weights == WEIGHTS_NONE:
        return _without_normalisation(_empty(settings), settings)
    if weights == WEIGHTS_IMAGENET:
        return _without_normalisation(_published(settings), settings)
    path = Path(weights)
    if path.is_dir() and is_run(path):
        path = path / MODEL_NAME
    whole = _empty(settings)  # What a file of Keras's own fits.
    base = _without_normalisation(whole, settings)
    try:
        with quiet():
            if path.suffix == ".keras":
                donor = load_keras_model(path)
                if BASE_NAME not in [layer.name for layer in donor.layers]:
                    raise ValueError("a model with other layers than those pocketlens trains")
                base.set_weights(donor.get_layer(BASE_NAME).get_weights())
            else:
                whole.load_weights(path)
    except ModelFileError:
        raise
    except Exception as error:  # Keras raises everything from KeyError to its own.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        reason = reason.rstrip(".")
        raise WeightsError(
            f"Expected weights of {_described(settings)} without its top. Received: {path}: "
            f"{reason}. Choose the file that fits, or the --arch and --alpha that it is for."
        ) from error
    return base


def _published(settings: Settings) -> keras.Model:
    """Return the part below the head with its ImageNet weights."""
    size = settings.image_size
    published_size = settings.architecture.published_size(settings.alpha, size)
    LOGGER.info("Loading ImageNet weights; the first time they are downloaded …")
    try:
        # Keras reports its download on standard output, where only results belong.
        with quiet(), contextlib.redirect_stdout(sys.stderr):
            donor = _application(settings, published_size, WEIGHTS_IMAGENET)
    except Exception as error:
        raise WeightsError(
            f"Expected to download the ImageNet weights of {_described(settings)}. Received: no "
            "answer from the server that has them. Connect to the internet, train without them "
            "(--weights none), or give a file that you have (--weights FILE)."
        ) from error
    if published_size == size:
        return donor
    base = _empty(settings)
    base.set_weights(donor.get_weights())
    return base


def _empty(settings: Settings) -> keras.Model:
    if settings.arch in PLAIN_NETWORKS:
        return PLAIN_NETWORKS[settings.arch](settings.image_size)
    return _application(settings, settings.image_size, None)


def _application(settings: Settings, size: int, weights: str | None) -> Any:
    architecture = settings.architecture
    options: dict[str, Any] = {"alpha": settings.alpha} if architecture.has_alpha else {}
    if architecture.name.startswith("mobilenet_v3"):
        options["include_preprocessing"] = False
    make = getattr(keras.applications, architecture.application)
    return make(input_shape=(size, size, 3), include_top=False, weights=weights, **options)


def _without_normalisation(base: keras.Model, settings: Settings) -> keras.Model:
    """Return the same layers from where they take normalised pixels."""
    if settings.arch != _WITH_NORMALISATION:
        return base
    return keras.Model(base.get_layer(_AFTER_NORMALISATION).input, base.output)


def _described(settings: Settings) -> str:
    width = f" at alpha {settings.alpha}" if settings.architecture.has_alpha else ""
    return f"{settings.arch}{width}"
