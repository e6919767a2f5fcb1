"""Tables of labelled photos: a CSV or JSONL file with the path and the label or labels of each."""

from __future__ import annotations

import csv
import io
import json
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pocketlens.card import LONGEST_LABEL
from pocketlens.errors import DataError, UsageError
from pocketlens.names import say_once, shown, to_label
from pocketlens.runtime.photos import Photo, class_folders

CSV_SUFFIX, JSONL_SUFFIX = SUFFIXES = (".csv", ".jsonl")
SEPARATOR = "|"
"""What stands between the labels of one photo in a CSV file."""

# What the splits of a layout may be called, as folders and in tables, in any case.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
# Where there is a test split, it is what one validates with.
_EVAL_NAMES = ("eval", "evaluation")

_LABEL_COLUMNS = ("label", "labels")
_SPLIT_COLUMNS = ("part", "split")


@dataclass(frozen=True)
class PhotoTable:
    """The photos of a table, in its order.

    `labels` are sorted by name. `splits` has "train", "val" and "test" where the table says which
    photo is in which, else it is empty.
    """

    labels: tuple[str, ...]
    photos: tuple[Photo, ...]
    splits: Mapping[str, tuple[Photo, ...]]


@dataclass(frozen=True)
class _Row:
    line: int
    path: str
    labels: tuple[str, ...]
    split: str | None


def split_folders(root: Path) -> dict[str, Path]:
    """Return the folders of a layout's splits, or `root` as "train" where there is no layout.

    Raises:
        UsageError: there is no such folder.
        DataError: two folders are named like the same split.
    """
    found: dict[str, Path] = {}
    folders = class_folders(root)
    splits = splits_of([folder.name for folder in folders])
    for folder in folders:
        split = splits.get(folder.name)
        if split is not None and found.setdefault(split, folder) != folder:
            raise DataError(
                f"Expected one folder for each split of {shown(root)}. Received: "
                f"{found[split].name} and {folder.name}. Rename one of them, or put them together."
            )
    # A class may be called "test"; a layout has a training split and at least one other.
    if "train" not in found or len(found) == 1:
        return {"train": root}
    others = [shown(folder.name) for folder in folders if folder.name not in splits]
    if others:
        say_once(f"Not used: {', '.join(others)} in {shown(root)}, beside the splits.")
    return {split: found[split] for split in SPLIT_NAMES if split in found}


def splits_of(names: Iterable[str]) -> dict[str, str]:
    """Return the split for each of the names, as a layout has them together, that stands for one.

    "eval" is the test split, or the validation split where there is another for the test.
    """
    names = list(names)
    splits = {
        name: split
        for name in names
        for split, known in SPLIT_NAMES.items()
        if name.strip().lower() in known
    }
    evaluation = "val" if "test" in splits.values() else "test"
    return splits | {name: evaluation for name in names if name.strip().lower() in _EVAL_NAMES}


def is_table(path: Path) -> bool:
    """Tell whether a path is named like a table and is not a folder."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def read_table(path: Path) -> PhotoTable:
    """Read a table. Photos are named relative to its folder; whether they are there is not asked.

    CSV: a first line with the columns `path`, `label` (one) or `labels` (any number, `|` between
    them) and, if wanted, `part` or `split`. JSONL: an object a line with the same names, where
    `labels` is a list.

    Raises:
        UsageError: there is no such file.
        DataError: it is not such a table; the message names the line.
    """
    if not path.is_file():
        raise UsageError(f"Expected photos at {path}. Received: nothing there. Check the path.")
    try:
        # Spreadsheets put a byte order mark before UTF-8.
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"Expected {path} as UTF-8 text. Received: {error}. Save it as UTF-8."
        ) from error
    read = _csv_rows if path.suffix.lower() == CSV_SUFFIX else _jsonl_rows
    rows = list(read(path, text))
    if not rows:
        raise DataError(f"Expected one photo per line in {path}. Received: none. Add photos to it.")
    return _table(path, rows)


def _table(path: Path, rows: list[_Row]) -> PhotoTable:
    of_name = splits_of({row.split for row in rows if row.split is not None})
    labels = tuple(sorted({label for row in rows for label in row.labels}))
    if not labels:
        raise DataError(
            f"Expected photos with labels in {path}. Received: {len(rows)} without any. Add labels."
        )
    index = {label: position for position, label in enumerate(labels)}
    seen: dict[Path, int] = {}
    photos: list[Photo] = []
    splits: dict[str, list[Photo]] = {}
    for row in rows:
        photo = Photo(
            _find(path.parent, row.path), tuple(sorted(index[label] for label in row.labels))
        )
        first = seen.setdefault(photo.path, row.line)
        if first != row.line:
            _fail(path, row.line, "each photo once", f"{row.path}, as in line {first}")
        photos.append(photo)
        if row.split is not None:
            splits.setdefault(of_name[row.split], []).append(photo)
    return PhotoTable(
        labels, tuple(photos), {name: tuple(splits[name]) for name in SPLIT_NAMES if name in splits}
    )


def _find(folder: Path, name: str) -> Path:
    """Return where a photo lies: spaces and the form of characters may differ from the table's."""
    path = folder / name.strip()
    if name.isascii() and name == name.strip():
        return path
    forms = (
        unicodedata.normalize(form, text)
        for form in ("NFC", "NFD")
        for text in (name, name.strip())
    )
    ways = (folder / name, path, *(folder / form for form in forms))
    return next((way for way in ways if os.path.lexists(way)), path)


def _csv_rows(path: Path, text: str) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        label_column, split_column = _columns(path, header)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                _fail(path, reader.line_num, f"{len(header)} columns", f"{len(cells)}")
            values: dict[str, Any] = dict(zip(header, cells, strict=True))
            if label_column == "labels":
                entries = values["labels"].split(SEPARATOR)
                values["labels"] = entries if any(entry.strip() for entry in entries) else []
            yield _row(path, reader.line_num, values, label_column, split_column)
    except csv.Error as error:
        _fail(path, reader.line_num, "comma-separated values", str(error))


def _jsonl_rows(path: Path, text: str) -> Iterator[_Row]:
    with_split: bool | None = None
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            values = json.loads(content)
        # RecursionError: a list in a list in a list …
        except (ValueError, RecursionError) as error:
            _fail(path, line, "a JSON object", str(error))
        if not isinstance(values, dict):
            _fail(path, line, "a JSON object", content.strip()[:40])
        label_column, split_column = _columns(path, list(values), line)
        # With a split for some photos only, nobody could say where the others belong.
        if with_split not in (None, split_column is not None):
            _fail(path, line, "a split for every photo or for none", "a mix of both")
        with_split = split_column is not None
        yield _row(path, line, values, label_column, split_column)


def _columns(path: Path, names: list[str], line: int = 1) -> tuple[str, str | None]:
    """Return the names under which the labels and the split stand."""
    found_labels = [name for name in _LABEL_COLUMNS if name in names]
    found_splits = [name for name in _SPLIT_COLUMNS if name in names]
    doubled = len(set(names)) < len(names)
    if "path" not in names or len(found_labels) != 1 or len(found_splits) > 1 or doubled:
        expected = "path, one of label and labels, and at most one of split and part"
        _fail(path, line, expected, ", ".join(names) or "nothing")
    return found_labels[0], found_splits[0] if found_splits else None


def _row(
    path: Path, line: int, values: dict[str, Any], label_column: str, split_column: str | None
) -> _Row:
    name = values["path"]
    if not isinstance(name, str) or not name.strip():
        _fail(path, line, "the path of a photo", repr(name))
    several = label_column == "labels"
    entries = values[label_column] if several else [values[label_column]]
    if not isinstance(entries, list):
        _fail(path, line, "labels as a list", repr(entries))
    labels = []
    for entry in entries:
        if not isinstance(entry, str) or not entry.strip() or len(entry.splitlines()) > 1:
            _fail(path, line, "each label as a single line of text", repr(entry))
        labels.append(to_label(entry))
        if len(labels[-1]) > LONGEST_LABEL:
            # Now, and not when all is trained.
            expected = f"labels of at most {LONGEST_LABEL} characters"
            _fail(path, line, expected, f"one of {len(labels[-1])}")
    if len(set(labels)) < len(labels):
        _fail(path, line, "each label of a photo once", ", ".join(labels))
    split = None if split_column is None else _split(path, line, values[split_column])
    return _Row(line, name, tuple(labels), split)


def _split(path: Path, line: int, value: Any) -> str:
    text = value.strip().lower() if isinstance(value, str) else ""
    if not splits_of([text]):
        _fail(path, line, f"one of {', '.join(SPLIT_NAMES)}", repr(value))
    return text


def _fail(path: Path, line: int, expected: str, received: str) -> NoReturn:
    raise DataError(
        f"Expected {expected} in line {line} of {shown(path)}. Received: {shown(received)}. "
        "Correct it."
    )
