"""Rounding the weights of a layer so that what it gives on photos changes least.

Rounding each weight to its nearest step is best for the weights, not for the layer: its inputs move
together, so what one weight's rounding adds, the next ones can take back. Weights are rounded one
after the other, and after each the ones that are still free are moved by what makes up best for it
(E. Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", ICLR 2023, arXiv:2210.17323; the step is B. Hassibi and D. Stork's optimal brain
surgeon, NIPS 1992). It costs nothing at inference. Of ImageNet's MobileNetV2, which never saw the
grid, it halves what 8-bit weights change (docs/reference/formats.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.int8_grid import LEVELS

# This share of the mean variance is added to each input's, as in the paper: photos of calibration
# are few, and directions in which they do not vary are not free.
_DAMPING = 0.01

# Inputs that vary less are constant but for the rounding errors of their covariance.
_CONSTANT = 1e-9

# Of layers with more inputs the weights are rounded to the nearest: the time grows with the third
# power, and what single weights add averages out. MobileNets stay below, most 3x3 kernels of
# ResNet50 and VGG16 do not.
MOST_INPUTS = 1280

# Weights after whose rounding all others are moved at once, which is a product of matrices.
_BLOCK = 64

# Weights on their grid are off it by the rounding errors of float32, far below this many steps.
_ON_GRID = 0.01


def steps_of(weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the size of one step, float64 (groups, outputs, 1): max |w| / 127, 1 where all are 0.

    Args:
        weights: (groups, outputs, inputs).
    """
    largest = np.abs(weights).max(axis=2, keepdims=True).astype(np.float64)
    return np.where(largest == 0, 1, largest / LEVELS)


def is_on_grid(weights: NDArray[np.floating]) -> bool:
    """Tell whether all weights (groups, outputs, inputs) are whole steps already."""
    steps = weights / steps_of(weights)
    return bool(np.abs(steps - np.rint(steps)).max() < _ON_GRID)


def round_to_nearest(weights: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return weights (groups, outputs, inputs) in whole steps, float32, each the nearest."""
    steps = steps_of(weights)
    return (steps * np.rint(weights / steps)).astype(np.float32)


def round_weights(
    weights: NDArray[np.floating], covariances: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return weights in whole steps, float32 (groups, outputs, inputs), fitted to their inputs.

    The steps are those of `steps_of`, also for whoever looks at the result only: the largest weight
    of each output stays. Weights that are on the grid already stay as they are.

    Args:
        weights: (groups, outputs, inputs); a group's outputs share its inputs, as the channels of a
            depthwise convolution do not.
        covariances: (groups, inputs, inputs), of the inputs on photos.
    """
    groups, _, inputs = weights.shape
    steps = steps_of(weights)[:, :, 0]
    upper = _upper_factor(covariances)
    largest = np.abs(weights).argmax(axis=2)
    free = weights.astype(np.float64)
    rounded = np.empty_like(free)
    for begin in range(0, inputs, _BLOCK):
        end = min(begin + _BLOCK, inputs)
        errors = np.empty((groups, weights.shape[1], end - begin))
        for index in range(begin, end):
            whole = np.clip(np.rint(free[:, :, index] / steps), -LEVELS, LEVELS)
            original = np.rint(weights[:, :, index] / steps)
            rounded[:, :, index] = steps * np.where(largest == index, original, whole)
            error = (free[:, :, index] - rounded[:, :, index]) / upper[:, index, index, None]
            rest = upper[:, None, index, index + 1 : end]
            free[:, :, index + 1 : end] -= error[:, :, None] * rest
            errors[:, :, index - begin] = error
        free[:, :, end:] -= errors @ upper[:, begin:end, end:]
    return rounded.astype(np.float32)


def _upper_factor(covariances: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return U with U^T U = the inverse of each damped covariance, upper triangular."""
    damped = covariances.astype(np.float64)
    mean = np.trace(damped, axis1=1, axis2=2) / damped.shape[1]
    added = np.where(mean < _CONSTANT, 1, _DAMPING * mean)
    damped += added[:, None, None] * np.eye(damped.shape[1])
    factor: NDArray[np.float64] = np.linalg.cholesky(np.linalg.inv(damped)).transpose(0, 2, 1)
    return factor


# Places of a photo that are looked at. Neighbours say much the same; with all of them the results
# are no better.
_PLACES = 64

# Patches that are multiplied at once: large products are faster, but all layers' patches wait.
_AT_ONCE = 512


@dataclass(frozen=True)
class Window:
    """Where a layer's kernel lies on its input: sizes in pixels, (height, width).

    `same` pads with zeros as TensorFlow's SAME does; else only whole patches count.
    """

    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    same: bool = False

    def patches(
        self, values: NDArray[np.float32], chooser: np.random.Generator
    ) -> NDArray[np.float32]:
        """Return some of the patches that a kernel meets.

        Args:
            values: (photos, height, width, channels); for a dense layer (photos, channels), or with
                any dimensions between.
            chooser: chooses the places.

        Returns:
            (photos * places, kernel height * kernel width, channels), up to 64 places a photo.
        """
        if values.ndim == 2:
            return values[:, None]
        if values.ndim != 4:
            values = values.reshape(len(values), 1, -1, values.shape[-1])
        values, counts = self._padded(values)
        places = int(np.prod(counts))
        chosen = np.arange(places)
        if places > _PLACES:
            chosen = chooser.choice(places, _PLACES, replace=False)
        corners = np.unravel_index(chosen, counts)
        rows, columns = (
            corner[:, None] * stride + dilation * np.arange(size)
            for corner, stride, dilation, size in zip(
                corners, self.strides, self.dilations, self.kernel, strict=True
            )
        )
        found = values[:, rows[:, :, None], columns[:, None, :]]
        patches: NDArray[np.float32] = found.reshape(-1, np.prod(self.kernel), values.shape[-1])
        return patches

    def _padded(self, values: NDArray[np.float32]) -> tuple[NDArray[np.float32], tuple[int, int]]:
        """Return the values with what is padded, and how many patches there are each way."""
        margins, counts = [(0, 0)], []
        for side, size, stride, dilation in zip(
            values.shape[1:3], self.kernel, self.strides, self.dilations, strict=True
        ):
            reach = (size - 1) * dilation + 1
            count = -(-side // stride) if self.same else (side - reach) // stride + 1
            missing = max((count - 1) * stride + reach - side, 0) if self.same else 0
            margins.append((missing // 2, missing - missing // 2))
            counts.append(count)
        if np.any(margins):
            values = np.pad(values, [*margins, (0, 0)])
        return values, (counts[0], counts[1])


class Covariance:
    """The covariance of a layer's inputs, gathered photo by photo.

    Args:
        window: where the layer's kernel lies.
        depthwise: each channel is a group by itself.
    """

    def __init__(self, window: Window, *, depthwise: bool) -> None:
        self._window = window
        self._depthwise = depthwise
        # The same places each time, so that the same photos give the same files.
        self._chooser = np.random.default_rng(0)
        self._pending: list[NDArray[np.float32]] = []
        self._count = 0
        self._sums: NDArray[np.float64] = np.zeros(())
        self._products: NDArray[np.float64] = np.zeros(())

    def add(self, values: NDArray[np.float32]) -> None:
        """Take in a layer's input on photos, see `Window.patches`."""
        self._pending.append(self._window.patches(values, self._chooser))
        if sum(map(len, self._pending)) >= _AT_ONCE:
            self._multiply()

    def get(self) -> NDArray[np.float64]:
        """Return it, float64 (groups, inputs, inputs); inputs by row, column and channel."""
        if self._pending:
            self._multiply()
        mean = self._sums / self._count
        covariance: NDArray[np.float64] = (
            self._products / self._count - mean[:, :, None] * mean[:, None, :]
        )
        return covariance

    def _multiply(self) -> None:
        # In float64 the order in which cores add up cannot be seen in the rounded weights.
        patches = np.concatenate(self._pending).astype(np.float64)
        self._pending.clear()
        if self._depthwise:
            patches = patches.transpose(2, 0, 1)
        else:
            patches = patches.reshape(1, len(patches), -1)
        self._count += patches.shape[1]
        self._sums = self._sums + patches.sum(axis=1)
        self._products = self._products + patches.transpose(0, 2, 1) @ patches
