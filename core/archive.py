"""The archive at a model's end, written in one way only, so that any other byte tells of damage.

`zipfile` chooses some fields by platform and version, and does not look at most of them when it
reads. The format: PKWARE's APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping

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


def split_archive(data: bytes) -> tuple[int, dict[str, bytes]] | None:
    """Return where the archive that `append_archive` wrote begins, and its files in their order.

    None where there is none, or one that differs in any byte from what it would have written.
    """
    try:
        return _split(data)
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


def _split(data: bytes) -> tuple[int, dict[str, bytes]] | None:
    if data[-_END_BYTES:][: len(_END)] != _END:
        return None
    count, position = struct.unpack_from("<10xH4xL", data, len(data) - _END_BYTES)
    start = position
    files: dict[str, bytes] = {}
    total = 0
    for _ in range(count):
        size, name_bytes, header = struct.unpack_from("<24xLH12xL", data, position)
        # Entries that overlap would make a small file a large one.
        total += size
        if total > len(data):
            return None
        name_at = position + _CENTRAL_BYTES
        name = data[name_at : name_at + name_bytes].decode("ascii")
        content_at = header + _LOCAL_BYTES + name_bytes
        files[name] = data[content_at : content_at + size]
        position = name_at + name_bytes
        start = min(start, header)
    return (start, files) if _archive(files, start) == data[start:] else None
