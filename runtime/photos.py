"""Labelled photos: which files are there and what each shows."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens.choices import MULTICLASS, MULTILABEL
from pocketlens.errors import DataError, LabelsError, PictureError, UsageError
from pocketlens.runtime.pictures import Pixels, decode, resize
from pocketlens.workers import count_cores, map_ahead

LOGGER = logging.getLogger("pocketlens")

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})

# What systems leave in folders unasked, under names that are not hidden.
_LITTER = frozenset({"thumbs.db", "desktop.ini"})
# How many skipped files are named one by one before the rest is only counted.
_NAMED_AT_MOST = 10
# Decoded photos held at once while reading ahead; bounds memory whatever the number of photos.
_READ_AHEAD = 32


@dataclass(frozen=True)
class Photo:
    """One file and the indices of its labels, ascending: one but where a task is multilabel."""

    path: Path
    label_indices: tuple[int, ...]


@dataclass(frozen=True)
class LabelledPhotos:
    """Photos with the names of their classes, in a fixed order."""

    labels: tuple[str, ...]
    photos: tuple[Photo, ...]

    def with_labels(self, labels: tuple[str, ...], task: str = MULTICLASS) -> LabelledPhotos:
        """Return the same photos with their indices in a model's `labels`.

        Raises:
            LabelsError: a label of the photos is none of the model's.
            DataError: the task wants one label for each photo and one has none or several.
        """
        unknown = sorted(set(self.labels) - set(labels))
        if unknown:
            raise LabelsError(
                f"Expected photos of the model's labels ({_few(labels)}). "
                f"Received: {_few(unknown)}. Rename the labels or choose the model that "
                "was trained on them."
            )
        check_label_counts(self.photos, self.labels, task)
        return LabelledPhotos(labels, renumbered(self.photos, self.labels, labels))


def renumbered(
    photos: Iterable[Photo], labels: Sequence[str], new_labels: Sequence[str]
) -> tuple[Photo, ...]:
    """Return photos whose indices in `labels` have become those in `new_labels`."""
    index = [new_labels.index(label) for label in labels]
    return tuple(
        Photo(photo.path, tuple(sorted(index[entry] for entry in photo.label_indices)))
        for photo in photos
    )


def check_label_counts(photos: Iterable[Photo], labels: Sequence[str], task: str) -> None:
    """Raise DataError where a task wants one label for each photo and one has none or several."""
    if task == MULTILABEL:
        return
    for photo in photos:
        if len(photo.label_indices) != 1:
            names = ", ".join(labels[index] for index in photo.label_indices) or "none"
            raise DataError(
                f"Expected one label for each photo, as the task {task} wants. Received: "
                f"{photo.path} with {names}. Correct it, or train with --task {MULTILABEL}."
            )


def scan(folder: Path) -> LabelledPhotos:
    """List the photos of a folder that has a folder per class, sorted by name.

    Hidden files and folders, and files that are not named like pictures, are left out.

    Raises:
        UsageError: there is no such folder.
        DataError: it holds no folders with photos.
    """
    folder = existing_folder(folder)
    by_label: dict[str, list[Path]] = {}
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.name.startswith("."):
            paths = sorted(find_pictures(child))
            if paths:
                by_label[child.name] = paths
    if not by_label:
        raise DataError(
            f"Expected a folder per class with photos in it. Received: {folder} without any. "
            f"Make one like {folder / 'cats'} and put photos ({_few(sorted(SUFFIXES))}) into it."
        )
    return LabelledPhotos(
        tuple(by_label),
        tuple(
            Photo(path, (index,)) for index, paths in enumerate(by_label.values()) for path in paths
        ),
    )


def find_pictures(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that are named like pictures."""
    return (path for path in _visible_files(folder) if path.suffix.lower() in SUFFIXES)


def find_others(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that are not named like pictures, so that nothing uses."""
    return (
        path
        for path in _visible_files(folder)
        if path.suffix.lower() not in SUFFIXES and path.name.lower() not in _LITTER
    )


def _visible_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        # A link to nothing is named with what cannot be read, in place of being passed over.
        if not hidden and (path.is_file() or not path.exists()):
            yield path


def name_below(path: Path, root: Path) -> str:
    """Return a path as it is seen from the folder `root`, with slashes."""
    if path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return Path(os.path.relpath(path, root)).as_posix()


def existing_folder(folder: Path) -> Path:
    """Return `folder`, or raise UsageError where there is no such folder."""
    if not folder.is_dir():
        came = "a file" if folder.exists() else "nothing there"
        raise UsageError(
            f"Expected a folder of photos at {folder}. Received: {came}. Check the path."
        )
    return folder


def read_pixels(
    paths: Iterable[Path], size_wh: tuple[int, int], resize_mode: str
) -> Iterator[Pixels | PictureError]:
    """Decode and resize photos on all cores, in order.

    Yields for each path uint8 (height, width, 3) RGB, or the error that says why it cannot be read.
    """

    def read(path: Path) -> Pixels | PictureError:
        try:
            return resize(decode(path), size_wh, resize_mode)
        except PictureError as error:
            return error

    return map_ahead(read, paths, count_cores(), _READ_AHEAD)


def read_labelled(
    photos: LabelledPhotos,
    size_wh: tuple[int, int],
    resize_mode: str,
    skipped: list[PictureError],
) -> Iterator[tuple[Pixels, Photo]]:
    """Yield pixels uint8 (height, width, 3) in RGB with their photo, in order.

    Photos that cannot be read are left out, and why is appended to `skipped`.
    """
    pixels = read_pixels((photo.path for photo in photos.photos), size_wh, resize_mode)
    for photo, result in zip(photos.photos, pixels, strict=True):
        if isinstance(result, PictureError):
            skipped.append(result)
        else:
            yield result, photo


def report_skipped(errors: list[PictureError], total: int) -> None:
    """Log how many photos were skipped, and which and why."""
    if not errors:
        return
    LOGGER.warning("Skipped %d of %d photos that cannot be read:", len(errors), total)
    for error in errors[:_NAMED_AT_MOST]:
        LOGGER.warning("  %s", error)
    if len(errors) > _NAMED_AT_MOST:
        LOGGER.warning("  and %d more.", len(errors) - _NAMED_AT_MOST)


def _few(names: Iterable[str], count: int = 6) -> str:
    names = list(names)
    more = f", … ({len(names)} in all)" if len(names) > count else ""
    return ", ".join(names[:count]) + more
