"""The network: an architecture with its normalisation inside and a head for one's own classes."""

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
from pocketlens.train.normalisations import LAYER_NAME as NORMALISATION_NAME
from pocketlens.train.normalisations import normalisation
from pocketlens.train.objectives import outputs
from pocketlens.train.plain_networks import PLAIN_NETWORKS
from pocketlens.train.settings import WEIGHTS_IMAGENET, WEIGHTS_NONE, Settings

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
                base.set_weights(donor.get_layer(BASE_NAME).get_weights())
            else:
                whole.load_weights(path)
    except Exception as error:  # Keras raises everything from KeyError to its own.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
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
