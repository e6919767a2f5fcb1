"""What there is to know about one photo, by reading and decoding its file once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pocketlens.errors import PictureError
from pocketlens.runtime.pictures import decode, read_header
from pocketlens.train.duplicates import fingerprint

# To be raised when the facts or their meaning change.
FACTS_VERSION = 1


@dataclass(frozen=True)
class PhotoFacts:
    """One file.

    `digest` is the SHA-256 of its content, "" where it cannot be opened; `error` says why it
    cannot be used, else None; `format` is Pillow's name of what it holds; `size_wh` that of the
    stored pixels, `orientation` EXIF's 1-8; `fingerprint` is hexadecimal, "" where unreadable.
    """

    digest: str
    error: str | None
    format: str
    size_wh: tuple[int, int]
    orientation: int
    fingerprint: str


def read_photo(path: Path, name: str) -> PhotoFacts:
    """Read the file at `path`, which errors call `name`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = (
            f"Expected a readable picture. Received: {name}: {error.strerror or error}. "
            "Remove it or make it readable."
        )
        return PhotoFacts("", reason, "", (0, 0), 1, "")
    digest = hashlib.sha256(data).hexdigest()
    header = read_header(data)
    form, size_wh, orientation = (
        (header.format, header.size_wh, header.orientation) if header else ("", (0, 0), 1)
    )
    try:
        found = fingerprint(decode(data, name)).to_hex()
    except PictureError as error:
        return PhotoFacts(digest, str(error), form, size_wh, orientation, "")
    return PhotoFacts(digest, None, form, size_wh, orientation, found)
