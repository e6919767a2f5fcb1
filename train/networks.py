"""The network: MobileNetV2 with its normalisation inside and a head for one's own classes."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import Any

import keras

from pocketlens.errors import WeightsError
from pocketlens.keras_files import load_keras_model
from pocketlens.quiet import quiet
from pocketlens.runtime.runs import MODEL_NAME, is_run
from pocketlens.train.objectives import outputs
from pocketlens.train.settings import WEIGHTS_IMAGENET, WEIGHTS_NONE, Settings

LOGGER = logging.getLogger("pocketlens")

BASE_NAME = "base"
HEAD_NAME = "scores"

# MobileNetV2 expects pixels in -1 to 1 (Sandler et al. 2018; keras.applications.mobilenet_v2).
_SCALE, _OFFSET = 1 / 127.5, -1.0

# Keras's own 0.999 needs thousands of steps to arrive; a network that starts from nothing on a
# few photos would be validated with averages that are still near their start.
_SCRATCH_MOMENTUM = 0.9

_PUBLISHED_ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)


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
    x = keras.layers.Rescaling(_SCALE, _OFFSET, name="normalisation")(pixels)
    x = base(x)
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
    base = model.get_layer(BASE_NAME)
    first_trained = len(base.layers) - trained_layers
    for position, layer in enumerate(base.layers):
        layer.trainable = position >= first_trained
    for layer in batch_normalizations(model):
        layer.trainable = False


def _base(settings: Settings) -> Any:
    size, weights = settings.image_size, settings.weights
    if weights in (WEIGHTS_IMAGENET, WEIGHTS_NONE):
        return _mobilenet(settings, weights if weights == WEIGHTS_IMAGENET else None)
    path = Path(weights)
    if path.is_dir() and is_run(path):
        path = path / MODEL_NAME
    if not path.is_file():
        raise WeightsError(
            f"Expected --weights imagenet, none, or a file. Received: {weights}, which is not "
            "there. Check the path."
        )
    base = _mobilenet(settings, None)
    try:
        with quiet():
            if path.suffix == ".keras":
                donor = load_keras_model(path)
                base.set_weights(donor.get_layer(BASE_NAME).get_weights())
            else:
                base.load_weights(path)
    except Exception as error:  # Keras raises everything from KeyError to its own.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise WeightsError(
            f"Expected weights of MobileNetV2 without its top, alpha {settings.alpha}, {size} "
            f"pixels. Received: {path}: {reason}. Choose the file that fits or another --alpha."
        ) from error
    return base


def _mobilenet(settings: Settings, weights: str | None) -> Any:
    size, alpha = settings.image_size, settings.alpha
    if weights and alpha not in _PUBLISHED_ALPHAS:
        raise WeightsError(
            f"Expected an alpha with published ImageNet weights "
            f"({', '.join(map(str, _PUBLISHED_ALPHAS))}). Received: --alpha {alpha}. "
            "Choose one of them or --weights none."
        )
    if weights:
        LOGGER.info("Loading ImageNet weights; the first time they are downloaded …")
    try:
        # Keras reports its download on standard output, where only results belong.
        with quiet(), contextlib.redirect_stdout(sys.stderr):
            return keras.applications.MobileNetV2(
                (size, size, 3), alpha=alpha, include_top=False, weights=weights
            )
    except Exception as error:
        if weights is None:
            raise
        raise WeightsError(
            "Expected to download MobileNetV2's ImageNet weights. Received: no answer from the "
            "server that has them. Connect to the internet, train without them (--weights none), "
            "or give a file that you have (--weights FILE)."
        ) from error
