"""The archive at a model's end, written in one way only, so that any other byte tells of damage.

`zipfile` chooses some fields by platform and version, and does not look at most of them when it
reads. The format: PKWARE's APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Mapping
from typing import IO

_LOCAL = b"PK\x03\x04"
_CENTRAL = b"PK\x01\x02"
_END = b"PK\x05\x06"

_LOCAL_BYTES = 30
_CENTRAL_BYTES = 46
_END_BYTES = 22

# Version 2.0; made on Unix; the first day that a zip can name; readable and writable by its owner.
_VERSION = 20
_MADE_BY = 3 << 8 | _VERSION
_DATE = 1 << 5 | 1
_ATTRIBUTES = 0o600 << 16


def append_archive(data: bytes, files: Mapping[str, bytes]) -> bytes:
    """Return bytes with files stored in a zip archive behind them, which `zipfile` opens.

    Args:
        data: what comes first.
        files: contents by name, in ASCII. The same files always give the same bytes.
    """
    return data + _archive(files, len(data))


def read_archive(file: IO[bytes]) -> tuple[int, dict[str, bytes]] | None:
    """Return where the archive that `append_archive` wrote begins, and its files in their order.

    Nothing before the archive is read.

    Returns:
        None where there is none, or one that differs in any byte from what it would have written.
    """
    try:
        return _read(file, file.seek(0, os.SEEK_END))
    except (struct.error, UnicodeDecodeError):
        return None


def has_trace_of(data: bytes, name: str) -> bool:
    """Tell whether an archive with a file of that name is there, even if it cannot be opened."""
    escaped = re.escape(name.encode("ascii"))
    local = re.escape(_LOCAL) + b".{%d}" % (_LOCAL_BYTES - len(_LOCAL)) + escaped
    central = re.escape(_CENTRAL) + b".{%d}" % (_CENTRAL_BYTES - len(_CENTRAL)) + escaped
    return re.search(local + b"|" + central, data, re.DOTALL) is not None


def _archive(files: Mapping[str, bytes], position: int) -> bytes:
    entries = []
    directory = []
    for name, content in files.items():
        # Flags, method (stored), time and date, CRC-32, size twice, lengths of name and extra.
        common = struct.pack(
            "<5H3L2H",
            *(_VERSION, 0, 0, 0, _DATE),
            *(zlib.crc32(content), len(content), len(content)),
            *(len(name), 0),
        )
        # Comment, disk, internal and external attributes, where the file's own header is.
        rest = struct.pack("<3H2L", 0, 0, 0, _ATTRIBUTES, position)
        directory.append(
            _CENTRAL + struct.pack("<H", _MADE_BY) + common + rest + name.encode("ascii")
        )
        entry = _LOCAL + common + name.encode("ascii") + content
        entries.append(entry)
        position += len(entry)
    size = sum(map(len, directory))
    end = _END + struct.pack("<4H2LH", 0, 0, len(files), len(files), size, position, 0)
    return b"".join((*entries, *directory, end))


def _read(file: IO[bytes], file_bytes: int) -> tuple[int, dict[str, bytes]] | None:
    end_at = file_bytes - _END_BYTES
    count, directory_at = struct.unpack("<10xH4xL2x", _bytes_at(file, end_at, _END_BYTES))
    directory = _bytes_at(file, directory_at, end_at - directory_at)
    places = []
    position = 0
    for _ in range(count):
        size, name_bytes, header_at = struct.unpack_from("<24xLH12xL", directory, position)
        name = directory[position + _CENTRAL_BYTES :][:name_bytes].decode("ascii")
        places.append((name, header_at + _LOCAL_BYTES + name_bytes, size))
        position += _CENTRAL_BYTES + name_bytes
    start = min((at - _LOCAL_BYTES - len(name) for name, at, _ in places), default=directory_at)
    archive = _bytes_at(file, start, file_bytes - start)
    # Entries that overlap would make a small file a large one.
    if sum(size for _, _, size in places) > len(archive):
        return None
    files = {name: archive[at - start :][:size] for name, at, size in places}
    return (start, files) if _archive(files, start) == archive else None


def _bytes_at(file: IO[bytes], position: int, size: int) -> bytes:
    if position < 0 or size < 0:
        raise struct.error("outside the file")
    file.seek(position)
    return file.read(size)
