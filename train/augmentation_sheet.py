"""A sheet of augmented photos, to see whether one would still recognise what is on them."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pocketlens.train.batches import Change
from pocketlens.train.pixel_cache import Part

SHEET_NAME = "augmentation.png"

_VERSIONS = 5
_MAX_CLASSES = 12
_INCHES = 1.3


def augmentation_sheet(part: Part, labels: Sequence[str], augment: Change, seed: int) -> bytes:
    """Draw a training photo of every class, up to twelve, and what training makes of it, as PNG."""
    rng = np.random.default_rng(seed)
    shown = labels[:_MAX_CLASSES]
    figure = Figure(
        figsize=(_INCHES * (_VERSIONS + 1), _INCHES * len(shown) + 0.4), layout="constrained"
    )
    grid = figure.subplots(len(shown), _VERSIONS + 1, squeeze=False)
    for index, (label, axes) in enumerate(zip(shown, grid, strict=True)):
        has_label = part.labels == index if part.labels.ndim == 1 else part.labels[:, index] > 0
        photo = part.pixels[int(np.argmax(has_label))]
        versions = augment(np.stack([photo] * _VERSIONS), rng)
        for axis, picture in zip(axes, [photo, *versions], strict=True):
            axis.imshow(picture)
            axis.set(xticks=[], yticks=[])
        short = label if len(label) <= 16 else f"{label[:15]}…"
        axes[0].set_ylabel(short, parse_math=False)
    grid[0][0].set_title("photo", fontsize=10)
    grid[0][1].set_title("as training sees it", fontsize=10, loc="left")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
