"""Reading single fields of a flatbuffer, each checked against the end of the bytes.

The runtime needs a handful of fields out of two schemas, and not every interpreter brings the
`flatbuffers` package. The format: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from pocketlens.errors import ModelFileError

_OFFSET_BYTES = 4


def builtin_code(deprecated: int, builtin: int) -> int:
    """Return which builtin operator an operator code stands for.

    Files from before TensorFlow 2.4 set the 8-bit `deprecated_builtin_code` and leave
    `builtin_code` at 0; later ones set both, and 127 in the former stands for codes that it cannot
    hold. So the greater counts (`GetBuiltinCode` of TensorFlow's schema_utils.cc).
    """
    return max(deprecated, builtin)


def with_ints(data: bytes, vectors: Mapping[int, Sequence[int]]) -> bytes:
    """Return a flatbuffer in which fields have other vectors of int32.

    The new ones are put behind everything: an old one may be another field's too, and whatever is
    found by its distance from the beginning stays where it is.

    Args:
        data: the flatbuffer.
        vectors: the values by where the field stands, see `Table.place`.
    """
    changed = bytearray(data)
    for place, values in vectors.items():
        changed += bytes(-len(changed) % _OFFSET_BYTES)
        struct.pack_into("<I", changed, place, len(changed) - place)
        changed += struct.pack(f"<I{len(values)}i", len(values), *values)
    return bytes(changed)


class Table:
    """One table: fields by their slot, the number of the field in its schema from 0.

    A union takes two slots, the first of which is its type. Every method raises ModelFileError
    where the bytes lead outside themselves.
    """

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position
        self._vtable = position - self._read("<i", position)
        self._vtable_bytes = self._read("<H", self._vtable)

    @classmethod
    def root(cls, data: bytes) -> Table:
        """Return the outermost table of a flatbuffer."""
        return cls(data, Table._read_from(data, "<I", 0))

    def number(self, slot: int, kind: str, default: int = 0) -> int:
        """Return a scalar of `kind`, a letter of `struct`."""
        position = self._field(slot)
        return default if position is None else self._read(f"<{kind}", position)

    def real(self, slot: int) -> float:
        """Return a float32, 0 where it is not set."""
        position = self._field(slot)
        if position is None:
            return 0.0
        self._read("<I", position)  # Looks whether it is inside.
        return float(struct.unpack_from("<f", self._data, position)[0])

    def table(self, slot: int) -> Table | None:
        """Return a table inside this one, None where it is not set."""
        position = self._target(slot)
        return None if position is None else Table(self._data, position)

    def tables(self, slot: int) -> list[Table]:
        """Return a vector of tables, empty where it is not set."""
        start, count = self.vector(slot, _OFFSET_BYTES)
        places = range(start, start + count * _OFFSET_BYTES, _OFFSET_BYTES)
        return [Table(self._data, place + self._read("<I", place)) for place in places]

    def floats(self, slot: int) -> tuple[float, ...]:
        """Return a vector of float32, empty where it is not set."""
        start, count = self.vector(slot, struct.calcsize("<f"))
        return struct.unpack_from(f"<{count}f", self._data, start)

    def ints(self, slot: int) -> tuple[int, ...]:
        """Return a vector of int32, empty where it is not set."""
        start, count = self.vector(slot, struct.calcsize("<i"))
        return struct.unpack_from(f"<{count}i", self._data, start)

    def byte_vector(self, slot: int) -> bytes:
        """Return a vector of bytes, empty where it is not set."""
        start, count = self.vector(slot, 1)
        return self._data[start : start + count]

    def text(self, slot: int) -> str:
        """Return a string, empty where it is not set."""
        try:
            return self.byte_vector(slot).decode("utf-8")
        except UnicodeDecodeError as error:
            raise _damaged("text that is not UTF-8") from error

    def vector(self, slot: int, item_bytes: int) -> tuple[int, int]:
        """Return where a vector's items begin in the bytes, after their count, and how many."""
        position = self._target(slot)
        if position is None:
            return 0, 0
        count = self._read("<I", position)
        start = position + _OFFSET_BYTES
        if start + count * item_bytes > len(self._data):
            raise _damaged("a list that extends past its end")
        return start, count

    def place(self, slot: int) -> int | None:
        """Return where in the bytes a field stands, None where it is not set."""
        return self._field(slot)

    def _field(self, slot: int) -> int | None:
        # The vtable begins with its own size and the table's, two bytes each.
        entry = 4 + 2 * slot
        if entry + 2 > self._vtable_bytes:
            return None
        offset = self._read("<H", self._vtable + entry)
        return self._position + offset if offset else None

    def _target(self, slot: int) -> int | None:
        position = self._field(slot)
        return None if position is None else position + self._read("<I", position)

    def _read(self, kind: str, position: int) -> int:
        return self._read_from(self._data, kind, position)

    @staticmethod
    def _read_from(data: bytes, kind: str, position: int) -> int:
        # `struct` would count a negative position from the end.
        if position < 0 or position + struct.calcsize(kind) > len(data):
            raise _damaged("one that is truncated or points outside itself")
        return int(struct.unpack_from(kind, data, position)[0])


def _damaged(what: str) -> ModelFileError:
    return ModelFileError(
        f"Expected a whole flatbuffer. Received: {what}. The file is damaged: download it again."
    )
