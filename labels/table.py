"""Tables of labels as pocketlens has them: CSV and JSONL, see `runtime/tables.py`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pocketlens.errors import UsageError
from pocketlens.files import json_text
from pocketlens.labels.items import Item, LabelFile, utc_time
from pocketlens.names import shown
from pocketlens.runtime.photos import name_below
from pocketlens.runtime.tables import CSV_SUFFIX, SEPARATOR, is_table, read_table

BY, AT = "labelled_by", "labelled_at"


def recognizes(path: Path) -> bool:
    """Tell whether a file is named like a table."""
    return is_table(path)


def read(path: Path, *, field: str | None = None, newest: bool = False) -> LabelFile:
    """Read a table; its photos lie where it says, if that is below its folder.

    Raises:
        DataError: it is no table.
    """
    del newest
    if field is not None:
        raise UsageError("Expected no --field for a table. Leave it out.")
    table = read_table(path)
    about = _about(path)
    split_of = {photo.path: split for split, photos in table.splits.items() for photo in photos}
    items = []
    for photo in table.photos:
        name = name_below(photo.path, path.parent)
        inside = not name.startswith("../") and photo.path.is_file()
        who, at = about.get(name, ("", ""))
        items.append(
            Item(
                name,
                tuple(table.labels[index] for index in photo.label_indices),
                split_of.get(photo.path, ""),
                who,
                at,
                picture=photo.path if inside else None,
            )
        )
    several = any(len(photo.label_indices) != 1 for photo in table.photos)
    return LabelFile(tuple(items), table.labels, several)


def _about(path: Path) -> dict[str, tuple[str, str]]:
    """Return by path who labelled a photo and when, of a table that `read_table` has read."""
    text = path.read_text("utf-8-sig")
    if path.suffix.lower() == CSV_SUFFIX:
        rows = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
        if BY not in (rows.fieldnames or ()) and AT not in (rows.fieldnames or ()):
            return {}
        values: list[Mapping[str, Any]] = list(rows)
    else:
        values = [json.loads(line) for line in text.split("\n") if line.strip()]
    return {str(row.get("path")): (str(row.get(BY) or ""), utc_time(row.get(AT))) for row in values}


def write(path: Path, labels: LabelFile, paths: Mapping[str, str]) -> bytes:
    """Return the table of photos that have labels.

    Args:
        path: where it goes; its suffix says in which form.
        labels: the photos. A split is written if every photo has one.
        paths: the path of each by its name, seen from the folder of the table.

    Raises:
        UsageError: CSV cannot hold a name or a label.
    """
    items = [item for item in labels.items if item.labels is not None]
    several = labels.several or any(len(item.labels or ()) != 1 for item in items)
    rows = []
    for item in items:
        names = list(item.labels or ())
        row: dict[str, Any] = {"path": paths[item.name]}
        row |= {"labels": names} if several else {"label": names[0]}
        if all(entry.split for entry in items):
            row["split"] = item.split
        if any(entry.who or entry.at for entry in items):
            row |= {BY: item.who, AT: item.at}
        rows.append(row)
    if path.suffix.lower() == CSV_SUFFIX:
        return _csv(rows)
    return "".join(json_text(row) + "\n" for row in rows).encode("utf-8")


def _csv(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.StringIO()
    # Quoted, since spaces at the beginning would be lost.
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL)
    writer.writerow(rows[0])
    for row in rows:
        for label in row.get("labels", ()):
            if SEPARATOR in label:
                _refuse(label, f"labels without {SEPARATOR}, which stands between labels in CSV")
        cells = [SEPARATOR.join(cell) if isinstance(cell, list) else cell for cell in row.values()]
        for cell in cells:
            # A carriage return is read as the end of a line.
            if "\r" in cell or "\0" in cell or not _is_utf8(cell):
                _refuse(cell, "names in UTF-8 without line breaks, which CSV needs")
        writer.writerow(cells)
    return buffer.getvalue().encode("utf-8")


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _refuse(received: str, expected: str) -> None:
    raise UsageError(
        f"Expected {expected}. Received: {shown(received)}. Write a .jsonl table instead."
    )
