"""What is wrong or remarkable about photos, found before anything is trained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pocketlens.errors import DataError
from pocketlens.runtime.photos import Photo, class_folders, find_others, find_pictures, name_below
from pocketlens.runtime.tables import SEPARATOR, is_table, split_folders
from pocketlens.train.found_photos import FoundPhotos, find_photos
from pocketlens.train.groups import group_photos
from pocketlens.train.lineage import SeenPhotos
from pocketlens.train.photo_facts import PhotoFacts, read_facts
from pocketlens.train.splits import (
    Contents,
    DividedPhotos,
    count_labels,
    divide_photos,
)

# Below this many pixels on the shorter side little is left to recognise.
TINY_SIDE = 32
# Beyond this, width to height or height to width, "stretch" distorts more than it shows.
EXTREME_ASPECT = 4.0
# A class with this many times fewer photos than the largest is a warning.
IMBALANCE = 3.0

# Pillow's names of the formats that a suffix may stand for; MPO is what some phones and cameras
# call a JPEG with a second picture behind it.
_FORMATS = {
    ".jpg": ("JPEG", "MPO"),
    ".jpeg": ("JPEG", "MPO"),
    ".png": ("PNG",),
    ".webp": ("WEBP",),
    ".bmp": ("BMP", "DIB"),
    ".gif": ("GIF",),
    ".avif": ("AVIF",),
    ".heic": ("HEIF",),
    ".heif": ("HEIF",),
    ".tif": ("TIFF",),
    ".tiff": ("TIFF",),
}
_NAMED_AT_MOST = 3


@dataclass(frozen=True)
class Copies:
    """Photos that show the same. `exact` when their files are the same byte for byte.

    `labels` has a text for each photo: its label, or several with "|" between them.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...]
    exact: bool

    @property
    def telling_names(self) -> tuple[str, ...]:
        """The names, those first that show every label and split in the group."""
        kinds = list(zip(self.labels, self.splits, strict=True))
        again = [kind in kinds[:index] for index, kind in enumerate(kinds)]
        return tuple(name for _, name in sorted(zip(again, self.names, strict=True)))


@dataclass(frozen=True)
class DataCheck:
    """The findings. Files are named relative to `found.root`, with slashes.

    `readable` counts photos, `counts` those of each class, some of which may be the same;
    `unreadable` says for each file why; `misnamed` says what format it is. A photo in `tiny` or
    `extreme` has its width and height, upright or not. `copies` are all groups; those under several
    labels or in several splits of a layout are `conflicts` and `across`. `problem` says why
    training would refuse these photos, else None.
    """

    found: FoundPhotos
    contents: Contents
    readable: int
    counts: Mapping[str, int]
    unreadable: Mapping[str, str]
    misnamed: Mapping[str, str]
    unsupported: tuple[str, ...]
    empty_classes: tuple[str, ...]
    rotated: tuple[str, ...]
    tiny: Mapping[str, tuple[int, int]]
    extreme: Mapping[str, tuple[int, int]]
    copies: tuple[Copies, ...]
    problem: str | None

    @property
    def conflicts(self) -> tuple[Copies, ...]:
        """Copies under more than one label: one of the labels is wrong."""
        return tuple(group for group in self.copies if len(set(group.labels)) > 1)

    @property
    def across(self) -> tuple[Copies, ...]:
        """Copies in more than one split of a given layout: what is tested was trained on."""
        return tuple(group for group in self.copies if len(set(group.splits)) > 1)

    @property
    def imbalance(self) -> float:
        """Photos of the largest class for each of the smallest; infinite where that has none."""
        smallest = min(self.counts.values())
        return max(self.counts.values()) / smallest if smallest else float("inf")

    def divide(self, seed: int, *, test: bool = True) -> DividedPhotos:
        """Divide the photos, copies together; raises DataError where `problem` says why."""
        return divide_photos(self.found, self.contents, seed, test=test)

    def refuse_bad(self) -> None:
        """Raise DataError where a file cannot be used or a photo has two labels: `--strict`."""
        bad = [
            f"{len(names)} {what} ({_few(names)})"
            for what, names in (
                ("unreadable", list(self.unreadable)),
                ("not named like a picture", list(self.unsupported)),
                (
                    "under two labels",
                    [" = ".join(group.telling_names[:2]) for group in self.conflicts],
                ),
            )
            if names
        ]
        if bad:
            raise DataError(
                f"Expected only photos that can be used, as --strict asks. Received: "
                f"{'; '.join(bad)}. Fix them, remove them, or leave --strict out."
            )


def check_data(
    photos: Path,
    task: str | None = None,
    positive: str | None = None,
    seen: SeenPhotos | None = None,
) -> DataCheck:
    """Read all photos and say what was found.

    Args:
        photos: a folder per class, a layout of such, or a table.
        task: what is to be trained; None takes what the photos' labels are for.
        positive: see `FoundPhotos.for_task`.
        seen: what earlier trainings had, which keeps its split.

    Raises:
        UsageError: there is no such folder or table, or no such label.
        DataError: it holds no folders with photos, or the labels are none for the task.
        LabelsError: a split of a layout has a class that the training split has not.
    """
    found = find_photos(photos)
    if task is not None:
        found = found.for_task(task, positive)
    root = found.root
    facts = read_facts(root, [photo.path for photo in found.photos])
    readable = [photo for photo in found.photos if facts[photo.path].error is None]
    contents = _contents(found, facts, readable, seen or SeenPhotos())
    try:
        divide_photos(found, contents, seed=0)
        problem = None
    except DataError as error:
        problem = str(error)
    counts = count_labels(readable)

    def named(holds: Callable[[Path, PhotoFacts], bool]) -> dict[str, PhotoFacts]:
        return {
            name_below(photo.path, root): facts[photo.path]
            for photo in readable
            if holds(photo.path, facts[photo.path])
        }

    folders = [] if is_table(photos) else list(_class_folders(root))
    return DataCheck(
        found=found,
        contents=contents,
        readable=len(readable),
        counts={label: counts[index] for index, label in enumerate(found.labels)},
        unreadable={
            name_below(photo.path, root): facts[photo.path].error or ""
            for photo in found.photos
            if photo.path in contents.unreadable
        },
        misnamed={name: entry.format for name, entry in named(_is_misnamed).items()},
        unsupported=tuple(_unsupported(root, folders)),
        empty_classes=tuple(_empty_classes(root, folders)),
        rotated=tuple(named(lambda _, entry: entry.orientation != 1)),
        tiny={
            name: entry.size_wh
            for name, entry in named(lambda _, entry: min(entry.size_wh) < TINY_SIDE).items()
        },
        extreme={name: entry.size_wh for name, entry in named(_is_extreme).items()},
        copies=_copies(found, contents),
        problem=problem,
    )


def _contents(
    found: FoundPhotos, facts: Mapping[Path, PhotoFacts], readable: list[Photo], seen: SeenPhotos
) -> Contents:
    prints = {facts[photo.path].digest: facts[photo.path].fingerprint for photo in readable}
    groups = group_photos(prints, seen)
    bad = frozenset(photo.path for photo in found.photos if facts[photo.path].error is not None)
    return Contents(
        digests={path: entry.digest for path, entry in facts.items()},
        # What cannot be read cannot leak: each such file stands for itself.
        groups={
            path: str(path) if path in bad else groups.names[entry.digest]
            for path, entry in facts.items()
        },
        unreadable=bad,
        fingerprints={path: entry.fingerprint for path, entry in facts.items()},
        bound=groups.bound,
        between=frozenset(
            photo.path for photo in readable if facts[photo.path].digest in groups.between
        ),
    )


def _copies(found: FoundPhotos, contents: Contents) -> tuple[Copies, ...]:
    groups: dict[str, list[tuple[Photo, str]]] = defaultdict(list)
    for split, photos in found.splits.items():
        for photo in photos:
            groups[contents.groups[photo.path]].append((photo, split))
    return tuple(
        Copies(
            names=tuple(name_below(photo.path, found.root) for photo, _ in members),
            labels=tuple(
                SEPARATOR.join(found.labels[index] for index in photo.label_indices)
                for photo, _ in members
            ),
            splits=tuple(split for _, split in members),
            exact=len({contents.digests[photo.path] for photo, _ in members}) == 1,
        )
        for members in groups.values()
        if len(members) > 1
    )


def _is_misnamed(path: Path, facts: PhotoFacts) -> bool:
    return facts.format not in _FORMATS.get(path.suffix.lower(), (facts.format,))


def _is_extreme(_path: Path, facts: PhotoFacts) -> bool:
    return max(facts.size_wh) > EXTREME_ASPECT * min(facts.size_wh)


def _class_folders(root: Path) -> Iterable[Path]:
    return (child for folder in split_folders(root).values() for child in class_folders(folder))


def _unsupported(root: Path, folders: Iterable[Path]) -> list[str]:
    return [name_below(path, root) for folder in folders for path in sorted(find_others(folder))]


def _empty_classes(root: Path, folders: Iterable[Path]) -> list[str]:
    return [name_below(folder, root) for folder in folders if not any(find_pictures(folder))]


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more
