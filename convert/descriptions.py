"""What has to be said about a model from elsewhere, and the card that comes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pocketlens.card import BINARY, ModelCard
from pocketlens.errors import LabelsError, ModelFileError, UsageError
from pocketlens.runtime.model_files import read_labels

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Description:
    """What a file from elsewhere does not say of itself.

    Its input is (pixel - `mean`) / `std` of pixels in 0-255; None for both where the model has its
    normalisation inside. `image_size` counts where the model takes any size.
    """

    labels_file: Path | None = None
    mean: float | None = None
    std: float | None = None
    resize_mode: str = "stretch"
    task: str = "multiclass"
    image_size: int | None = None


def described_card(
    path: Path,
    description: Description,
    size_wh: tuple[int, int],
    classes: int,
    labels: tuple[str, ...] | None = None,
) -> ModelCard:
    """Return the card of a model with `classes` outputs; `labels` are those that the file brings.

    Raises:
        UsageError: there are no labels.
        LabelsError: there are more or fewer than outputs.
    """
    labels = labels or _labels(description)
    if labels is None:
        raise UsageError(
            f"Expected labels for {path}, a model from elsewhere. Received: none. Add --labels "
            "FILE with one a line, in the order of its outputs."
        )
    wanted = 2 if description.task == BINARY else classes
    if len(labels) != wanted or (description.task == BINARY and classes != 1):
        raise LabelsError(
            f"Expected {wanted} labels for the {classes} outputs of {path}, a "
            f"{description.task} model. Received: {len(labels)}. Give one a line, in their order."
        )
    return ModelCard(
        name=path.stem,
        labels=labels,
        input_size_wh=size_wh,
        task=description.task,
        resize_mode=description.resize_mode,
    )


def picture_size(path: Path, shape: Shape, description: Description) -> tuple[int, int]:
    """Return width and height of the pictures that an input of this shape takes.

    Raises:
        ModelFileError: it takes no RGB pictures.
        UsageError: it takes any size and none is given, or another.
    """
    if len(shape) != 4 or shape[3] not in (3, None) or shape[0] not in (1, None):
        refuse_model(path, f"an input of {_text(shape)}")
    height, width = shape[1:3]
    chosen = description.image_size
    if height is None or width is None:
        if chosen is None:
            raise UsageError(
                f"Expected a size for the pictures of {path}, which takes any. Received: none. "
                "Add --image-size."
            )
        return chosen, chosen
    if chosen not in (None, height, width):
        raise UsageError(
            f"Expected the size that {path} has, {width}x{height}. Received: --image-size "
            f"{chosen}. Leave it out."
        )
    return width, height


def count_classes(path: Path, shape: Shape) -> int:
    """Return how many scores an output of this shape holds.

    Raises:
        ModelFileError: it is no row of scores.
    """
    if len(shape) != 2 or not shape[1]:
        refuse_model(path, f"an output of {_text(shape)}")
    return shape[1]


def refuse_model(path: Path, received: str) -> NoReturn:
    """Raise ModelFileError for a model that is no image classifier."""
    raise ModelFileError(
        "Expected an image classifier with one input [batch, height, width, 3] of float32 and one "
        f"output [batch, classes]. Received: {path} with {received}."
    )


def rescaling(description: Description) -> tuple[float, float]:
    """Return scale and offset of (pixel - mean) / std as pixel * scale + offset."""
    mean, std = description.mean, description.std
    if mean is None or not std:
        raise UsageError(
            f"Expected both --mean and --std, the latter not 0. Received: {mean=}, {std=}."
        )
    return 1 / std, -mean / std


def given_options(description: Description) -> Iterator[str]:
    """Yield the options by which something was said."""
    plain = Description()
    for entry in dataclasses.fields(description):
        if getattr(description, entry.name) != getattr(plain, entry.name):
            yield "--" + entry.name.removesuffix("_file").replace("_", "-")


def _labels(description: Description) -> tuple[str, ...] | None:
    return read_labels(description.labels_file) if description.labels_file else None


def _text(shape: Shape) -> str:
    return "[" + ", ".join("any" if side is None else str(side) for side in shape) + "]"
