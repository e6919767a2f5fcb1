"""The photos that a new project begins with: copied, and copying them twice doubles none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from pocketlens.choices import COUNTER_EXAMPLES, MULTICLASS
from pocketlens.errors import OutputExistsError, UsageError
from pocketlens.files import output_errors, write_bytes, write_new
from pocketlens.names import shown, to_label
from pocketlens.progress import track
from pocketlens.project import class_folder
from pocketlens.runtime.inbox import has_picture, info_path, read_info
from pocketlens.runtime.photos import (
    LabelledPhotos,
    check_label_counts,
    class_folders,
    existing_folder,
    find_pictures,
    scan,
)
from pocketlens.runtime.tables import is_table, read_table, split_folders


def read_first_photos(path: Path) -> LabelledPhotos:
    """Read photos of a folder per class, or of a table, that have one label each.

    Raises:
        UsageError: there is nothing, or the photos are divided into splits, which a training in a
            project does.
        DataError: there are no photos, or one has not exactly one label.
    """
    table = read_table(path) if is_table(path) else None
    splits = list(table.splits if table else split_folders(existing_folder(path)))
    if len(splits) > 1:
        raise UsageError(
            "Expected photos that are not divided into splits, since training in a project does "
            f"that. Received: {shown(path)} with {', '.join(splits)}. Put each class into one "
            "folder, or give them to pocketlens train without a project."
        )
    photos = LabelledPhotos(table.labels, table.photos) if table else scan(path)
    check_label_counts(photos.photos, photos.labels, MULTICLASS)
    return photos


def labels_there(photos: Path) -> tuple[str, ...]:
    """Return the labels of the folders with pictures; none where the folder is missing."""
    if not photos.is_dir():
        return ()
    return tuple(
        dict.fromkeys(
            to_label(folder.name)
            for folder in class_folders(photos)
            if next(find_pictures(folder), None)
        )
    )


def without_counter_examples(labels: Sequence[str]) -> tuple[str, ...]:
    """Return labels without those whose photos show none of the classes."""
    return tuple(label for label in labels if label.casefold() not in COUNTER_EXAMPLES)


def copy_photos(found: LabelledPhotos, photos: Path, *, link: bool = False) -> int:
    """Copy photos, with a .json that says where each came from, into a folder per class.

    A photo that is there already is not copied again, so that an interrupted call can be repeated;
    another one of the same name gets a number.

    Args:
        found: the photos.
        photos: the folder with a folder per class.
        link: make hard links, where the file system allows it.

    Returns:
        How many were copied.

    Raises:
        OutputError: one cannot be read or written. Those before it are there.
    """
    copied = 0
    for photo in track(found.photos, "Copying photos", len(found.photos)):
        folder = class_folder(photos, found.labels[photo.label_indices[0]])
        with output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        # What cannot be read would be missing without a word.
        with output_errors(photo.path):
            data = photo.path.read_bytes()
        target, number = folder / photo.path.name, 1
        while not _put(photo.path, data, target, link=link):
            if _same(target, data):
                break
            number += 1
            target = folder / f"{photo.path.stem}-{number}{photo.path.suffix}"
        else:
            copied += 1
    return copied


def _put(source: Path, data: bytes, target: Path, *, link: bool) -> bool:
    """Put a photo where nothing is; returns whether nothing was."""
    about = info_path(target)
    known = read_info(source) is not None
    if os.path.lexists(target) or (known and (os.path.lexists(about) or has_picture(about))):
        return False
    if known:
        write_bytes(about, info_path(source).read_bytes())
    with contextlib.suppress(OSError):
        if link:
            os.link(os.path.realpath(source), target)
            return True
    try:
        write_new(target, data)
    except OutputExistsError:
        return False
    return True


def _same(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False
