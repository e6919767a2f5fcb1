"""Photos as a user has them, in folders or in a table, seen as a task wants them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens.choices import BINARY, MULTICLASS, MULTILABEL
from pocketlens.errors import DataError, UsageError
from pocketlens.names import shown, to_label
from pocketlens.runtime.photos import (
    Photo,
    check_label_counts,
    existing_folder,
    renumbered,
    scan,
)
from pocketlens.runtime.runs import is_run
from pocketlens.runtime.tables import is_table, read_table, split_folders


@dataclass(frozen=True)
class FoundPhotos:
    """Photos as they lie in folders or stand in a table.

    `source` is that folder or table, `root` the folder that photos are named from. `splits` has
    "train" and those that a layout gives. `labels` are sorted by name, but for a binary task: then
    they are the negative and the positive one.
    """

    source: Path
    root: Path
    labels: tuple[str, ...]
    splits: Mapping[str, tuple[Photo, ...]]
    task: str = MULTICLASS

    def for_task(self, task: str, positive: str | None = None) -> FoundPhotos:
        """Return the same photos for a task.

        Args:
            task: one of `TASKS`.
            positive: the positive label of a binary task; None takes the second.

        Raises:
            UsageError: `positive` is none of the labels.
            DataError: photos have other numbers of labels than the task wants.
        """
        check_label_counts(self.photos, self.labels, task)
        labels = self.labels
        if task == BINARY:
            labels = _negative_and_positive(labels, positive)
        splits = {
            split: renumbered(photos, self.labels, labels) for split, photos in self.splits.items()
        }
        return dataclasses.replace(self, labels=labels, splits=splits, task=task)

    @property
    def photos(self) -> tuple[Photo, ...]:
        """All photos, split by split."""
        return tuple(photo for photos in self.splits.values() for photo in photos)


def find_photos(root: Path) -> FoundPhotos:
    """List photos: a folder per class, a `train/ val/ test/` layout of such, or those of a table.

    They are for a multiclass task, or a multilabel one where a photo of a table has no label or
    several.

    Raises:
        UsageError: there is no such folder or table.
        DataError: it holds no folders with photos, or is not a table of photos.
        LabelsError: a split of the layout has a class that the training split has not.
    """
    if is_table(root):
        return _find_in_table(root)
    existing_folder(root)
    if is_run(root):
        raise UsageError(
            f"Expected photos. Received: {shown(root)}, a run. Give its photos, and --weights "
            f"{shown(root)} to start from it."
        )
    folders = split_folders(root)
    scanned = {split: scan(folder) for split, folder in folders.items()}
    labels = scanned["train"].labels
    splits = {split: found.with_labels(labels).photos for split, found in scanned.items()}
    return FoundPhotos(root, root, labels, splits)


def refuse_inside(out: Path, photos: Path) -> None:
    """Raise UsageError if a run would lie among photos, where its report would be a class."""
    if photos.is_dir() and out.resolve().is_relative_to(photos.resolve()):
        raise UsageError(
            f"Expected --out outside the photos. Received: {shown(out)}, which is in "
            f"{shown(photos)} and would be a class of it. Choose a folder beside it."
        )


def _find_in_table(path: Path) -> FoundPhotos:
    table = read_table(path)
    if table.splits and "train" not in table.splits:
        raise DataError(
            f"Expected training photos in {path}, since it divides its photos into splits. "
            f"Received: only {', '.join(table.splits)}. Add some or leave the column out."
        )
    task = MULTICLASS
    if any(len(photo.label_indices) != 1 for photo in table.photos):
        task = MULTILABEL
    return FoundPhotos(
        path, path.parent, table.labels, table.splits or {"train": table.photos}, task
    )


def _negative_and_positive(labels: Sequence[str], positive: str | None) -> tuple[str, str]:
    if len(labels) != 2:
        raise DataError(
            f"Expected two classes for --task binary. Received: {len(labels)}, "
            f"{', '.join(labels)}. Train with another --task, or leave some out."
        )
    positive = labels[1] if positive is None else to_label(positive)
    if positive not in labels:
        raise UsageError(
            f"Expected --positive to be one of the classes {' and '.join(map(repr, labels))}. "
            f"Received: {positive!r}. Choose one of them."
        )
    return labels[1 - labels.index(positive)], positive
