"""Rounding a Keras model's kernels without moving what its layers give on average.

What `bias_correction` does to a converted model: a kernel W that is rounded to Q shifts each output
channel by the sum of (Q - W) over the kernel times the mean of the input that it meets (M. Nagel et
al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
arXiv:1906.04721, section 4.2). The shift is taken out of the layer's bias, or out of the offset of
the batch normalisation behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pocketlens.train.grid import kernel_of, rounded
from pocketlens.train.networks import flat_layers

# All layers' inputs of so many photos lie in memory at once, about 30 MB each at 224x224.
_BATCH = 8


def round_corrected(model: keras.Model, pixels: Sequence[NDArray[np.uint8]]) -> None:
    """Put every kernel onto its int8 grid and take what that shifts on average out again.

    Layers with neither a bias nor a batch normalisation behind them are rounded only. Of a layer
    that the model uses several times the first use counts.

    Args:
        model: takes float32 (batch, height, width, 3) raw pixels.
        pixels: photos, uint8 (height, width, 3) RGB each, all of the model's size.
    """
    sums: dict[int, Any] = {}
    for start in range(0, len(pixels), _BATCH):
        batch = np.stack(pixels[start : start + _BATCH]).astype(np.float32)
        for layer, values in _inputs(model, tf.constant(batch)):
            axes = tuple(range(1, len(values.shape) - 1))
            mean = tf.reduce_mean(values, axes) if axes else values
            sums[id(layer)] = sums.get(id(layer), 0.0) + tf.reduce_sum(mean, 0).numpy()
    layers = flat_layers(model)
    for layer in layers:
        found = kernel_of(layer)
        if found is None:
            continue
        kernel, axes = found
        before = kernel.numpy()
        kernel.assign(rounded(kernel.value, axes))
        if id(layer) in sums:
            mean = sums[id(layer)] / len(pixels)
            _correct(layer, layers, _shift(layer, kernel.numpy() - before, mean))


def _inputs(model: keras.Model, values: Any) -> Iterator[tuple[keras.layers.Layer, Any]]:
    """Yield each layer with a kernel and what goes into it, those of nested models too."""
    taps = [layer for layer in model.layers if kernel_of(layer) or isinstance(layer, keras.Model)]
    if not taps:
        return
    # Not public, but `input` of a nested model is its own, not what enters it here.
    tensors = [layer._inbound_nodes[0].input_tensors[0] for layer in taps]
    entries = keras.Model(model.input, tensors)(values, training=False)
    for layer, entering in zip(taps, tf.nest.flatten(entries), strict=True):
        if isinstance(layer, keras.Model):
            yield from _inputs(layer, entering)
        else:
            yield layer, entering


def _shift(
    layer: keras.layers.Layer, error: NDArray[np.float32], mean: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return what an error of the kernel adds to each output channel, float32 (channels,)."""
    summed = error.sum(axis=(0, 1)) if error.ndim == 4 else error
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        # (channels, multiplier): each channel meets its own input only.
        shift: NDArray[np.float32] = (summed * mean[:, None]).reshape(-1)
        return shift
    # Where there are groups of channels, each meets its own part of the inputs.
    groups = len(mean) // len(summed)
    pairs = zip(np.split(mean, groups), np.split(summed, groups, axis=1), strict=True)
    return np.concatenate([part_mean @ part for part_mean, part in pairs])


def _correct(
    layer: keras.layers.Layer, layers: list[keras.layers.Layer], shift: NDArray[np.float32]
) -> None:
    if layer.bias is not None:
        layer.bias.assign(layer.bias.numpy() - shift)
        return
    for other in layers:
        follows = isinstance(other, keras.layers.BatchNormalization) and other.input is layer.output
        if follows and other.beta is not None:
            factor = 1 if other.gamma is None else other.gamma.numpy()
            factor = factor / np.sqrt(other.moving_variance.numpy() + other.epsilon)
            other.beta.assign(other.beta.numpy() - factor * shift)
