"""Flatbuffers that lie: small files that would cost hours or gigabytes."""

import struct
import time

import numpy as np
import pytest

from pocketlens.errors import ModelFileError
from pocketlens.runtime.flatbuffer import Table
from pocketlens.runtime.metadata import read_metadata


def same_name_everywhere(count: int, name_bytes: int) -> bytes:
    """Return a model with `count` metadata entries that all are one, with a long name."""
    # Slots 0 to 6, of which only the last, the metadata, is set.
    vtable = struct.pack("<9H", 18, 8, *[0] * 6, 4)
    root = 8 + len(vtable) + 2
    vector = root + 8
    entry_vtable = vector + 4 + 4 * count
    entry = entry_vtable + 8
    name = entry + 8
    return b"".join(
        (
            struct.pack("<I", root) + b"TFL3",
            vtable + bytes(2),
            struct.pack("<iI", root - 8, vector - root - 4),
            struct.pack("<I", count),
            *(struct.pack("<I", entry - (vector + 4 + 4 * index)) for index in range(count)),
            struct.pack("<4H", 6, 8, 4, 0),
            struct.pack("<iI", entry - entry_vtable, name - entry - 4),
            struct.pack("<I", name_bytes) + b"x" * name_bytes,
        )
    )


def test_a_few_are_read() -> None:
    entries = Table.root(same_name_everywhere(3, 5)).tables(6)
    assert [entry.text(0) for entry in entries] == ["xxxxx"] * 3


@pytest.mark.parametrize(
    ("name_bytes", "reason"),
    [(60_000, "parts are larger than all of it"), (1_000_000, "a text of 1000000 bytes")],
)
def test_many_names_in_one_place_end_at_once(name_bytes: int, reason: str) -> None:
    times_s = [time.process_time()]
    model = same_name_everywhere(250_000, name_bytes)
    times_s.append(time.process_time())
    with pytest.raises(ModelFileError, match=reason):
        read_metadata(model)
    times_s.append(time.process_time())
    making_s, reading_s = np.diff(times_s)
    # It takes some 7 times as long; each name by itself takes minutes.
    assert reading_s < 50 * making_s
