"""Cutting a multipart/x-mixed-replace body into its parts while it comes."""

from __future__ import annotations

import re

from pocketlens.errors import SourceError

# A 50 megapixel JPEG has about this many bytes.
MAX_PART_BYTES = 32_000_000

_MAX_HEADER_BYTES = 16_384
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(
    rb"^content-length:[ \t]*([0-9]{1,12})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE
)
_JPEG_END = b"\xff\xd9"


class Parts:
    """Takes bytes as they come and gives parts as soon as they are there.

    A part ends at its declared length or, where it has none, where its bytes end like a JPEG, so
    that no frame has to wait for the next one's first bytes. A boundary within cuts a part short:
    that is what a server does whose camera fails in the middle of a frame.

    Args:
        boundary: as the Content-Type has it, with or without dashes before it.

    Raises:
        SourceError: from `feed`, a part or its header is too long.
    """

    def __init__(self, boundary: str) -> None:
        # Servers disagree on whether the two dashes belong to the name.
        self._mark = b"--" + boundary.strip().strip('"').lstrip("-").encode("latin-1", "replace")
        self._held = bytearray()
        self._in_body = False
        self._length: int | None = None
        self._searched = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes and return the parts that they complete, which may be damaged or empty."""
        self._held += data
        parts = []
        while (self._in_body or self._enter_body()) and (part := self._take()) is not None:
            parts.append(part)
        return parts

    def _enter_body(self) -> bool:
        at = self._held.find(self._mark)
        if at < 0:
            del self._held[: -len(self._mark)]
            return False
        del self._held[:at]
        end = _HEADER_END.search(self._held)
        if end is None or end.end() > _MAX_HEADER_BYTES:
            if len(self._held) > _MAX_HEADER_BYTES:
                raise SourceError("the header of a frame does not end")
            return False
        length = _LENGTH.search(self._held, 0, end.end())
        self._length = int(length[1]) if length else None
        if self._length is not None and self._length > MAX_PART_BYTES:
            raise SourceError(f"a frame of {self._length} bytes")
        del self._held[: end.end()]
        self._in_body, self._searched = True, 0
        return True

    def _take(self) -> bytes | None:
        size = len(self._held)
        limit = size if self._length is None else min(size, self._length)
        end = self._held.find(self._mark, max(0, self._searched - len(self._mark)), limit)
        if end < 0:
            complete = (
                self._held[-4:].rstrip().endswith(_JPEG_END)
                if self._length is None
                else size >= self._length
            )
            if not complete:
                if size > MAX_PART_BYTES:
                    raise SourceError(f"a frame of more than {MAX_PART_BYTES} bytes")
                self._searched = limit
                return None
            end = limit
        part = bytes(self._held[:end])
        del self._held[:end]
        self._in_body = False
        return part
