"""What files of labels have in common: photos by name, what each shows, and what is no class."""

from __future__ import annotations

import contextlib
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn

from pocketlens.card import LONGEST_LABEL
from pocketlens.errors import DataError, UsageError
from pocketlens.files import json_text
from pocketlens.names import shown, to_label
from pocketlens.runtime.inbox import iso_time, parse_time
from pocketlens.runtime.tables import splits_of

# Reading JSON takes up to twenty times its bytes of memory; a photo takes about a kilobyte of it.
MOST_JSON_BYTES = 256 << 20


# RuntimeError: a password. NotImplementedError: a compression that Python lacks.
DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError)
# XML 1.0 has no way to write these.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Packed:
    """A picture inside a zip archive."""

    archive: Path
    entry: str

    @property
    def name(self) -> str:
        """The name of its file, without the folders in the archive."""
        return self.entry.rpartition("/")[2]


Picture = Path | Packed


@dataclass(frozen=True)
class Item:
    """One photo of a file of labels.

    Attributes:
        name: what the file calls it: a path, an address, or a path without the suffix.
        labels: as they are written there; None where nobody has labelled it yet.
        split: "train", "val" or "test", "" where it is in none.
        who: who labelled it, "" where the file does not say.
        at: when, as ISO 8601, "" where the file does not say.
        scores: what a model says, by label; empty without one.
        model: the name of that model.
        picture: where it lies, if it came with the file.
        bare: whether `name` lacks the suffix.
    """

    name: str
    labels: tuple[str, ...] | None
    split: str = ""
    who: str = ""
    at: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    model: str = ""
    picture: Picture | None = None
    bare: bool = False


@dataclass(frozen=True)
class LabelFile:
    """What a file of labels has, or what is to be written into one.

    Attributes:
        items: the photos, in the file's order.
        classes: all labels in the order of the file, also those that no photo has.
        several: whether a photo may have any number of labels.
        left_out: what is no label of a whole photo, and how many: {"boxes": 12}.
    """

    items: tuple[Item, ...]
    classes: tuple[str, ...]
    several: bool = False
    left_out: Mapping[str, int] = field(default_factory=dict)


def classes_of(items: Iterable[Item], declared: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the declared labels and behind them the others that photos have, sorted."""
    used = {label for item in items for label in item.labels or ()}
    return (*dict.fromkeys(declared), *sorted(used - set(declared)))


def normal_labels(labels: Iterable[str], name: str, path: Path) -> tuple[str, ...]:
    """Return labels in the one form that pocketlens has of each, without doubles.

    Raises:
        DataError: one is empty or too long.
    """
    normal = []
    for label in labels:
        text = to_label(label)
        if not text or len(text) > LONGEST_LABEL:
            raise DataError(
                f"Expected labels of 1 to {LONGEST_LABEL} characters in {shown(path)}. Received: "
                f"{len(text)} for {shown(name)}. Correct it there."
            )
        normal.append(text)
    return tuple(dict.fromkeys(normal))


def read_json(path: Path) -> Any:
    """Read a JSON file from outside, in which no object has a key twice.

    Raises:
        DataError: it is too large, no JSON, or has a key twice.
    """
    size = path.stat().st_size
    if size > MOST_JSON_BYTES:
        raise DataError(
            f"Expected at most {MOST_JSON_BYTES >> 20} MB of JSON. Received: {size >> 20} MB in "
            f"{shown(path)}. Export it in parts."
        )
    try:
        return json.loads(path.read_text("utf-8-sig"), object_pairs_hook=_once)
    except _DoubleKeyError as error:
        raise DataError(
            f"Expected each name once in {shown(path)}. Received: {shown(error)} twice in one "
            "object. Correct it, since one of the two would be lost."
        ) from error
    # RecursionError: a list in a list in a list …
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"Expected JSON in {shown(path)}. Received: {shown(error)}. Export it again."
        ) from error


class _DoubleKeyError(ValueError):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise _DoubleKeyError(next(key for key, n in Counter(k for k, _ in pairs).items() if n > 1))
    return values


def to_json(payload: Any) -> bytes:
    """Return values as the JSON of a file."""
    return (json_text(payload, indent=2) + "\n").encode("utf-8")


def utc_time(text: Any) -> str:
    """Return a time as ISO 8601 in UTC with milliseconds, "" for what is none."""
    try:
        return iso_time(parse_time(text)) if isinstance(text, str) else ""
    except (ValueError, OverflowError, OSError):
        return ""


def split_of(value: Any) -> str:
    """Return "train", "val" or "test" for what stands for one, "" for anything else."""
    text = value.strip().lower() if isinstance(value, str) else ""
    return splits_of([text]).get(text, "") if text else ""


@contextlib.contextmanager
def open_picture(picture: Picture) -> Iterator[IO[bytes]]:
    """Open a picture for reading; raises DataError where its archive is damaged."""
    if isinstance(picture, Path):
        with picture.open("rb") as stream:
            yield stream
        return
    try:
        with zipfile.ZipFile(picture.archive) as archive, archive.open(picture.entry) as packed:
            yield packed
    except DAMAGED_ZIP as error:
        raise DataError(
            f"Cannot read {shown(picture.entry)} in {shown(picture.archive)}: {shown(error)}. "
            "Export it again."
        ) from error


def refuse_unwritable(texts: Iterable[str], program: str, *, xml: bool = False) -> None:
    """Raise UsageError for a name or label that a program's files cannot hold.

    That is one with bytes that are no UTF-8, and in XML also some control characters.
    """
    for text in texts:
        if _NOT_XML.search(text) if xml else not _is_utf8(text):
            raise UsageError(
                f"Expected names and labels that files of {program} can hold. Received: "
                f"{shown(text)}. Rename it, or write a .jsonl table."
            )


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def fail(path: Path, expected: str, received: str) -> NoReturn:
    """Raise DataError for a file of labels that is not as its format says."""
    raise DataError(
        f"Expected {expected} in {shown(path)}. Received: {shown(received)}. Export it again."
    )
