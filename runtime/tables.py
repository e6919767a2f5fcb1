"""Tables of labelled photos: a CSV or JSONL file with the path and the label or labels of each."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pocketlens.errors import DataError, UsageError
from pocketlens.runtime.photos import Photo

CSV_SUFFIX, JSONL_SUFFIX = SUFFIXES = (".csv", ".jsonl")
SEPARATOR = "|"
"""What stands between the labels of one photo in a CSV file."""

# What the splits of a layout may be called, as folders and in tables.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}

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
    """Return the folders of a layout's splits, or `root` as "train" where there is no layout."""
    folders = {
        split: root / name
        for split, names in SPLIT_NAMES.items()
        for name in names
        if (root / name).is_dir()
    }
    # A class may be called "test"; a layout has a training split and at least one other.
    return folders if "train" in folders and len(folders) > 1 else {"train": root}


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
        photo = Photo(path.parent / row.path, tuple(sorted(index[label] for label in row.labels)))
        first = seen.setdefault(photo.path, row.line)
        if first != row.line:
            _fail(path, row.line, "each photo once", f"{row.path}, as in line {first}")
        photos.append(photo)
        if row.split is not None:
            splits.setdefault(row.split, []).append(photo)
    return PhotoTable(
        labels, tuple(photos), {name: tuple(splits[name]) for name in SPLIT_NAMES if name in splits}
    )


def _csv_rows(path: Path, text: str) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
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
        except ValueError as error:
            _fail(path, line, "a JSON object", str(error))
        if not isinstance(values, dict):
            _fail(path, line, "a JSON object", content.strip()[:40])
        label_column, split_column = _columns(path, list(values), line)
        # With a split for some photos only, nobody could say where the others belong.
        if with_split not in (None, split_column is not None):
            _fail(path, line, "a split for every photo or for none", "one of both")
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
        labels.append(entry.strip())
    if len(set(labels)) < len(labels):
        _fail(path, line, "each label of a photo once", ", ".join(labels))
    split = None if split_column is None else _split(path, line, values[split_column])
    return _Row(line, name.strip(), tuple(labels), split)


def _split(path: Path, line: int, value: Any) -> str:
    text = value.strip().lower() if isinstance(value, str) else None
    found = next((split for split, names in SPLIT_NAMES.items() if text in names), None)
    if found is None:
        _fail(path, line, f"one of {', '.join(SPLIT_NAMES)}", repr(value))
    return found


def _fail(path: Path, line: int, expected: str, received: str) -> NoReturn:
    raise DataError(
        f"Expected {expected} in line {line} of {path}. Received: {received}. Correct it."
    )
