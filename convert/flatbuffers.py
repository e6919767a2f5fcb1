"""Taking a `.tflite` model apart to change it, and packing it again."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

_IDENTIFIER = b"TFL3"


def unpack_model(flatbuffer: bytes) -> Any:
    """Return a model as objects that can be changed.

    Data that a writer put behind the flatbuffer (`Buffer.offset`), where packing the model again
    would lose it, is taken in.
    """
    model = schema.ModelT.InitFromPackedBuf(bytearray(flatbuffer), 0)
    for buffer in model.buffers:
        if buffer.size:
            data = flatbuffer[buffer.offset : buffer.offset + buffer.size]
            buffer.data = np.frombuffer(data, np.uint8)
            buffer.offset = buffer.size = 0
    return model


def pack_model(model: Any, builder: flatbuffers.Builder | None = None) -> bytes:
    """Return a model's bytes, written by `builder` where that is another than the usual one."""
    builder = builder or flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def operator_code(model: Any, builtin: int) -> int:
    """Return the index of an operator among the model's codes, which gets it if it has none."""
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == builtin:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def add_tensor(model: Any, name: bytes, kind: int, shape: Any) -> int:
    """Add a tensor that is calculated to the model's graph and return its index.

    It gets another name where that is taken: quantizers know tensors by their names.
    """
    tensors = model.subgraphs[0].tensors
    taken = {tensor.name for tensor in tensors}
    while name in taken:
        name += b"_"
    tensor = schema.TensorT()
    tensor.name, tensor.type, tensor.shape = name, kind, shape
    tensor.buffer = 0  # By convention the empty one.
    tensors.append(tensor)
    return len(tensors) - 1
