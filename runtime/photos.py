"""Labelled photos: which files are there and what each shows."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens.choices import MULTICLASS, MULTILABEL
from pocketlens.errors import DataError, LabelsError, PictureError, UsageError
from pocketlens.names import say_once, shown, to_label
from pocketlens.runtime.pictures import Pixels, decode_resized
from pocketlens.workers import count_cores, map_ahead

LOGGER = logging.getLogger("pocketlens")

# What counts as a picture by its name; what is in it decides how it is read.
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif")
)

# What systems leave in folders unasked, under names that are not hidden.
_LITTER = frozenset({"thumbs.db", "desktop.ini"})
_LITTER_FOLDERS = frozenset(
    (
        "@eadir",
        "@recycle",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "system volume information",
        "__macosx",
        "__pycache__",
        "lost+found",
    )
)
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
        # A card may have been written before all labels had one form.
        own, known = (tuple(map(to_label, names)) for names in (self.labels, labels))
        unknown = sorted(set(own) - set(known))
        if unknown:
            raise LabelsError(
                f"Expected photos of the model's labels ({_few(labels)}). "
                f"Received: {_few(unknown)}. Rename the labels or choose the model that "
                "was trained on them."
            )
        check_label_counts(self.photos, own, task)
        return LabelledPhotos(labels, renumbered(self.photos, own, known))


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
                f"{shown(photo.path)} with {names}. Correct it, or train with --task {MULTILABEL}."
            )


def scan(folder: Path) -> LabelledPhotos:
    """List the photos of a folder that has a folder per class, sorted by name.

    Hidden files and folders, what systems leave in folders, and files that are not named like
    pictures, are left out. Folders whose names differ only in spaces around them or in the form of
    their characters are one class.

    Raises:
        UsageError: there is no such folder, or its folders look like splits of photos and not
            like classes.
        DataError: it holds no folders with photos.
    """
    by_label: dict[str, list[Path]] = {}
    folders = class_folders(folder)
    for child in folders:
        paths = sorted(find_pictures(child))
        if paths:
            by_label.setdefault(to_label(child.name), []).extend(paths)
    if not by_label:
        above = _level_above(folder)
        if above is not None:
            raise DataError(
                f"Expected a folder per class with photos in it. Received: {shown(folder)} with "
                f"photos directly in it. Give {shown(above)}, where it is one folder of several."
            )
        raise DataError(
            f"Expected a folder per class with photos in it. Received: {shown(folder)} without "
            f"any. Make one like {shown(folder / 'cats')} and put photos "
            f"({_few(sorted(SUFFIXES))}) into it."
        )
    _refuse_splits(folder, folders)
    for child in folders:
        if to_label(child.name) in by_label and child.name != child.name.strip():
            say_once(
                f"The folder {shown(child)!r} has spaces around its name; its class is "
                f"{to_label(child.name)!r}."
            )
    by_label = {label: by_label[label] for label in sorted(by_label)}
    return LabelledPhotos(
        tuple(by_label),
        tuple(
            Photo(path, (index,)) for index, paths in enumerate(by_label.values()) for path in paths
        ),
    )


def class_folders(folder: Path) -> list[Path]:
    """Return the folders directly in `folder`, sorted, without hidden ones and litter.

    Raises:
        UsageError: there is no such folder, or it cannot be listed.
    """
    try:
        children = sorted(existing_folder(folder).iterdir())
    except OSError as error:
        raise UsageError(
            f"Expected a folder of photos at {shown(folder)}. Received: {error.strerror}. "
            "Make it readable."
        ) from error
    return [child for child in children if os.path.isdir(child) and not _is_litter(child.name)]


def _level_above(folder: Path) -> Path | None:
    """Return the folder above if `folder` looks like one of its classes, as all in it do."""
    above = (folder if folder.name not in ("", "..") else folder.resolve()).parent
    try:
        beside = [child for child in class_folders(above) if not child.samefile(folder)]
    except (OSError, UsageError):
        return None
    of_classes = beside and all(map(_has_pictures, beside)) and not _has_pictures(above)
    return above if _has_pictures(folder) and of_classes else None


def _has_pictures(folder: Path) -> bool:
    """Tell whether pictures lie directly in a folder, and not only below it."""
    try:
        with os.scandir(folder) as entries:
            return any(
                Path(entry.name).suffix.lower() in SUFFIXES and entry.is_file()
                for entry in entries
                if not entry.name.startswith(".")
            )
    except OSError:
        return False


def find_pictures(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that are named like pictures.

    Folders that cannot be listed are among them, so that they are named as what cannot be read.
    """
    return (
        path
        for path in _visible_files(folder)
        if path.suffix.lower() in SUFFIXES or _is_locked(path)
    )


def in_natural_order(path: Path) -> list[str | int]:
    """Return a key that sorts numbers in names by their value: 2.jpg before 10.jpg."""
    parts = re.split(r"([0-9]+)", str(path))
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def find_others(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that are not named like pictures, so that nothing uses.

    A .json of the same name beside a picture says where that came from (`runtime.inbox`).
    """
    return (
        path
        for path in _visible_files(folder)
        if path.suffix.lower() not in SUFFIXES
        and path.name.lower() not in _LITTER
        and not _is_locked(path)
        and not _is_about_picture(path)
    )


def _is_about_picture(path: Path) -> bool:
    return path.suffix == ".json" and any(
        os.path.isfile(path.with_suffix(suffix)) for suffix in sorted(SUFFIXES)
    )


def _is_locked(path: Path) -> bool:
    """Tell whether a path that was found is a folder, which could not be listed then."""
    return os.path.isdir(path)


def _visible_files(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder, through links too, and folders that cannot be listed."""
    seen = set()
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            status = os.stat(current)
            with os.scandir(current) as entries:
                children = sorted(entry.name for entry in entries)
        except OSError:
            # Named with what cannot be read, in place of being passed over.
            yield current
            continue
        # Links may lead back; and what two of them lead to is there once.
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        folders = []
        for name in children:
            path = current / name
            if name.startswith("."):
                continue
            # Other than `Path.is_dir` it raises nothing where even that must not be asked.
            if not os.path.isdir(path):
                # So is a link to nothing.
                yield path
            elif not _is_litter(name):
                folders.append(path)
        # Links last, so that photos are named by the folder in which they lie.
        waiting += sorted(folders, key=lambda path: (not path.is_symlink(), path))


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER_FOLDERS


# Words by which a folder is known to hold a part of the photos and not a class.
_SPLIT_WORD = re.compile(
    r"(?<![a-z])(train|val|test|eval)(s|ing|id|idation|uation)?_?(set|ion)?s?(?![a-z])|"
    r"(?<![a-z])(dev|holdout|fold|split)(?![a-z])"
)


def _refuse_splits(folder: Path, folders: list[Path]) -> None:
    """Raise UsageError where folders hold folders with photos, as splits or a level too high do."""
    inner = {}
    for child in folders:
        if not any(path.parent == child for path in find_pictures(child)):
            names = [entry.name for entry in class_folders(child) if any(find_pictures(entry))]
            if names:
                inner[child.name] = names
    named = [name for name in inner if _SPLIT_WORD.search(name.lower())]
    alike = (
        len(inner) > 1 and len(inner) == len(folders) and len(set(map(tuple, inner.values()))) == 1
    )
    alone = len(inner) == 1 == len(folders)
    if not named and not ((alike or alone) and len(next(iter(inner.values()))) > 1):
        below = [name for names in inner.values() for name in names]
        if len(inner) > 1 and len(inner) < len(below) and _all_inside(folders, inner):
            say_once(
                f"The classes are {_few(map(shown, inner))}, which hold nothing but folders "
                f"({_few(map(shown, below))}). If those are the classes, move them into one folder."
            )
        return
    name = (named or list(inner))[0]
    inside = _few(map(shown, inner[name]))
    if len(inner) == 1:
        advice = f"Give {shown(folder / name)} if these are the classes"
    else:
        advice = "Call them train, val and test if they are splits"
    raise UsageError(
        f"Expected a folder per class, or train/ and val/ or test/ with such folders. Received: "
        f"{shown(folder)} with {_few(map(shown, inner))}, in which there are folders ({inside}). "
        f"{advice}; put the photos directly into {shown(folder / name)} if that is a class."
    )


def _all_inside(folders: list[Path], inner: Mapping[str, list[str]]) -> bool:
    """Tell whether no class but those of `inner` has photos."""
    others = (child for child in folders if child.name not in inner)
    return not any(any(find_pictures(child)) for child in others)


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
            f"Expected a folder of photos at {shown(folder)}. Received: {came}. Check the path; "
            "a table of photos ends in .csv or .jsonl."
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
            return decode_resized(path, size_wh, resize_mode)
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
