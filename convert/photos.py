"""Which photos a conversion measures on."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.convert.comparison import Reference
from pocketlens.convert.origins import Origin
from pocketlens.convert.samples import (
    choose_from_folder,
    choose_others,
    choose_stratified,
    load_labelled,
    load_pixels,
)
from pocketlens.errors import UsageError
from pocketlens.runtime.photos import LabelledPhotos
from pocketlens.runtime.runs import evaluation_photos

LOGGER = logging.getLogger("pocketlens")

# Enough photos to see a difference of a point, few enough to take seconds.
MAX_CHECK_PHOTOS = 1000


def representative_pixels(
    origin: Origin, folder: Path | None, samples: int
) -> list[NDArray[np.uint8]]:
    """Return photos for the 8-bit formats: of a folder, or a run's training photos.

    Raises:
        UsageError: there is neither.
    """
    if folder is not None:
        return _load(choose_from_folder(folder, samples, _seed(origin)), origin)
    if origin.run is None:
        raise UsageError(
            "Expected photos for int8, like those that the camera will see, for a model from "
            "elsewhere. Received: none. Add --representative FOLDER; they need no labels."
        )
    photos = origin.run.photos("train").photos
    return _load(choose_stratified(photos, samples, _seed(origin)), origin)


def reference_photos(
    origin: Origin, data: Path | None, representative: Path | None, samples: int
) -> Reference:
    """Return photos to compare files on, none of which int8's ranges were measured on.

    That is `data`, with labels; else a run's validation photos; else the photos of the
    representative folder that `representative_pixels` leaves over, which have no labels.

    Raises:
        UsageError: there are none of the kind.
        LabelsError: a label of the photos is none of the model's.
    """
    card = origin.card
    if data is not None:
        photos = evaluation_photos(data).with_labels(card.labels, card.task)
    elif origin.run is not None:
        photos = origin.run.photos("val")
    else:
        pixels = _left_over(origin, representative, samples)
        LOGGER.warning(
            "Without labelled photos (--data) only agreement is measured, and --max-drop is not "
            "kept."
        )
        return Reference(pixels, None, origin.scores(np.stack(pixels)), card)
    pixels, truth = load_labelled(_thinned(photos), card.input_size_wh, card.resize_mode)
    return Reference(pixels, truth, origin.scores(np.stack(pixels)), card)


def _left_over(origin: Origin, folder: Path | None, samples: int) -> list[NDArray[np.uint8]]:
    seed = _seed(origin)
    paths = choose_others(folder, samples, MAX_CHECK_PHOTOS, seed) if folder else []
    if not paths:
        came = f"{folder} with no more than {samples} photos" if folder else "none"
        raise UsageError(
            "Expected photos to compare the files of a model from elsewhere on. Received: "
            f"{came}. Add --data PHOTOS with a folder per class, or more photos to "
            "--representative than --samples."
        )
    return _load(paths, origin)


def _thinned(photos: LabelledPhotos) -> LabelledPhotos:
    step = -(-len(photos.photos) // MAX_CHECK_PHOTOS)
    return dataclasses.replace(photos, photos=photos.photos[::step])


def _load(paths: Sequence[Path], origin: Origin) -> list[NDArray[np.uint8]]:
    return load_pixels(paths, origin.card.input_size_wh, origin.card.resize_mode)


def _seed(origin: Origin) -> int:
    return int(origin.card.training.get("seed", 0))
