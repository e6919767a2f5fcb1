"""Two plain convolutional networks that are trained from nothing on one's own photos."""

from __future__ import annotations

from typing import Any

import keras

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
