"""What the layers of a Keras model make of one photo, as pictures."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import keras
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pocketlens.errors import ModelFileError
from pocketlens.runtime.pictures import Pixels

# The strongest channels of a layer that are shown.
CHANNELS = 16

# Layers that show what the one before shows.
_NOTHING_NEW = (keras.Model, keras.layers.InputLayer, keras.layers.ZeroPadding2D)

_COLUMNS = 4
_TILE = 104
_GAP = 4
_COLOURS = "viridis"


@dataclass(frozen=True)
class FeatureMaps:
    """The strongest channels of a layer for one photo, as a PNG.

    `shape` is the (height, width, channels) of the layer's whole output.
    """

    layer: str
    shape: tuple[int, int, int]
    png: bytes


def feature_maps(network: keras.Model, pixels: Pixels) -> tuple[FeatureMaps, ...]:
    """Run a photo through a model and draw the last layer of each resolution.

    Shown are the channels whose values vary most over the photo, each stretched to its own range.

    Args:
        network: a functional Keras model, pretrained base nested in it or not.
        pixels: uint8 (height, width, 3) in RGB at the model's size.

    Raises:
        ModelFileError: the model has no layers that keep the picture's rows and columns.
    """
    values: Any = pixels[None].astype(np.float32)
    inner, before = _picture_part(network)
    if before is not None:
        values = before(values, training=False)
    layers = _last_of_each_size(inner)
    if not layers:
        raise ModelFileError(
            "Expected a model with convolutions for feature maps. Received: one without. "
            "Leave --feature-maps out."
        )
    outputs = keras.Model(inner.input, [layer.output for layer in layers])(values, training=False)
    return tuple(
        _drawn(layer.name, keras.ops.convert_to_numpy(output)[0].astype(np.float32))
        for layer, output in zip(layers, outputs, strict=True)
    )


def _picture_part(network: keras.Model) -> tuple[keras.Model, keras.Model | None]:
    """Return the model whose own layers are to be shown, and what comes before it."""
    for position, layer in enumerate(network.layers):
        if isinstance(layer, keras.Model) and _last_of_each_size(layer):
            before = network.layers[position - 1]
            return layer, keras.Model(network.input, before.output)
    return network, None


def _last_of_each_size(model: keras.Model) -> list[keras.layers.Layer]:
    last: dict[tuple[int, int], keras.layers.Layer] = {}
    for layer in model.layers:
        if isinstance(layer, _NOTHING_NEW):
            continue
        shape: tuple[Any, ...] = getattr(layer.output, "shape", ())
        if len(shape) == 4 and None not in shape[1:] and min(shape[1:3]) > 1 and shape[3] > 3:
            size = (shape[1], shape[2])
            last.pop(size, None)
            last[size] = layer
    return list(last.values())


def _drawn(name: str, maps: NDArray[np.float32]) -> FeatureMaps:
    strongest = np.argsort(-maps.std(axis=(0, 1)), kind="stable")[:CHANNELS]
    step = _TILE + _GAP
    rows = -(-len(strongest) // _COLUMNS)
    sheet = np.zeros((rows * step - _GAP, _COLUMNS * step - _GAP, 4), np.uint8)
    for place, channel in enumerate(strongest):
        row, column = divmod(place, _COLUMNS)
        tile = _coloured(maps[..., channel]).resize((_TILE, _TILE), Image.Resampling.BOX)
        top, left = row * step, column * step
        sheet[top : top + _TILE, left : left + _TILE] = np.asarray(tile)
    buffer = io.BytesIO()
    # With a palette of its own it is a third of the size.
    Image.fromarray(sheet).quantize(128).save(buffer, format="PNG", optimize=True)
    height, width, channels = maps.shape
    return FeatureMaps(name, (height, width, channels), buffer.getvalue())


def _coloured(values: NDArray[np.float32]) -> Image.Image:
    low, high = float(values.min()), float(values.max())
    stretched = (values - low) / (high - low or 1.0)
    colours = matplotlib.colormaps[_COLOURS](stretched, bytes=True)
    return Image.fromarray(np.asarray(colours, np.uint8))
