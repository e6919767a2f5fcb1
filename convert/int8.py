"""From a float model and ranges to the bytes of an int8 file, by one of two quantizers."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_quantizer import quantizer, recipe
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.convert import mlir_quantize

from pocketlens.convert.flatbuffers import pack_model, unpack_model
from pocketlens.convert.input_bytes import delegate_input
from pocketlens.convert.statistics import Ranges

TENSORFLOW, EDGE = "TensorFlow", "ai-edge-quantizer"

_SIGN_BIT = 128


def quantize_int8(
    flatbuffer: bytes, ranges: Ranges, maker: str, float_layers: Collection[str] = ()
) -> bytes:
    """Return the int8 file of a float model: raw bytes in, scores in bytes out.

    Args:
        flatbuffer: a float32 model that takes normalised pixels.
        ranges: of its tensors.
        maker: the quantizer, `TENSORFLOW` or `EDGE`.
        float_layers: layers that stay in float, by the names of their output tensors.
    """
    make = {TENSORFLOW: _by_tensorflow, EDGE: _by_edge}[maker]
    return delegate_input(make(flatbuffer, ranges, sorted(float_layers)))


def _by_tensorflow(flatbuffer: bytes, ranges: Ranges, float_layers: list[str]) -> bytes:
    """Quantize as TFLiteConverter does, with ranges in the place of its calibration's."""
    model = unpack_model(flatbuffer)
    tensors = model.subgraphs[0].tensors
    for index, low, high in zip(ranges.indices, ranges.low, ranges.high, strict=True):
        tensors[index].quantization = schema.QuantizationParametersT()
        tensors[index].quantization.min = np.array([low], np.float32)
        tensors[index].quantization.max = np.array([high], np.float32)
    return bytes(
        mlir_quantize(
            pack_model(model),
            input_data_type=tf.uint8,
            output_data_type=tf.uint8,
            denylisted_nodes=float_layers or None,
        )
    )


def _by_edge(flatbuffer: bytes, ranges: Ranges, float_layers: list[str]) -> bytes:
    tensors = unpack_model(flatbuffer).subgraphs[0].tensors
    seen = {
        tensors[index].name.decode(): {"min": np.array([low]), "max": np.array([high])}
        for index, low, high in zip(ranges.indices, ranges.low, ranges.high, strict=True)
    }
    chosen: list[dict[str, Any]] = list(recipe.static_wi8_ai8())
    for name in float_layers:
        scope = f"^{re.escape(name)}(;|$)"
        chosen.append({"regex": scope, "operation": "*", "algorithm_key": "no_quantize"})
    worker = quantizer.Quantizer(bytearray(flatbuffer), chosen)
    result = worker.quantize(seen, enable_progress_bar=False, enable_progress_report=False)
    return _with_byte_ends(bytes(result.quantized_model))


def _with_byte_ends(flatbuffer: bytes) -> bytes:
    """Return an int8 model with uint8 at its input and output, as TFLiteConverter writes it."""
    model = unpack_model(flatbuffer)
    graph = model.subgraphs[0]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.QUANTIZE
    code.version = 2
    model.operatorCodes.append(code)
    quantize = len(model.operatorCodes) - 1
    (entry,), (answer,) = graph.inputs, graph.outputs
    first, last = len(graph.tensors), len(graph.tensors) + 1
    graph.tensors += [_as_bytes(graph.tensors[entry]), _as_bytes(graph.tensors[answer])]
    graph.inputs, graph.outputs = np.array([first], np.int32), np.array([last], np.int32)
    graph.operators.insert(0, _operator(quantize, first, entry))
    graph.operators.append(_operator(quantize, answer, last))
    for signature in model.signatureDefs or []:
        signature.inputs[0].tensorIndex = first
        signature.outputs[0].tensorIndex = last
    return pack_model(model)


def _as_bytes(inner: Any) -> Any:
    outer = schema.TensorT()
    outer.name = inner.name + b"_bytes"
    outer.type, outer.shape, outer.buffer = schema.TensorType.UINT8, inner.shape, 0
    outer.quantization = schema.QuantizationParametersT()
    outer.quantization.scale = inner.quantization.scale
    outer.quantization.zeroPoint = np.array(
        [int(inner.quantization.zeroPoint[0]) + _SIGN_BIT], np.int64
    )
    return outer


def _operator(code: int, source: int, target: int) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex = code
    operator.inputs = np.array([source], np.int32)
    operator.outputs = np.array([target], np.int32)
    return operator
