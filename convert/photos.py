"""Which photos a conversion measures on."""

from __future__ import annotations

import dataclasses
import logging
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.convert.demands import calibration_pictures, require_calibration
from pocketlens.convert.origins import Origin
from pocketlens.errors import DataError, PictureError, UsageError
from pocketlens.evaluation.agreement import Reference
from pocketlens.runtime.answers import Answer
from pocketlens.runtime.photos import (
    LabelledPhotos,
    Photo,
    existing_folder,
    find_pictures,
    read_labelled,
    read_pixels,
    report_skipped,
)
from pocketlens.runtime.runs import evaluation_photos


def choose_stratified(photos: Sequence[Photo], count: int, seed: int) -> list[Path]:
    """Choose `count` photos, as equally many of each class, or set of labels, as there are."""
    by_class: dict[Answer, list[Path]] = defaultdict(list)
    for photo in photos:
        by_class[photo.label_indices].append(photo.path)
    chooser = random.Random(seed)  # noqa: S311 (no secret)
    for paths in by_class.values():
        chooser.shuffle(paths)
    chosen: list[Path] = []
    while len(chosen) < count and any(by_class.values()):
        for paths in by_class.values():
            if paths and len(chosen) < count:
                chosen.append(paths.pop())
    return chosen


def choose_from_folder(folder: Path, count: int, seed: int) -> list[Path]:
    """Choose `count` photos anywhere below a folder.

    Raises:
        UsageError: there is no such folder.
        DataError: it holds no photos.
    """
    paths = calibration_pictures(folder)
    return sorted(_shuffled(paths, seed)[:count])


def choose_others(folder: Path, count: int, most: int, seed: int) -> list[Path]:
    """Choose at most `most` photos that `choose_from_folder` leaves over when it takes `count`."""
    paths = sorted(find_pictures(existing_folder(folder)))
    return sorted(_shuffled(paths, seed)[count : count + most])


def load_pixels(
    paths: Sequence[Path], size_wh: tuple[int, int], resize_mode: str
) -> list[NDArray[np.uint8]]:
    """Decode and resize photos; unreadable ones are left out, counted and named.

    Raises:
        DataError: none can be read.
    """
    results = list(read_pixels(paths, size_wh, resize_mode))
    report_skipped([result for result in results if isinstance(result, PictureError)], len(paths))
    pixels = [result for result in results if not isinstance(result, PictureError)]
    if not pixels:
        raise DataError(f"Expected readable photos. Received: none among {len(paths)}.")
    return pixels


def load_labelled(
    photos: LabelledPhotos, size_wh: tuple[int, int], resize_mode: str
) -> tuple[list[NDArray[np.uint8]], list[Answer]]:
    """Decode and resize photos; return those that can be read with their labels.

    Raises:
        DataError: none can be read.
    """
    skipped: list[PictureError] = []
    samples = list(read_labelled(photos, size_wh, resize_mode, skipped))
    report_skipped(skipped, len(photos.photos))
    if not samples:
        raise DataError(f"Expected readable photos. Received: none among {len(photos.photos)}.")
    return [pixels for pixels, _ in samples], [photo.label_indices for _, photo in samples]


def _shuffled(paths: Sequence[Path], seed: int) -> list[Path]:
    return random.Random(seed).sample(paths, len(paths))  # noqa: S311 (no secret)


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
    photos = require_calibration(origin.run).photos("train").photos
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
            "Without labelled photos (--photos) only agreement is measured, and --max-drop is not "
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
            "Expected photos to compare the files of a third-party model on. Received: "
            f"{came}. Add --photos PHOTOS with a folder per class, or more photos to "
            "--calibration-photos than --samples."
        )
    return _load(paths, origin)


def _thinned(photos: LabelledPhotos) -> LabelledPhotos:
    step = -(-len(photos.photos) // MAX_CHECK_PHOTOS)
    return dataclasses.replace(photos, photos=photos.photos[::step])


def _load(paths: Sequence[Path], origin: Origin) -> list[NDArray[np.uint8]]:
    return load_pixels(paths, origin.card.input_size_wh, origin.card.resize_mode)


def _seed(origin: Origin) -> int:
    return int(origin.card.training.get("seed", 0))
