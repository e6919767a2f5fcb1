"""What goes into the layers of a model on photos: patches of it, and how they vary together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
            values: (photos, height, width, channels), or (photos, channels) for a dense layer.
            chooser: chooses the places.

        Returns:
            (photos * places, kernel height * kernel width, channels), up to 64 places a photo.
        """
        if values.ndim == 2:
            return values[:, None]
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
