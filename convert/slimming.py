"""Writing a model's flatbuffer again, smaller, with every tensor's data inside it.

The converters write each vector anew where the format lets many tables point at one, so the zero
points of all channels, which are all zero, take a tenth of an 8-bit file; and they name a tensor
after every operation that was folded into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from pocketlens.convert.flatbuffers import pack_model, unpack_model

# What the schema asks for with `force_align`, which the generated Python code does not know.
_DATA_ALIGNMENT = 16


def slim(flatbuffer: bytes, metadata: Mapping[str, bytes] | None = None) -> bytes:
    """Return the same model in fewer bytes, with metadata that is to travel in it.

    Data that a writer put behind the flatbuffer (`Buffer.offset`), where anything that packs the
    model again would lose it, is taken in.

    Args:
        flatbuffer: the model.
        metadata: contents of buffers by name; one that the model has already is replaced.
    """
    model = unpack_model(flatbuffer)
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            tensor.name = tensor.name.split(b";")[0]
    for name, data in (metadata or {}).items():
        _set_metadata(model, name.encode(), data)
    return pack_model(model, _SharingBuilder(len(flatbuffer)))


def _set_metadata(model: Any, name: bytes, data: bytes) -> None:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8)
    model.metadata = model.metadata or []
    for entry in model.metadata:
        if entry.name == name:
            model.buffers[entry.buffer] = buffer
            return
    entry = schema.MetadataT()
    entry.name, entry.buffer = name, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata.append(entry)


class _SharingBuilder(flatbuffers.Builder):
    """Writes a vector once, however many tables have the same."""

    def __init__(self, initial_size: int) -> None:
        super().__init__(initial_size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: NDArray[Any]) -> int:  # noqa: N802 (overrides)
        """Return the offset of a vector, an earlier one if it is equal."""
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            self._written[key] = self._aligned(x) if x.dtype == np.uint8 else self._plain(x)
        return self._written[key]

    def _plain(self, x: NDArray[Any]) -> int:
        return int(super().CreateNumpyVector(x))

    def _aligned(self, x: NDArray[Any]) -> int:
        self.StartVector(x.itemsize, x.size, _DATA_ALIGNMENT)
        self.head -= x.size
        self.Bytes[self.head : self.head + x.size] = x.tobytes()
        return int(self.EndVector())
