"""Dividing photos into training, validation and test parts."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pocketlens.errors import DataError
from pocketlens.progress import track
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


def split_photos(root: Path, seed: int) -> Split:
    """Divide the photos below `root`, every class by the same shares.

    A `train/ val/ test/` layout is kept as it is; where it has no `val` or `test`, that part is
    taken from `train`. Files with the same content stay in one part, so that no photo is tested
    on that was trained on under another name.

    Raises:
        UsageError: there is no such folder.
        DataError: there are fewer than two classes, or a class has too few photos.
    """
    existing_folder(root)
    given = _part_folders(root)
    if given:
        scanned = {part: scan(folder) for part, folder in given.items()}
        labels = scanned["train"].labels
        scanned = {part: photos.with_labels(labels) for part, photos in scanned.items()}
    else:
        scanned = {"train": scan(root)}
        labels = scanned["train"].labels
    everything = [photo for photos in scanned.values() for photo in photos.photos]
    _check_counts(root, labels, everything)
    digests = _digests([photo.path for photo in everything])
    parts = {part: photos.photos for part, photos in scanned.items()}
    _divide(parts, digests, seed)
    _check_apart(root, parts, digests)
    return Split(root, labels, parts, digests)


def _part_folders(root: Path) -> dict[str, Path]:
    folders = {
        part: root / name
        for part, names in _PART_NAMES.items()
        for name in names
        if (root / name).is_dir()
    }
    # A class may be called "test"; a layout has a training part and at least one other.
    return folders if "train" in folders and len(folders) > 1 else {}


def _divide(parts: dict[str, tuple[Photo, ...]], digests: Mapping[Path, str], seed: int) -> None:
    """Move the missing parts' shares out of the training part, class by class."""
    missing = [part for part in PARTS if part not in parts]
    if not missing:
        return
    share = dict(zip(PARTS, SHARES, strict=True))
    total_share = share["train"] + sum(share[part] for part in missing)
    chooser = random.Random(seed)  # noqa: S311 (no secret)
    by_class: dict[int, list[Photo]] = defaultdict(list)
    for photo in parts["train"]:
        by_class[photo.label_index].append(photo)
    divided: dict[str, list[Photo]] = {part: [] for part in ("train", *missing)}
    placed: dict[str, str] = {}
    for photos in by_class.values():
        chooser.shuffle(photos)
        wanted = {part: max(1, round(len(photos) * share[part] / total_share)) for part in missing}
        for photo in photos:
            # A copy follows the photo that it is a copy of, wherever that went.
            part = placed.get(digests[photo.path]) or next(
                (name for name, count in wanted.items() if count > 0), "train"
            )
            placed[digests[photo.path]] = part
            divided[part].append(photo)
            if part in wanted:
                wanted[part] -= 1
    for part, chosen in divided.items():
        parts[part] = tuple(sorted(chosen, key=lambda photo: photo.path))


def _check_counts(root: Path, labels: Sequence[str], photos: Sequence[Photo]) -> None:
    if len(labels) < 2:
        raise DataError(
            f"Expected at least two classes, each in its own folder below {root}. Received: one, "
            f"{labels[0]!r}. Add a folder with photos of something else."
        )
    counts = [0] * len(labels)
    for photo in photos:
        counts[photo.label_index] += 1
    scarce = [
        f"{label} ({n})" for label, n in zip(labels, counts, strict=True) if n < MIN_PER_CLASS
    ]
    if scarce:
        raise DataError(
            f"Expected at least {MIN_PER_CLASS} photos of every class, to have some for "
            f"validation and test. Received: {', '.join(scarce)}. Add photos or remove the class."
        )


def _check_apart(
    root: Path, parts: Mapping[str, Sequence[Photo]], digests: Mapping[Path, str]
) -> None:
    seen: dict[str, tuple[str, Path]] = {}
    for part in PARTS:
        for photo in parts[part]:
            first_part, first = seen.setdefault(digests[photo.path], (part, photo.path))
            if first_part != part:
                raise DataError(
                    "Expected no photo in two parts of the layout. Received: "
                    f"{first.relative_to(root)} and {photo.path.relative_to(root)}, which are "
                    "the same. Remove one of them."
                )


def _digests(paths: Sequence[Path]) -> dict[Path, str]:
    def digest(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    with ThreadPoolExecutor() as pool:
        results = track(pool.map(digest, paths), "Reading photos", len(paths))
        return dict(zip(paths, results, strict=True))
