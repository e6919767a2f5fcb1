"""Frames in memory that two processes share; it has no name that could be left behind."""

from __future__ import annotations

import mmap
import os
import tempfile

import numpy as np

from pocketlens.runtime.pictures import Pixels

SLOTS = 3
"""One that is being written, one that waits, one that is being read."""


def new_memory(*, append: bool = False) -> int:
    """Return the descriptor of new empty memory; it is gone when the last process closes it.

    With `append` what is written to it goes to its end, as into a log.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pocketlens", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    if append:
        # Windows, which has no such flags, shares no memory by descriptors.
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    return descriptor


class FrameWriter:
    """Puts frames into slots.

    Larger frames get new slots behind the old ones, so that one that is being read stays whole.
    Slots grow to powers of two, and so seldom: all the old ones together are no larger than the
    new ones.

    Args:
        descriptor: that of `new_memory`; stays with the caller.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._memory: mmap.mmap | None = None
        self._start = 0
        self._slot_bytes = 0

    def write(self, slot: int, frame_bgr: Pixels) -> int:
        """Copy a frame, uint8 of any shape, into a slot and return its offset in bytes."""
        if self._memory is None or frame_bgr.nbytes > self._slot_bytes:
            self._start += SLOTS * self._slot_bytes
            self._slot_bytes = 1 << max(12, (frame_bgr.nbytes - 1).bit_length())
            end = self._start + SLOTS * self._slot_bytes
            os.ftruncate(self._descriptor, end)
            self._memory = mmap.mmap(self._descriptor, end)
        offset = self._start + slot * self._slot_bytes
        room = np.frombuffer(self._memory, np.uint8, frame_bgr.nbytes, offset)
        room.reshape(frame_bgr.shape)[...] = frame_bgr
        return offset


class FrameReader:
    """Takes frames out of the memory that a `FrameWriter` in another process fills.

    Args:
        descriptor: that of `new_memory`; stays with the caller.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._memory: mmap.mmap | None = None

    def read(self, offset: int, shape: tuple[int, ...]) -> Pixels:
        """Return a copy of the frame at an offset."""
        count = int(np.prod(shape))
        if self._memory is None or offset + count > len(self._memory):
            self._memory = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        return np.frombuffer(self._memory, np.uint8, count, offset).reshape(shape).copy()
