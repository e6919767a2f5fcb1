"""How an int8 file turns the raw bytes at its input into int8, at the least cost.

TFLiteConverter writes one QUANTIZE from uint8 to int8, which XNNPACK does not take: the
interpreter's own loop needs 96 us for 224x224 pixels, 5 % of MobileNetV2's whole inference
(x86-64, ai-edge-litert 2.3). A DEQUANTIZE to float32 and a QUANTIZE to int8 say the same, XNNPACK
takes both, and together they need 6 us. Nothing is calculated in between, so each byte arrives as
before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from pocketlens.convert.flatbuffers import (
    add_tensor,
    operator_code,
    pack_model,
    unpack_model,
)

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
