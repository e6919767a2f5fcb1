"""Arrays too large for memory: written row by row, read as a map of their file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pocketlens.files import replacing


def write_array(
    path: Path, shape: tuple[int, ...], dtype: DTypeLike, blocks: Iterable[NDArray[Any]]
) -> NDArray[Any]:
    """Write an array as `.npy` from blocks of rows and return it mapped from there.

    Rows that the blocks do not reach are zero. Written as a stream, since a full disk kills the
    process that writes to a map, without a word.

    Raises:
        OutputError: the file cannot be written.
    """
    kind = np.dtype(dtype)
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    with replacing(path) as partial, partial.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        start = stream.tell()
        for block in blocks:
            stream.write(np.ascontiguousarray(block, kind).data)
        stream.truncate(start + kind.itemsize * math.prod(shape))
    return read_array(path)


def read_array(path: Path) -> NDArray[Any]:
    """Return an array that `write_array` has written, mapped from its file."""
    array: NDArray[Any] = np.load(path, mmap_mode="r")
    return array
