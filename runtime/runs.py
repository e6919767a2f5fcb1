"""The run folder that `train` writes: where things are in it, and the split of each photo."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pocketlens.card import CARD_NAME, LABELS_NAME, ModelCard, labels_text
from pocketlens.errors import DataError, ModelFileError, UsageError
from pocketlens.files import write_json, write_text
from pocketlens.project import project_root
from pocketlens.runtime.photos import LabelledPhotos, Photo, name_below, scan
from pocketlens.runtime.tables import is_table, read_table, split_folders

MODEL_NAME = "model.keras"
SPLIT_NAME = "split.json"
HISTORY_NAME = "history.csv"
REPORT_NAME = "report"
LOGS_NAME = "logs"
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Run:
    """A finished training run, opened for reading."""

    folder: Path
    card: ModelCard

    @property
    def model(self) -> Path:
        """The trained Keras model."""
        return self.folder / MODEL_NAME

    def photos(self, split: str) -> LabelledPhotos:
        """Return the photos of one split, in the order in which they were used.

        Raises:
            ModelFileError: the record of them is damaged.
            DataError: the photos are no longer where they were, or the run has no such split.
        """
        divided = read_split(self.folder)
        if not divided.parts.get(split):
            raise DataError(
                f"{self.folder} has no {split} photos: it was trained with --no-test. "
                "Give a folder of photos instead of the run."
            )
        index = {label: position for position, label in enumerate(self.card.labels)}
        try:
            photos = tuple(
                Photo(divided.root / name, tuple(index[label] for label in _as_list(labels)))
                for name, labels in divided.parts[split].items()
            )
        except KeyError as error:
            raise _damaged(self.folder / SPLIT_NAME, error) from error
        if not any(photo.path.is_file() for photo in photos):
            raise DataError(
                f"Expected the {split} photos of {self.folder} below {divided.root}. Received: "
                "none of them there. Move them back, or give a folder of photos instead of the "
                "run."
            )
        return LabelledPhotos(self.card.labels, photos)


class RunSplit(NamedTuple):
    """Which photo of a run had which split.

    `parts` has the label or labels of each, by split and name below `root`; `seen` says by content
    which photos this run and those before it had (see `train.lineage`), None in a run of an
    earlier version.
    """

    root: Path
    parts: Mapping[str, Mapping[str, str | list[str]]]
    seen: Mapping[str, Any] | None


def read_split(folder: Path) -> RunSplit:
    """Read which photo of the run in `folder` had which split.

    Raises:
        ModelFileError: the file is damaged.
    """
    path = folder / SPLIT_NAME
    try:
        values = json.loads(path.read_text("utf-8"))
        for photos in values["parts"].values():
            for labels in photos.values():
                "".join(_as_list(labels))
        return RunSplit(folder / values["photos"], values["parts"], values.get("seen"))
    # RecursionError: a list in a list in a list …
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ModelFileError:
    return ModelFileError(
        f"Expected a record of the splits in {path}. Received: {error!r}. Train again."
    )


def is_run(folder: Path) -> bool:
    """Tell whether a folder is a run."""
    return (folder / MODEL_NAME).is_file() and (folder / SPLIT_NAME).is_file()


def read_run(folder: Path) -> Run:
    """Open a run folder.

    Raises:
        UsageError: there is no such folder, or it is not a run.
        ModelFileError: its card is damaged.
    """
    if not is_run(folder):
        came = "a folder without them" if folder.is_dir() else "no such folder"
        raise UsageError(
            f"Expected a run with {MODEL_NAME} and {SPLIT_NAME} at {folder}. Received: {came}. "
            "Make one with: pocketlens train PHOTOS --out RUN"
        )
    card = folder / CARD_NAME
    if not card.is_file():
        raise ModelFileError(f"Expected {CARD_NAME} in {folder}. Received: none. Train again.")
    return Run(folder, ModelCard.from_json(card.read_bytes()))


def evaluation_photos(data: str | Path | LabelledPhotos) -> LabelledPhotos:
    """Return a run's held-back test photos, those of a folder per class or table, or what is given.

    Of a table that says which photo is in which split, and of a `train/ val/ test/` layout of
    folders, the test photos are taken.

    Raises:
        UsageError: there is no such folder or table.
        DataError: it holds no photos.
    """
    if isinstance(data, LabelledPhotos):
        return data
    path = Path(data)
    if is_run(path):
        return read_run(path).photos("test")
    if not is_table(path):
        folders = split_folders(path)
        _expect_test(path, folders if len(folders) > 1 else {}, "name the folder of one of them")
        return scan(folders.get("test", path))
    table = read_table(path)
    _expect_test(path, table.splits, "leave the column out")
    return LabelledPhotos(table.labels, table.splits.get("test", table.photos))


def _expect_test(path: Path, splits: Iterable[str], advice: str) -> None:
    splits = list(splits)
    if splits and "test" not in splits:
        raise DataError(
            f"Expected test photos in {path}, since it divides its photos into splits. Received: "
            f"only {', '.join(splits)}. Add some or {advice}."
        )


def write_card(folder: Path, card: ModelCard) -> None:
    """Write a run's card and labels."""
    write_text(folder / CARD_NAME, card.to_json())
    write_text(folder / LABELS_NAME, labels_text(card.score_labels))


def write_split(
    folder: Path,
    place: Path,
    root: Path,
    labels: Sequence[str],
    splits: Mapping[str, Sequence[Photo]],
    seen: Mapping[str, Any],
) -> None:
    """Write which photo had which split and labels, with paths relative to the folder `root`.

    `seen` says the same by content, of this run and those before it (see `train.lineage`).

    Photos beside `place`, where the run in `folder` is to lie when it is complete, or in the same
    project, are named by their way from there, so that both may move together.
    """
    root, place = root.absolute(), place.absolute()
    beside = root.is_relative_to(project_root(place.parent) or place.parent)
    write_json(
        folder / SPLIT_NAME,
        {
            "photos": name_below(root, place) if beside else str(root),
            "parts": {
                split: {
                    name_below(photo.path.absolute(), root): _as_text(photo, labels)
                    for photo in photos
                }
                for split, photos in splits.items()
            },
            "seen": dict(seen),
        },
    )


def _as_text(photo: Photo, labels: Sequence[str]) -> str | list[str]:
    """Return a photo's label, or a list where it has none or several."""
    names = [labels[index] for index in photo.label_indices]
    return names[0] if len(names) == 1 else names


def _as_list(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else names
