"""The mixed recipe: which layers of the dynamic file calculate in int8."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ai_edge_quantizer import qtyping, quantizer
from tensorflow.lite.python import schema_py_generated as schema

# A layer with K weights per output and C outputs does K * C multiplications at each place and, if
# it calculates in int8, has about K values to quantize before and C to scale back after. So the
# overhead per multiplication goes with 1 / K + 1 / C. Measured on x86-64 (AVX-512 VNNI): with a
# bound of 0.05 MobileNetV2 1.0/224 takes 0.66 of float32's time and 0.35/96 0.82; without any, 0.81
# and 1.46. Down to 0.0225 fewer layers round their input at 2 % more time: of 600 test photos of
# flowers, three seeds, 600 in place of 597 then got float32's answer.
MAX_OVERHEAD = 0.0225

_WEIGHTS = qtyping.TensorQuantizationConfig(
    num_bits=8, symmetric=True, granularity=qtyping.QuantGranularity.CHANNELWISE
)
_DYNAMIC = qtyping.OpQuantizationConfig(
    weight_tensor_config=_WEIGHTS, compute_precision=qtyping.ComputePrecision.INTEGER
)
_WEIGHT_ONLY = qtyping.OpQuantizationConfig(
    weight_tensor_config=_WEIGHTS,
    compute_precision=qtyping.ComputePrecision.FLOAT,
    explicit_dequantize=True,
)
_OPERATIONS = {
    schema.BuiltinOperator.CONV_2D: qtyping.TFLOperationName.CONV_2D,
    schema.BuiltinOperator.FULLY_CONNECTED: qtyping.TFLOperationName.FULLY_CONNECTED,
}


def mixed_recipe(float_model: bytes) -> list[dict[str, Any]]:
    """Return ai-edge-quantizer's recipe for a dynamic file that stays in one XNNPACK partition.

    Every kernel is stored in 8 bits. Convolutions and dense layers for which it pays quantize
    their input on the fly and calculate in int8; the others keep float arithmetic. So do depthwise
    ones, since XNNPACK takes none with a dynamically quantized input.

    Args:
        float_model: the float32 flatbuffer.
    """
    manager = quantizer.recipe_manager.RecipeManager()
    for operation in (*_OPERATIONS.values(), qtyping.TFLOperationName.DEPTHWISE_CONV_2D):
        manager.add_quantization_config(".*", operation, _WEIGHT_ONLY)
    for operation, output_name, overhead in _layers(float_model):
        if overhead < MAX_OVERHEAD:
            scope = f"^{re.escape(output_name)}(;|$)"
            manager.add_quantization_config(scope, operation, _DYNAMIC)
    return list(manager.get_quantization_recipe())


def _layers(float_model: bytes) -> Iterator[tuple[Any, str, float]]:
    """Yield operation, name of the output and overhead of each convolution and dense layer."""
    model = schema.ModelT.InitFromPackedBuf(float_model, 0)
    subgraph = model.subgraphs[0]
    for operator in subgraph.operators:
        operation = _OPERATIONS.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
        if operation is None:
            continue
        outputs, *weights = subgraph.tensors[operator.inputs[1]].shape
        per_output = 1
        for side in weights:
            per_output *= int(side)
        name = subgraph.tensors[operator.outputs[0]].name.decode()
        yield operation, name, 1 / per_output + 1 / int(outputs)
