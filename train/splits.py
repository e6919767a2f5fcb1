"""Dividing photos into training, validation and test parts."""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens.errors import DataError
from pocketlens.runtime.photos import Photo, existing_folder, scan
from pocketlens.runtime.runs import PARTS

# The shares of the three parts, in the order of PARTS.
SHARES = (0.65, 0.15, 0.20)
# Fewer than this and a class has nothing left to validate or test with.
MIN_PER_CLASS = 6

_PART_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class FoundPhotos:
    """Photos as they lie in folders. `parts` has "train" and those that a layout gives."""

    root: Path
    labels: tuple[str, ...]
    parts: Mapping[str, tuple[Photo, ...]]

    @property
    def photos(self) -> tuple[Photo, ...]:
        """All photos, part by part."""
        return tuple(photo for photos in self.parts.values() for photo in photos)


@dataclass(frozen=True)
class Contents:
    """What is known of the photos' contents.

    `digests` has the SHA-256 of each, `groups` the same text for photos that must stay together,
    `unreadable` those that do not count.
    """

    digests: Mapping[Path, str]
    groups: Mapping[Path, str]
    unreadable: frozenset[Path] = frozenset()


@dataclass(frozen=True)
class Split:
    """Photos in three parts. `digests` has the SHA-256 of every photo's content."""

    root: Path
    labels: tuple[str, ...]
    parts: Mapping[str, tuple[Photo, ...]]
    digests: Mapping[Path, str]

    @property
    def data_hash(self) -> str:
        """A SHA-256 over every photo's name, part and content: the same for the same data."""
        total = hashlib.sha256()
        for part in PARTS:
            for photo in self.parts[part]:
                name = photo.path.relative_to(self.root).as_posix()
                total.update(f"{part}\0{name}\0{self.digests[photo.path]}\n".encode())
        return total.hexdigest()


def find_photos(root: Path) -> FoundPhotos:
    """List the photos below `root`: a folder per class, or a `train/ val/ test/` layout of such.

    Raises:
        UsageError: there is no such folder.
        DataError: it holds no folders with photos.
        LabelsError: a part of the layout has a class that the training part has not.
    """
    existing_folder(root)
    folders = part_folders(root)
    scanned = {part: scan(folder) for part, folder in folders.items()}
    labels = scanned["train"].labels
    return FoundPhotos(
        root, labels, {part: found.with_labels(labels).photos for part, found in scanned.items()}
    )


def divide_photos(found: FoundPhotos, contents: Contents, seed: int) -> Split:
    """Divide photos into three parts, every class by the same shares.

    A `train/ val/ test/` layout is kept as it is; where it has no `val` or `test`, that part is
    taken from `train`. Photos of one group stay in one part, so that no photo is tested on that
    was trained on under another name.

    Raises:
        DataError: there are fewer than two classes, a class has too few readable photos, all of
            them are copies of one, or a layout has the same file in two parts or a part without
            a class.
    """
    _check_counts(found, contents.unreadable)
    parts = dict(found.parts)
    _divide(parts, found.labels, contents, seed)
    _check_apart(found.root, parts, contents)
    _check_every_class(parts, found.labels, contents.unreadable)
    return Split(found.root, found.labels, parts, contents.digests)


def part_folders(root: Path) -> dict[str, Path]:
    """Return the folders of a layout's parts, or `root` as "train" where there is no layout."""
    folders = {
        part: root / name
        for part, names in _PART_NAMES.items()
        for name in names
        if (root / name).is_dir()
    }
    # A class may be called "test"; a layout has a training part and at least one other.
    return folders if "train" in folders and len(folders) > 1 else {"train": root}


def _divide(
    parts: dict[str, tuple[Photo, ...]],
    labels: Sequence[str],
    contents: Contents,
    seed: int,
) -> None:
    """Move the missing parts' shares out of the training part, class by class."""
    missing = [part for part in PARTS if part not in parts]
    if not missing:
        return
    groups = contents.groups
    share = dict(zip(PARTS, SHARES, strict=True))
    total_share = share["train"] + sum(share[part] for part in missing)
    chooser = random.Random(seed)  # noqa: S311 (no secret)
    by_class: dict[int, list[Photo]] = defaultdict(list)
    for photo in parts["train"]:
        by_class[photo.label_index].append(photo)
    # The part of each group; photos of one group are in one class but for wrong labels.
    placed: dict[str, str] = {}
    for photos in by_class.values():
        chooser.shuffle(photos)
        sizes = Counter(groups[photo.path] for photo in photos)
        wanted = {part: max(1, round(len(photos) * share[part] / total_share)) for part in missing}
        for photo in photos:
            group = groups[photo.path]
            # A group goes, whole, to where there is room for it.
            size = sizes.pop(group, 0)
            if group not in placed:
                room = (name for name, count in wanted.items() if count >= size)
                placed[group] = next(room, "train")
            if placed[group] in wanted:
                wanted[placed[group]] -= size
    for index, photos in by_class.items():
        readable = [photo for photo in photos if photo.path not in contents.unreadable]
        _leave_none_empty(labels[index], readable, groups, placed, ["train", *missing])
    everything = parts["train"]
    for part in ("train", *missing):
        chosen = (photo for photo in everything if placed[groups[photo.path]] == part)
        parts[part] = tuple(sorted(chosen, key=lambda photo: photo.path))


def _leave_none_empty(
    label: str,
    photos: Sequence[Photo],
    groups: Mapping[Path, str],
    placed: dict[str, str],
    parts: Sequence[str],
) -> None:
    """Give a part without photos of a class the smallest group of the part with most groups."""
    sizes = Counter(groups[photo.path] for photo in photos)
    if len(sizes) < len(parts):
        raise DataError(
            f"Expected at least {len(parts)} photos of every class that differ, one for each part. "
            f"Received: {len(sizes)} of {label!r}, with {len(photos)} files of them. Add others, "
            "or divide them yourself into train/, val/ and test/ folders."
        )
    for part in parts:
        if any(placed[group] == part for group in sizes):
            continue
        held = {name: [group for group in sizes if placed[group] == name] for name in parts}
        fullest = max(parts, key=lambda name: len(held[name]))
        placed[min(held[fullest], key=lambda group: (sizes[group], group))] = part


def _check_counts(found: FoundPhotos, unreadable: frozenset[Path]) -> None:
    labels = found.labels
    if len(labels) < 2:
        raise DataError(
            f"Expected at least two classes, each in its own folder below {found.root}. "
            f"Received: one, {labels[0]!r}. Add a folder with photos of something else."
        )
    every = Counter(photo.label_index for photo in found.photos)
    good = Counter(photo.label_index for photo in found.photos if photo.path not in unreadable)
    scarce = [
        f"{label} ({good[index]}"
        + (f" readable photos of {every[index]})" if good[index] < every[index] else ")")
        for index, label in enumerate(labels)
        if good[index] < MIN_PER_CLASS
    ]
    if scarce:
        raise DataError(
            f"Expected at least {MIN_PER_CLASS} photos of every class, to have some for "
            f"validation and test. Received: {', '.join(scarce)}. Add photos or remove the class."
        )


def _check_apart(root: Path, parts: Mapping[str, Sequence[Photo]], contents: Contents) -> None:
    seen: dict[str, tuple[str, Path]] = {}
    for part in PARTS:
        for photo in parts[part]:
            if photo.path in contents.unreadable:
                continue
            first_part, first = seen.setdefault(contents.digests[photo.path], (part, photo.path))
            if first_part != part:
                raise DataError(
                    "Expected no photo in two parts of the layout. Received: "
                    f"{first.relative_to(root)} and {photo.path.relative_to(root)}, which are "
                    "the same. Remove one of them."
                )


def _check_every_class(
    parts: Mapping[str, Sequence[Photo]], labels: Sequence[str], unreadable: frozenset[Path]
) -> None:
    for part in PARTS:
        held = {photo.label_index for photo in parts[part] if photo.path not in unreadable}
        lacking = [label for index, label in enumerate(labels) if index not in held]
        if lacking:
            raise DataError(
                f"Expected readable photos of every class in the {part} part. Received: none of "
                f"{', '.join(map(repr, lacking))}. Add photos to it."
            )
