"""Frames in memory that two processes share: where they lie, and that they stay whole."""

import os
import sys

import numpy as np
import pytest

from pocketlens.runtime.live.capture.memory import SLOTS, FrameReader, FrameWriter, new_memory

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows reads in a thread")


@pytest.fixture
def memory():
    descriptor = new_memory()
    yield descriptor
    os.close(descriptor)


def frame(count, value=7):
    return np.full((count // 4, 4), value, np.uint8)


@pytest.mark.parametrize(
    ("count", "slot_bytes"),
    [(4, 4096), (4096, 4096), (4100, 8192), (8192, 8192), (8196, 16384)],
)
def test_a_slot_is_the_smallest_power_of_two_that_holds_a_frame(memory, count, slot_bytes):
    writer = FrameWriter(memory)
    assert [writer.write(slot, frame(count)) for slot in range(SLOTS)] == [
        slot * slot_bytes for slot in range(SLOTS)
    ]
    assert os.fstat(memory).st_size == SLOTS * slot_bytes


def test_larger_frames_lie_behind_those_that_are_being_read(memory):
    writer, reader = FrameWriter(memory), FrameReader(memory)
    places = []
    for value, count in enumerate((4096, 4100, 4096, 20_000, 4)):
        places.append((writer.write(value % SLOTS, frame(count, value)), count, value))
    assert [offset for offset, _, _ in places] == [
        0,
        SLOTS * 4096 + 8192,
        SLOTS * 4096 + 2 * 8192,
        SLOTS * (4096 + 8192),
        SLOTS * (4096 + 8192) + 32768,
    ]
    for offset, count, value in places:
        np.testing.assert_array_equal(reader.read(offset, (count // 4, 4)), frame(count, value))


def test_what_was_read_stays_when_its_slot_is_filled_again(memory):
    writer, reader = FrameWriter(memory), FrameReader(memory)
    read = reader.read(writer.write(1, frame(64, 1)), (16, 4))
    writer.write(1, frame(64, 2))
    assert (read == 1).all()


def test_what_is_written_to_a_log_goes_to_its_end():
    descriptor = new_memory(append=True)
    try:
        os.write(descriptor, b"one ")
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, b"two")
        assert os.pread(descriptor, 99, 0) == b"one two"
    finally:
        os.close(descriptor)
