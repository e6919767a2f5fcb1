"""Dividing photos into training, validation and test splits.

A photo's split follows from its content alone: a hash of it and the seed is a number in 0-1, and
the test split has those below 0.20, the validation split those below 0.35. So adding, renaming,
moving or removing other photos moves none, and a file that was converted from an earlier run can be
measured on the test photos of a later one. The price is that shares hold on average only: a class
of 200 photos has 40 ± 6 in the test split.

Three rules come before the hash:

- Near copies are in one split: that of the smallest SHA-256 among them. A near copy that is added
  to n others moves all of them, together, if its own is the smallest (in one case of n + 1) and
  says another split. Near copies of what a layout has in another split stay in `train`.
- A split that would have nothing of a class gets what is nearest to it by hash. So of a class of
  few photos, those at a boundary may move when others are added; from 40 photos on, 998 of 1,000
  classes need it in no split.
- What an earlier run had keeps its split: the runs of `--splits-of`, in a project all of them, and
  the one that training starts from. Near copies follow, those of photos that are gone, too. Then
  nothing moves, whatever is added, removed, renamed or relabelled, and whatever the seed.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pocketlens.choices import MULTICLASS, MULTILABEL
from pocketlens.errors import DataError
from pocketlens.report.html import counted
from pocketlens.runtime.photos import Photo, name_below
from pocketlens.runtime.runs import SPLITS
from pocketlens.train.found_photos import FoundPhotos

Labels = tuple[int, ...]

# Which numbers in 0-1 are whose, by split.
RANGES: Mapping[str, tuple[float, float]] = {
    "train": (0.35, 1.0),
    "val": (0.20, 0.35),
    "test": (0.0, 0.20),
}
# Fewer than this and a class has nothing left to validate or test with.
MIN_PER_CLASS = 6
# Of fewer photos than this in a split, one more right or wrong is 20 points or more.
FEW_IN_SPLIT = 5
_NAMED_AT_MOST = 6


def place(group: str, seed: int) -> float:
    """Return the number in 0-1 that decides the split of a group."""
    digest = hashlib.sha256(f"{seed}\0{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def most_bound(splits: Iterable[str]) -> str:
    """Return the split of a photo that has had several: train before val before test."""
    return min(splits, key=SPLITS.index)


def divide_groups(
    groups: Mapping[str, Sequence[Labels]],
    splits: Sequence[str],
    seed: int,
    bound: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the split of each group.

    Args:
        groups: the label indices of each photo in a group, by the group's name.
        splits: those to divide into, "train" among them; what would be in another is in "train".
        seed: decides, with the group's name.
        bound: the split that a group had before.
    """
    bound = bound or {}
    places = {name: place(name, seed) for name in groups}
    placed = {}
    for name, number in places.items():
        inside = (split for split in splits if RANGES[split][0] <= number < RANGES[split][1])
        split = bound.get(name) or next(inside, "train")
        placed[name] = split if split in splits else "train"
    _fill_gaps(groups, placed, splits, {name: places[name] for name in places.keys() - bound})
    return placed


def _fill_gaps(
    groups: Mapping[str, Sequence[Labels]],
    placed: dict[str, str],
    splits: Sequence[str],
    places: Mapping[str, float],
) -> None:
    """Give a split that has nothing of a label a group with it, where another split can spare one.

    A split can spare the only group of a label as little as the last one of any other label that
    the group has. Of the groups in `places` the one goes whose number is nearest to the split's.
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
            low, high = RANGES[split]
            spare = [
                (max(low - number, number - high), name)
                for name, number in places.items()
                if label in held[name] and all(have[placed[name]][each] > 1 for each in held[name])
            ]
            if spare:
                _, chosen = min(spare)
                have[placed[chosen]].subtract(held[chosen])
                have[split].update(held[chosen])
                placed[chosen] = split


@dataclass(frozen=True)
class Contents:
    """What is known of the photos' contents.

    `digests` has the SHA-256 of each, `groups` the same text for photos that must stay together,
    `unreadable` those that do not count. `fingerprints` has that of each that counts, as text.
    `bound` has the split in which earlier runs had photos of a group. `between` are near copies of
    photos that earlier runs had in different splits; they are in none.
    """

    digests: Mapping[Path, str]
    groups: Mapping[Path, str]
    unreadable: frozenset[Path] = frozenset()
    fingerprints: Mapping[Path, str] = field(default_factory=dict)
    bound: Mapping[str, str] = field(default_factory=dict)
    between: frozenset[Path] = frozenset()


@dataclass(frozen=True)
class DividedPhotos:
    """Photos in splits, in the order of SPLITS, for a task; there may be no test split.

    `digests` has the SHA-256 of every photo's content. `notes` are sentences that say what was
    done to a layout, and of which classes too few photos are in a split to measure with.
    """

    root: Path
    labels: tuple[str, ...]
    splits: Mapping[str, tuple[Photo, ...]]
    digests: Mapping[Path, str]
    task: str = MULTICLASS
    notes: tuple[str, ...] = ()

    @property
    def data_hash(self) -> str:
        """A SHA-256 over every photo's name, split, labels and content."""
        total = hashlib.sha256()
        for split, photos in self.splits.items():
            for photo in photos:
                name = name_below(photo.path, self.root)
                labels = "|".join(self.labels[index] for index in photo.label_indices)
                text = f"{split}\0{name}\0{labels}\0{self.digests[photo.path]}\n"
                # Names of files need not be UTF-8.
                total.update(text.encode(errors="surrogateescape"))
        return total.hexdigest()


def divide_photos(
    found: FoundPhotos, contents: Contents, seed: int, *, test: bool = True
) -> DividedPhotos:
    """Divide photos into splits, as the head of this module says.

    A layout, in folders or in a table, is kept as it is, but that photos of which an earlier run
    has learned or chosen leave `test`; a missing `val` or `test` is taken from `train`. What is
    `between` the splits of earlier runs is left out.

    Args:
        found: the photos.
        contents: what is in them.
        seed: decides the split of each photo, with its content.
        test: whether to take a test split from `train` where there is none.

    Raises:
        DataError: there are fewer than two classes, a class has too few readable photos, all of
            them are copies of one, or a layout has the same file in two splits or a split without
            a class.
    """
    _check_counts(found, contents.unreadable)
    missing = [name for name in SPLITS if name not in found.splits and (test or name != "test")]
    placed: dict[str, str] = {}
    if missing:
        elsewhere = {
            contents.groups[photo.path]
            for name, photos in found.splits.items()
            for photo in photos
            if name != "train"
        }
        groups: dict[str, list[Labels]] = defaultdict(list)
        for photo in found.splits["train"]:
            group = contents.groups[photo.path]
            # A photo that nobody can read would fill a gap and give it nothing.
            unusable = photo.path in contents.unreadable or photo.path in contents.between
            if not unusable and group not in elsewhere:
                groups[group].append(photo.label_indices)
        if found.task != MULTILABEL:
            _check_groups(found.labels, groups, len(missing) + 1)
        placed = divide_groups(groups, ("train", *missing), seed, contents.bound)
    splits: dict[str, list[Photo]] = {
        name: [] for name in SPLITS if name in (*found.splits, *missing)
    }
    moved: Counter[tuple[str, str]] = Counter()
    for given, photos in found.splits.items():
        for photo in photos:
            if photo.path in contents.between:
                continue
            group = contents.groups[photo.path]
            split = placed.get(group, given) if given == "train" else given
            split = most_bound((split, contents.bound.get(group, split)))
            splits[split].append(photo)
            moved[given, split] += given != split
    divided = {
        name: tuple(sorted(photos, key=lambda photo: photo.path) if missing else photos)
        for name, photos in splits.items()
    }
    _check_apart(found.root, divided, contents)
    _check_every_class(divided, found.labels, contents)
    # Without a layout, nothing but --no-test takes them there.
    learned = sum(
        contents.bound.get(contents.groups[photo.path]) == "test"
        for photo in divided["train"]
        if len(found.splits) > 1
    )
    notes = (
        *_notes(found, missing, moved, learned),
        *_left_out(found, contents),
        *_few_photos(divided, found.labels, contents),
    )
    return DividedPhotos(found.root, found.labels, divided, contents.digests, found.task, notes)


def count_labels(photos: Iterable[Photo]) -> Counter[int]:
    """Return how many photos have each label, by its index."""
    return Counter(index for photo in photos for index in photo.label_indices)


def _notes(
    found: FoundPhotos, missing: Sequence[str], moved: Mapping[tuple[str, str], int], learned: int
) -> tuple[str, ...]:
    total = len(found.splits["train"])
    notes = [
        f"There is no {name} split: {moved['train', name]} of the {total} photos of train are "
        f"taken for it{', and --no-test leaves them in train' * (name == 'test')}."
        for name in missing
        if len(found.splits) > 1
    ]
    notes += [
        f"{counted(count)} of {given} {'is' if count == 1 else 'are'} in {split}: an earlier run "
        "had the same or a near duplicate there."
        for (given, split), count in moved.items()
        if count and given != "train"
    ]
    if learned:
        notes.append(
            f"This run learns from {counted(learned)} that an earlier run had in test, or near "
            "duplicates of such: the layout has them in train."
        )
    return tuple(notes)


def _left_out(found: FoundPhotos, contents: Contents) -> Iterator[str]:
    names = [name_below(photo.path, found.root) for photo in found.photos]
    left = [
        name
        for photo, name in zip(found.photos, names, strict=True)
        if photo.path in contents.between
    ]
    if left:
        more = f", and {len(left) - _NAMED_AT_MOST} more" if len(left) > _NAMED_AT_MOST else ""
        one = len(left) == 1
        yield (
            f"{counted(len(left))} {'is' if one else 'are'} left out: {'it' if one else 'each'} is "
            "a near duplicate of photos that earlier runs had in different splits "
            f"({', '.join(left[:_NAMED_AT_MOST])}{more})."
        )


def _few_photos(
    splits: Mapping[str, Sequence[Photo]], labels: Sequence[str], contents: Contents
) -> Iterator[str]:
    """Yield a sentence for each split to measure with that has few readable photos of a class."""
    for split in (name for name in SPLITS[1:] if name in splits):
        held = count_labels(
            photo for photo in splits[split] if photo.path not in contents.unreadable
        )
        few = [index for index in range(len(labels)) if held[index] < FEW_IN_SPLIT]
        if not few:
            continue
        named = [f"{counted(held[few[0]], 'photo')} of {labels[few[0]]}"]
        named += [f"{held[index]} of {labels[index]}" for index in few[1:_NAMED_AT_MOST]]
        more = len(few) - len(named)
        text = ", ".join(named) + (f" and few of {more} more" if more else "")
        verb = "is" if len(few) == held[few[0]] == 1 else "are"
        whose = "its" if len(few) == 1 else "their"
        yield f"Only {text} {verb} in {split}: {whose} figures say little; more photos help."


def _check_groups(
    labels: Sequence[str], groups: Mapping[str, Sequence[Labels]], splits: int
) -> None:
    for index, label in enumerate(labels):
        sizes = [Counter(photos)[(index,)] for photos in groups.values()]
        different = sum(size > 0 for size in sizes)
        if different < splits:
            raise DataError(
                f"Expected at least {splits} different photos of every class, one for each split. "
                f"Received: {different} of {label!r}, with {sum(sizes)} files of them. Add others, "
                "or divide them yourself into train/, val/ and test/ folders."
            )


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
        f"{label} ("
        + (
            f"{counted(have, 'readable photo')} of {every[index]})"
            if have < every[index]
            else f"{have})"
        )
        for index, label in enumerate(labels)
        if (have := good[index]) < MIN_PER_CLASS
    ]
    if scarce:
        raise DataError(
            f"Expected at least {MIN_PER_CLASS} photos of every class, to have some for "
            f"validation and test. Received: {', '.join(scarce)}. Add photos or remove the class."
        )


def _check_apart(root: Path, splits: Mapping[str, Sequence[Photo]], contents: Contents) -> None:
    seen: dict[str, tuple[str, Path]] = {}
    for split, photos in splits.items():
        for photo in photos:
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
    splits: Mapping[str, Sequence[Photo]], labels: Sequence[str], contents: Contents
) -> None:
    advice = "Add photos to it."
    if contents.bound:
        advice = (
            "Photos that an earlier run had keep their split: add new ones, or divide all "
            "anew with --splits-of none and other weights than a run's."
        )
    for split, photos in splits.items():
        held = count_labels(photo for photo in photos if photo.path not in contents.unreadable)
        lacking = [label for index, label in enumerate(labels) if index not in held]
        if lacking:
            raise DataError(
                f"Expected readable photos of every class in the {split} split. Received: none of "
                f"{', '.join(map(repr, lacking))}. {advice}"
            )
