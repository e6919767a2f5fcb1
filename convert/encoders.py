"""From the frozen graph to the bytes of each format."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from ai_edge_quantizer import qtyping, quantizer, recipe
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.convert import mlir_quantize

from pocketlens.choices import DYNAMIC, FLOAT16, FLOAT32, INT8, WEIGHTS8
from pocketlens.convert.corrections import Correction, Kernel, correct, find_corrections
from pocketlens.convert.flatbuffers import delegate_input, pack_model, unpack_model
from pocketlens.convert.statistics import Ranges, Statistics, measure
from pocketlens.quiet import quiet

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
    model = unpack_model(float_model)
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


class FloatModel(Protocol):
    """A model as the float `.tflite` files that the others are made from."""

    @property
    def normalise(self) -> Callable[[Any], Any]:
        """What is made of raw pixels for the file that int8 starts from."""

    def float32(self) -> bytes:
        """Return the float32 model that takes raw pixels."""

    def float16(self) -> bytes:
        """Return the same with weights in float16."""

    def for_int8(self) -> bytes:
        """Return the float32 model that takes normalised pixels."""


class Encoder:
    """Makes the bytes of every format; keeps what several of them start from.

    Args:
        model: in float32.
        samples: the representative photos, each uint8 (height, width, 3) RGB. The 8-bit formats
            but int8 can do without.
    """

    def __init__(self, model: FloatModel, samples: Sequence[NDArray[np.uint8]]) -> None:
        self._model = model
        self._samples = samples

    def encode(self, name: str) -> bytes:
        """Return the bytes of a format."""
        with quiet():
            return MAKING[name].make(self)

    def float32(self) -> bytes:
        """Return the bytes of float32."""
        return self._float32

    def float16(self) -> bytes:
        """Return the bytes of float16."""
        return self._model.float16()

    def dynamic(self) -> bytes:
        """Return the bytes of dynamic."""
        return quantize(self._corrected, mixed_recipe(self._corrected))

    def weights8(self) -> bytes:
        """Return the bytes of weights8."""
        return quantize(self._corrected, recipe.weight_only_wi8_afp32())

    def int8(self, float_layers: Collection[str] = ()) -> bytes:
        """Return the bytes of int8, with some layers left in float.

        Args:
            float_layers: the names of their output tensors.
        """
        with quiet():
            start = correct(self.normalised, self._corrections, except_layers=float_layers)
            return delegate_input(_quantize_int8(start, self._statistics.ranges, float_layers))

    @cached_property
    def normalised(self) -> bytes:
        """The float32 model that takes normalised pixels, which int8 starts from."""
        return self._model.for_int8()

    @cached_property
    def _float32(self) -> bytes:
        return self._model.float32()

    @cached_property
    def _statistics(self) -> Statistics:
        return measure(self.normalised, self._samples, self._model.normalise)

    @cached_property
    def _corrections(self) -> dict[Kernel, Correction]:
        return find_corrections(self.normalised, self._statistics)

    @cached_property
    def _corrected(self) -> bytes:
        return correct(self._float32, self._corrections) if self._samples else self._float32


@dataclass(frozen=True)
class Making:
    """How a format's files are made, and what they must hold.

    `dtype` is the type of input and output, `float_free` that nothing is computed in float,
    `eight_bit` that kernels are stored in 8 bits, and so lose something by rounding.
    """

    make: Callable[[Encoder], bytes]
    dtype: type[np.generic] = np.float32
    float_free: bool = False
    eight_bit: bool = False


MAKING = {
    FLOAT32: Making(Encoder.float32),
    FLOAT16: Making(Encoder.float16),
    DYNAMIC: Making(Encoder.dynamic, eight_bit=True),
    WEIGHTS8: Making(Encoder.weights8, eight_bit=True),
    INT8: Making(Encoder.int8, np.uint8, float_free=True, eight_bit=True),
}


def quantize(float_model: bytes, chosen_recipe: list[dict[str, Any]]) -> bytes:
    """Return a float32 flatbuffer quantized by ai-edge-quantizer with a recipe of its."""
    worker = quantizer.Quantizer(bytearray(float_model), chosen_recipe)
    result = worker.quantize(enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def _quantize_int8(flatbuffer: bytes, ranges: Ranges, float_layers: Collection[str]) -> bytes:
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
            denylisted_nodes=sorted(float_layers) or None,
        )
    )
