"""The formats by name, and which of them a file is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pocketlens.choices import CVAT, FIFTYONE, LABEL_FORMATS, LABEL_STUDIO, TABLE
from pocketlens.errors import DataError
from pocketlens.labels import cvat, fiftyone, label_studio, table
from pocketlens.labels.items import LabelFile
from pocketlens.names import shown


@dataclass(frozen=True)
class Format:
    """How a program's files are known and read."""

    title: str
    recognizes: Callable[[Path], bool]
    read: Callable[..., LabelFile]


FORMATS = {
    LABEL_STUDIO: Format("Label Studio", label_studio.recognizes, label_studio.read),
    CVAT: Format("CVAT", cvat.recognizes, cvat.read),
    FIFTYONE: Format("FiftyOne", fiftyone.recognizes, fiftyone.read),
    TABLE: Format("a table", table.recognizes, table.read),
}


def format_of(path: Path) -> str:
    """Return the name of the format that a file is in.

    Raises:
        DataError: it is in none of them.
    """
    name = next((name for name in LABEL_FORMATS if FORMATS[name].recognizes(path)), None)
    if name is None:
        raise DataError(
            f"Expected labels of {', '.join(f.title for f in FORMATS.values())}. Received: "
            f"{shown(path)}, which looks like none of them. Name the format with --format."
        )
    return name
