"""Taking a `.tflite` model apart to change it, and packing it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from pocketlens.runtime.flatbuffer import builtin_code

_IDENTIFIER = b"TFL3"


def unpack_model(flatbuffer: bytes) -> Any:
    """Return a model as objects that can be changed.

    Data that a writer put behind the flatbuffer (`Buffer.offset`), where packing the model again
    would lose it, is taken in. `builtinCode` is set also where an old file has only its
    predecessor.
    """
    model = schema.ModelT.InitFromPackedBuf(bytearray(flatbuffer), 0)
    for buffer in model.buffers:
        if buffer.size:
            data = flatbuffer[buffer.offset : buffer.offset + buffer.size]
            buffer.data = np.frombuffer(data, np.uint8)
            buffer.offset = buffer.size = 0
    for code in model.operatorCodes:
        code.builtinCode = builtin_code(code.deprecatedBuiltinCode, code.builtinCode)
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
    code.builtinCode = builtin
    code.deprecatedBuiltinCode = min(
        builtin, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES
    )
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


def drop_unused(model: Any) -> None:
    """Take out of a model's graph what no output needs, as the outputs that were not chosen.

    Nothing can be measured on it: the interpreter gives its tensors no memory.
    """
    graph = model.subgraphs[0]
    needed = {int(index) for index in graph.outputs}
    kept = []
    for operator in reversed(graph.operators):
        # One that gives nothing does something, like setting a variable.
        outputs, inputs = (
            set(map(int, indices)) if indices is not None else set()
            for indices in (operator.outputs, operator.inputs)
        )
        if not outputs or outputs & needed:
            needed |= inputs | outputs
            kept.append(operator)
    graph.operators = kept[::-1]
    for index, tensor in enumerate(graph.tensors):
        if index not in needed:
            tensor.buffer = 0
    used = {tensor.buffer for each in model.subgraphs for tensor in each.tensors}
    used |= {entry.buffer for entry in model.metadata or []}
    for index, buffer in enumerate(model.buffers):
        if index not in used:
            buffer.data = None
    for signature in model.signatureDefs or []:
        if signature.subgraphIndex == 0:
            signature.outputs = [
                entry for entry in signature.outputs if entry.tensorIndex in graph.outputs
            ]


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


_SIGN_BIT = 128
# The name of the tensor between the two.
_NAME = b"pixels_float"


def delegate_input(flatbuffer: bytes) -> bytes:
    """Return the model with its first QUANTIZE from uint8 to int8 as two that XNNPACK takes.

    A model without one, or whose bytes are not the int8 values shifted by 128, stays as it is.
    """
    model = unpack_model(flatbuffer)
    graph = model.subgraphs[0]
    position = _find(model)
    if position is None:
        return flatbuffer
    quantize = graph.operators[position]
    shape = graph.tensors[quantize.inputs[0]].shape
    between = np.array([add_tensor(model, _NAME, schema.TensorType.FLOAT32, shape)], np.int32)
    dequantize = schema.OperatorT()
    dequantize.opcodeIndex = operator_code(model, schema.BuiltinOperator.DEQUANTIZE)
    dequantize.inputs, dequantize.outputs = quantize.inputs, between
    quantize.inputs = between
    graph.operators.insert(position, dequantize)
    return pack_model(model)


def _find(model: Any) -> int | None:
    """Return where the model's input is turned from uint8 to int8 by inverting the sign bit."""
    graph = model.subgraphs[0]
    for position, operator in enumerate(graph.operators):
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        if code == schema.BuiltinOperator.QUANTIZE and operator.inputs[0] in graph.inputs:
            source, target = (
                graph.tensors[index] for index in (operator.inputs[0], operator.outputs[0])
            )
            kinds = (source.type, target.type)
            if kinds == (schema.TensorType.UINT8, schema.TensorType.INT8) and _shifted(
                source.quantization, target.quantization
            ):
                return position
    return None


def _shifted(source: Any, target: Any) -> bool:
    return bool(
        np.array_equal(source.scale, target.scale)
        and source.zeroPoint[0] - target.zeroPoint[0] == _SIGN_BIT
    )
