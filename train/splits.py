"""Dividing photos into training, validation and test splits."""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens.choices import MULTICLASS, MULTILABEL
from pocketlens.errors import DataError
from pocketlens.runtime.photos import Photo, name_below
from pocketlens.runtime.runs import SPLITS
from pocketlens.train.found_photos import FoundPhotos

# Photos without any label are divided too, as if that were one.
_NO_LABEL = -1

Labels = tuple[int, ...]


def divide_groups(
    groups: Mapping[str, Sequence[Labels]], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Return the split of each group.

    Args:
        groups: the label indices of each photo in a group, by the group's name.
        shares: of all photos, by the split's name; together 1.
        seed: decides between groups that are alike.
    """
    counts = {
        name: Counter(label for labels in photos for label in (labels or (_NO_LABEL,)))
        for name, photos in groups.items()
    }
    order = list(groups)
    random.Random(seed).shuffle(order)  # noqa: S311 (no secret)
    left = sum(counts.values(), Counter())
    wanted = {
        split: {label: share * count for label, count in left.items()}
        for split, share in shares.items()
    }
    room = {split: share * sum(map(len, groups.values())) for split, share in shares.items()}
    placed: dict[str, str] = {}
    while left:
        rarest = min(left, key=lambda label: (left[label], label))
        # Large groups first: what is left then fits into what is still wanted.
        held = [name for name in order if name not in placed and counts[name][rarest]]
        for name in sorted(held, key=lambda name: -counts[name][rarest]):
            split = max(shares, key=lambda split: (wanted[split][rarest], room[split]))
            placed[name] = split
            room[split] -= len(groups[name])
            for label, count in counts[name].items():
                wanted[split][label] -= count
        left = Counter()
        for name in order:
            if name not in placed:
                left.update(counts[name])
    return placed


def fill_gaps(
    groups: Mapping[str, Sequence[Labels]], placed: dict[str, str], splits: Sequence[str]
) -> None:
    """Give a split that has nothing of a label a group with it, where another split can spare one.

    A split can spare the only group of a label as little as the last photo of any other label that
    the group has. The smallest group goes, out of the split with most of the label.
    """
    held = {
        name: {label for labels in photos for label in labels} for name, photos in groups.items()
    }
    have = {split: Counter[int]() for split in splits}
    for name, split in placed.items():
        have[split].update(held[name])
    for label in sorted(set().union(*held.values())):
        for split in splits:
            if have[split][label]:
                continue
            spare = [
                name
                for name, other in placed.items()
                if label in held[name] and all(have[other][entry] > 1 for entry in held[name])
            ]
            if not spare:
                continue
            chosen = min(
                spare, key=lambda name: (-have[placed[name]][label], len(groups[name]), name)
            )
            have[placed[chosen]].subtract(held[chosen])
            have[split].update(held[chosen])
            placed[chosen] = split


# The shares of the three splits, in the order of SPLITS.
SHARES = (0.65, 0.15, 0.20)
# Fewer than this and a class has nothing left to validate or test with.
MIN_PER_CLASS = 6


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
class DividedPhotos:
    """Photos in three splits, for a task. `digests` has the SHA-256 of every photo's content."""

    root: Path
    labels: tuple[str, ...]
    splits: Mapping[str, tuple[Photo, ...]]
    digests: Mapping[Path, str]
    task: str = MULTICLASS

    @property
    def data_hash(self) -> str:
        """A SHA-256 over every photo's name, split, labels and content."""
        total = hashlib.sha256()
        for split in SPLITS:
            for photo in self.splits[split]:
                name = name_below(photo.path, self.root)
                labels = "|".join(self.labels[index] for index in photo.label_indices)
                text = f"{split}\0{name}\0{labels}\0{self.digests[photo.path]}\n"
                # Names of files need not be UTF-8.
                total.update(text.encode(errors="surrogateescape"))
        return total.hexdigest()


def divide_photos(found: FoundPhotos, contents: Contents, seed: int) -> DividedPhotos:
    """Divide photos into three splits, every label by the same shares.

    A layout, in folders or in a table, is kept as it is; a missing `val` or `test` is taken from
    `train`. Photos of one group stay in one split, so that no photo is tested on that was trained
    on under another name.

    Raises:
        DataError: there are fewer than two classes, a class has too few readable photos, all of
            them are copies of one, or a layout has the same file in two splits or a split without
            a class.
    """
    _check_counts(found, contents.unreadable)
    splits = dict(found.splits)
    missing = [split for split in SPLITS if split not in splits]
    if missing:
        share = dict(zip(SPLITS, SHARES, strict=True))
        shares = {split: share[split] for split in ("train", *missing)}
        shares = {split: value / sum(shares.values()) for split, value in shares.items()}
        everything = splits["train"]
        if found.task == MULTILABEL:
            placed = _place_by_labels(everything, contents, shares, seed)
        else:
            placed = _place_by_class(everything, found.labels, contents, shares, seed)
        for split in shares:
            chosen = (p for p in everything if placed[contents.groups[p.path]] == split)
            splits[split] = tuple(sorted(chosen, key=lambda photo: photo.path))
    _check_apart(found.root, splits, contents)
    _check_every_class(splits, found.labels, contents.unreadable)
    return DividedPhotos(found.root, found.labels, splits, contents.digests, found.task)


def count_labels(photos: Iterable[Photo]) -> Counter[int]:
    """Return how many photos have each label, by its index."""
    return Counter(index for photo in photos for index in photo.label_indices)


def _place_by_labels(
    photos: Sequence[Photo], contents: Contents, shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Return the split of each group of photos that may have several labels or none."""
    groups: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    for photo in photos:
        # A photo that nobody can read would take a split's share and give it nothing.
        if photo.path not in contents.unreadable:
            groups[contents.groups[photo.path]].append(photo.label_indices)
    placed = divide_groups(groups, shares, seed)
    fill_gaps(groups, placed, list(shares))
    return {contents.groups[photo.path]: "train" for photo in photos} | placed


def _place_by_class(
    photos_of_all: Sequence[Photo],
    labels: Sequence[str],
    contents: Contents,
    shares: Mapping[str, float],
    seed: int,
) -> dict[str, str]:
    """Return the split of each group: class by class, the shares taken from the training split."""
    missing = [split for split in shares if split != "train"]
    groups = contents.groups
    chooser = random.Random(seed)  # noqa: S311 (no secret)
    by_class: dict[int, list[Photo]] = defaultdict(list)
    for photo in photos_of_all:
        by_class[photo.label_indices[0]].append(photo)
    # The split of each group; photos of one group are in one class but for wrong labels.
    placed: dict[str, str] = {}
    for photos in by_class.values():
        chooser.shuffle(photos)
        sizes = Counter(groups[photo.path] for photo in photos)
        wanted = {split: max(1, round(len(photos) * shares[split])) for split in missing}
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
        _leave_none_empty(labels[index], readable, groups, placed, list(shares))
    return placed


def _leave_none_empty(
    label: str,
    photos: Sequence[Photo],
    groups: Mapping[Path, str],
    placed: dict[str, str],
    splits: Sequence[str],
) -> None:
    """Give a split without photos of a class the smallest group of the split with most groups."""
    sizes = Counter(groups[photo.path] for photo in photos)
    if len(sizes) < len(splits):
        raise DataError(
            f"Expected at least {len(splits)} different photos of every class, one for each split. "
            f"Received: {len(sizes)} of {label!r}, with {len(photos)} files of them. Add others, "
            "or divide them yourself into train/, val/ and test/ folders."
        )
    for split in splits:
        if any(placed[group] == split for group in sizes):
            continue
        held = {name: [group for group in sizes if placed[group] == name] for name in splits}
        fullest = max(splits, key=lambda name: len(held[name]))
        placed[min(held[fullest], key=lambda group: (sizes[group], group))] = split


def _check_counts(found: FoundPhotos, unreadable: frozenset[Path]) -> None:
    labels = found.labels
    if len(labels) < 2:
        raise DataError(
            f"Expected at least two classes in {found.source}, for folders one in each. "
            f"Received: one, {labels[0]!r}. Add photos of something else."
        )
    every = count_labels(found.photos)
    good = count_labels(photo for photo in found.photos if photo.path not in unreadable)
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


def _check_apart(root: Path, splits: Mapping[str, Sequence[Photo]], contents: Contents) -> None:
    seen: dict[str, tuple[str, Path]] = {}
    for split in SPLITS:
        for photo in splits[split]:
            if photo.path in contents.unreadable:
                continue
            first_split, first = seen.setdefault(contents.digests[photo.path], (split, photo.path))
            if first_split != split:
                raise DataError(
                    "Expected no photo in two splits of the layout. Received: "
                    f"{name_below(first, root)} and {name_below(photo.path, root)}, which are "
                    "the same. Remove one of them."
                )


def _check_every_class(
    splits: Mapping[str, Sequence[Photo]], labels: Sequence[str], unreadable: frozenset[Path]
) -> None:
    for split in SPLITS:
        held = count_labels(photo for photo in splits[split] if photo.path not in unreadable)
        lacking = [label for index, label in enumerate(labels) if index not in held]
        if lacking:
            raise DataError(
                f"Expected readable photos of every class in the {split} split. Received: none of "
                f"{', '.join(map(repr, lacking))}. Add photos to it."
            )
