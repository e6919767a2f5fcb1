"""Training on the int8 grid, so that rounding at conversion finds nothing to do.

A converted file stores each kernel as int8 with one scale per output channel. Here the kernels
already live there in the last epochs: whatever the optimizer changes is added to a float copy of
each kernel, and the model gets that copy rounded. So gradients are taken where the rounding is
and go straight through it (straight-through estimator: Bengio et al. 2013, arXiv:1308.3432;
quantization-aware training: Jacob et al. 2018, arXiv:1712.05877). Batch normalisation folds into
one factor per channel, and a kernel on its grid times a factor is on the grid of the product.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf
from numpy.typing import NDArray

from pocketlens.int8_grid import LEVELS


def kernel_of(layer: keras.layers.Layer) -> tuple[Any, tuple[int, ...]] | None:
    """Return a layer's kernel variable and the axes that share one scale, or None without one.

    Convolutions and dense layers have a scale per output channel, which is the last axis; a
    depthwise kernel (height, width, channels, multiplier) has one per channel and multiplier.
    """
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return layer.kernel, (0, 1)
    if isinstance(layer, keras.layers.Conv2D):
        return layer.kernel, (0, 1, 2)
    if isinstance(layer, keras.layers.Dense):
        return layer.kernel, (0,)
    return None


def rounded(kernel: Any, axes: tuple[int, ...]) -> Any:
    """Return a kernel on its grid: scale * k with whole k from -127 to 127, scale = max|w| / 127.

    Rounding a kernel that is on its grid gives the same kernel.
    """
    scale = tf.reduce_max(tf.abs(kernel), axis=axes, keepdims=True) / LEVELS
    return tf.round(tf.math.divide_no_nan(kernel, scale)) * scale


def round_kernels(layers: Iterable[keras.layers.Layer]) -> None:
    """Put the kernels of layers onto their grid."""
    for kernel, axes in filter(None, map(kernel_of, layers)):
        kernel.assign(rounded(kernel.value, axes))


class GridTraining(keras.callbacks.Callback):
    """Keeps the kernels of `layers` on their grid while `fit` trains them.

    After each batch, what the optimizer did to the rounded kernel is added to its float copy, and
    the kernel becomes that copy rounded. The optimizer needs to know nothing of it. Validation,
    checkpoints and the finished model see rounded kernels only.
    """

    def __init__(self, layers: Iterable[keras.layers.Layer]) -> None:
        super().__init__()
        self._kernels = [entry for entry in map(kernel_of, layers) if entry is not None]
        self._exact = [tf.Variable(kernel.value, trainable=False) for kernel, _ in self._kernels]
        self._on_grid = [
            tf.Variable(rounded(kernel.value, axes), trainable=False)
            for kernel, axes in self._kernels
        ]

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the float copies; the rounded ones are the model's."""
        return {str(index): exact.numpy() for index, exact in enumerate(self._exact)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        for index, ((kernel, _), exact, on_grid) in enumerate(
            zip(self._kernels, self._exact, self._on_grid, strict=True)
        ):
            exact.assign(state[str(index)])
            on_grid.assign(kernel.value)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Round the kernels before the first batch."""
        del logs
        for (kernel, _), on_grid in zip(self._kernels, self._on_grid, strict=True):
            kernel.assign(on_grid)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Move the last step to the float copies and round again."""
        del batch, logs
        self._round_step()

    @tf.function
    def _round_step(self) -> None:
        for (kernel, axes), exact, on_grid in zip(
            self._kernels, self._exact, self._on_grid, strict=True
        ):
            exact.assign_add(kernel.value - on_grid)
            on_grid.assign(rounded(exact, axes))
            kernel.assign(on_grid)
