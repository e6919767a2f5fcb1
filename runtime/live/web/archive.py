"""The kept frames as a ZIP file that is made while it is read: `/inbox.zip`."""

from __future__ import annotations

import asyncio
import io
import os
import re
import zipfile
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from pocketlens.errors import UsageError
from pocketlens.runtime.inbox import info_path, iso_time, picture_paths

MOST_PICTURES = 1000
"""Pictures in one file: the next call goes on, and neither memory nor time grow without bounds."""

# Who takes a piece slower than this in ten seconds is cut off; see `guard.WRITE_S`.
_PIECE_BYTES = 64 * 1024
# ZIP knows no earlier year.
_FIRST_YEAR = 1980
_NAME = re.compile(
    r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})\.([0-9]{3})Z-[0-9a-f]{8,}\."
)
_TIME = re.compile(
    r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):?([0-9]{2}):?([0-9]{2})(\.[0-9]{1,6})?)?"
    r"(?:[Zz]|[+ ]00:?00)?"
)


def parse_since(text: str) -> float:
    """Read a time in UTC, as `X-Newest` and the names of pictures have it, as seconds since 1970.

    A plus sign may have become a space, which it means in a query.

    Raises:
        UsageError: it is none.
    """
    match = _TIME.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError
        *whole, part = match.groups(default="0")
        year, month, day, hour, minute, second = map(int, whole)
        at = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
        return at.timestamp() + float(part)
    except (ValueError, OverflowError):
        raise UsageError(
            f"Expected since as a time in UTC. Received: {text[:60]!r}. "
            f"Write it like {iso_time(1.8e9)}, or leave it out for all."
        ) from None


class Found(NamedTuple):
    """Files of pictures, each .json before its .jpg, oldest first.

    `newest` is the time of the last of the pictures, by which the next call goes on; where there
    are none, the time that was asked for. `left` pictures more come then.
    """

    pictures: list[Path]
    newest: str | None
    left: int

    @property
    def files(self) -> Iterator[Path]:
        """The files of the pictures."""
        for picture in self.pictures:
            yield from (info_path(picture), picture)


def find(folder: Path, since_s: float | None) -> Found:
    """Return the pictures of an inbox that are newer than a time, at most `MOST_PICTURES`.

    Pictures whose names do not begin with their time, which no run and nobody's recording made, are
    not among them.

    Args:
        folder: the inbox.
        since_s: in seconds since 1970, to the millisecond; None for all.

    Raises:
        DataError: the folder cannot be listed.
    """
    since = "" if since_s is None else iso_time(since_s)
    timed = [(match, path) for path in picture_paths(folder) if (match := _NAME.match(path.name))]
    newer = sorted(
        (at, path)
        for match, path in timed
        if (at := "{}-{}-{}T{}:{}:{}.{}Z".format(*match.groups())) > since
    )
    taken = newer[:MOST_PICTURES]
    # Of one millisecond all or none, since the next call goes on after it.
    while taken and len(taken) < len(newer) and newer[len(taken)][0] == taken[-1][0]:
        taken.append(newer[len(taken)])
    newest = taken[-1][0] if taken else (since or None)
    return Found([path for _, path in taken], newest, len(newer) - len(taken))


def zip_of(files: Iterable[Path], comment: str = "") -> Iterator[bytes]:
    """Give a ZIP file of files piece by piece; what is gone when its turn comes is left out.

    Files are stored as they are, since pictures do not get smaller. One of them is in memory.
    """
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = comment.encode()
        for file in files:
            try:
                data, status = _read(file)
            except OSError:
                continue
            at = datetime.fromtimestamp(status.st_mtime, timezone.utc)
            date = (max(at.year, _FIRST_YEAR), at.month, at.day, at.hour, at.minute, at.second)
            entry = zipfile.ZipInfo(file.name, date)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
            yield from pipe.pieces()
    yield from pipe.pieces()


def _read(file: Path) -> tuple[bytes, os.stat_result]:
    """Return a file's bytes and what the system says of it; OSError for a link to another one."""
    number = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    with open(number, "rb") as stream:
        return stream.read(), os.fstat(number)


async def in_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Give what an iterator gives that reads from a disk, without waiting for it in the loop."""
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece


class _Pipe(io.RawIOBase):
    """What `zipfile` writes to and cannot seek in; it holds what was not taken yet."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[bytes] = []

    def writable(self) -> bool:
        """It is only written to."""
        return True

    def write(self, data: Any) -> int:
        """Hold some bytes."""
        self._held.append(bytes(data))
        return len(data)

    def pieces(self) -> Iterator[bytes]:
        """Give what was written since the last call."""
        data, self._held = b"".join(self._held), []
        for begin in range(0, len(data), _PIECE_BYTES):
            yield data[begin : begin + _PIECE_BYTES]
