"""Putting a Keras model's kernels onto the int8 grid so that its layers give what they gave.

What `corrections` does to a converted model: each kernel is rounded to what changes the layer's
output least on photos, and what that shifts its output on average is taken out of the layer's bias,
or out of the offset of the batch normalisation behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pocketlens.convert.layer_inputs import Covariance, Window
from pocketlens.convert.rounding import MOST_INPUTS, round_weights
from pocketlens.train.grid import kernel_of, rounded
from pocketlens.train.networks import flat_layers

# All layers' inputs of so many photos lie in memory at once, about 30 MB each at 224x224.
_BATCH = 8


class _Seen:
    """The inputs of one layer with a kernel, on all photos."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        self._depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        self._sum: NDArray[np.float64] = np.zeros(())
        self._photos = 0
        # Large layers and those with several groups of channels are rounded to the nearest.
        self._covariance = None
        kernel = layer.kernel.shape
        inputs = np.prod(kernel[:2] if self._depthwise else kernel[:-1])
        if getattr(layer, "groups", 1) == 1 and inputs <= MOST_INPUTS:
            self._covariance = Covariance(_window(layer), depthwise=self._depthwise)

    def add(self, values: NDArray[np.float32]) -> None:
        """Take in what a batch of photos makes of the layer's input."""
        each = values.mean(axis=tuple(range(1, values.ndim - 1)), dtype=np.float64)
        self._sum = self._sum + each.sum(axis=0)
        self._photos += len(values)
        if self._covariance is not None:
            self._covariance.add(values)

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean of each channel, float64 (channels,)."""
        return self._sum / self._photos

    def fit(self, kernel: NDArray[np.float32], axes: tuple[int, ...]) -> NDArray[np.float32]:
        """Return the layer's kernel, whose `axes` share a scale, on its grid."""
        if self._covariance is None:
            return np.asarray(rounded(kernel, axes))
        covariance = self._covariance.get()
        if self._depthwise:
            # (height, width, channels, outputs each), each channel a group.
            groups = kernel.reshape(-1, *kernel.shape[2:]).transpose(1, 2, 0)
            fitted = round_weights(groups, covariance).transpose(2, 0, 1)
        else:
            # (…, channels, outputs).
            groups = kernel.reshape(-1, kernel.shape[-1]).T[None]
            fitted = round_weights(groups, covariance)[0].T
        return fitted.reshape(kernel.shape)


def fit_kernels(model: keras.Model, pixels: Sequence[NDArray[np.uint8]]) -> None:
    """Put every kernel onto its int8 grid and take what that shifts on average out again.

    The mean shift stays in layers with neither a bias nor a batch normalisation behind them. Of a
    layer that the model uses several times all uses count.

    Args:
        model: takes float32 (batch, height, width, 3) raw pixels.
        pixels: photos, uint8 (height, width, 3) RGB each, all of the model's size.
    """
    seen: dict[int, _Seen] = {}
    for start in range(0, len(pixels), _BATCH):
        batch = np.stack(pixels[start : start + _BATCH]).astype(np.float32)
        for layer, values in _inputs(model, tf.constant(batch)):
            if id(layer) not in seen:
                seen[id(layer)] = _Seen(layer)
            seen[id(layer)].add(np.asarray(values))
    layers = flat_layers(model)
    for layer in layers:
        found = kernel_of(layer)
        if found is None or id(layer) not in seen:
            continue
        kernel, axes = found
        before = kernel.numpy()
        after = seen[id(layer)].fit(before, axes)
        kernel.assign(after)
        _correct(layer, layers, _shift(layer, after - before, seen[id(layer)].mean))


def _window(layer: keras.layers.Layer) -> Window:
    if isinstance(layer, keras.layers.Dense):
        return Window()
    strides, dilations = tuple(layer.strides), tuple(layer.dilation_rate)
    return Window(tuple(layer.kernel_size), strides, dilations, same=layer.padding == "same")


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
    layer: keras.layers.Layer, error: NDArray[np.float32], mean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what an error of the kernel adds to each output channel, float64 (channels,)."""
    summed = error.sum(axis=(0, 1)) if error.ndim == 4 else error
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        # (channels, multiplier): each channel meets its own input only.
        shift: NDArray[np.float64] = (summed * mean[:, None]).reshape(-1)
        return shift
    # Where there are groups of channels, each meets its own part of the inputs.
    groups = len(mean) // len(summed)
    pairs = zip(np.split(mean, groups), np.split(summed, groups, axis=1), strict=True)
    return np.concatenate([part_mean @ part for part_mean, part in pairs])


def _correct(
    layer: keras.layers.Layer, layers: list[keras.layers.Layer], shift: NDArray[np.float64]
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
