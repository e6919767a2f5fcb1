"""Taking out of the biases what rounding the weights adds on average.

A kernel W that is rounded to Q shifts each output channel by the sum of (Q - W) over the kernel
times the mean of the input that it meets. That mean is known from photos, so the shift can be
taken out of the bias before anything is rounded (M. Nagel et al., "Data-Free Quantization Through
Weight Equalization and Bias Correction", ICCV 2019, arXiv:1906.04721, section 4.2). It costs
nothing at inference. On a model that was trained on the grid there is nothing to take out.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from pocketlens.convert.flatbuffer_models import pack_model, unpack_model
from pocketlens.convert.statistics import Statistics, weighted_layers

# Symmetric int8 leaves -128 out (https://ai.google.dev/edge/litert/models/quantization_spec).
_LEVELS = 127


# A kernel's shape and bytes, by which a layer is known in every model that has it.
Kernel = tuple[tuple[int, ...], bytes]


def bias_shifts(flatbuffer: bytes, statistics: Statistics) -> dict[Kernel, NDArray[np.float32]]:
    """Return by how much rounding to int8 shifts a layer's output, float32 (channels,), by kernel.

    Layers whose weights are calculated, not stored, are left out, and those with the same kernel.

    Args:
        flatbuffer: a float32 model.
        statistics: what was measured on it.
    """
    model = unpack_model(flatbuffer)
    found = [
        (weights, statistics.means[int(operator.inputs[0])], code)
        for operator, code in weighted_layers(model)
        if (weights := _stored(model, operator.inputs[1])) is not None
    ]
    each = Counter(_key(weights) for weights, _, _ in found)
    shifts = {_key(entry[0]): _shift(*entry) for entry in found if each[_key(entry[0])] == 1}
    return {key: shift for key, shift in shifts.items() if shift is not None}


def correct_biases(
    flatbuffer: bytes,
    shifts: Mapping[Kernel, NDArray[np.float32]],
    except_layers: Collection[str] = (),
) -> bytes:
    """Return the model with each layer's shift taken out of its bias.

    Args:
        flatbuffer: a float32 model.
        shifts: what `bias_shifts` found, on this model or on another with the same kernels.
        except_layers: layers that will not be rounded, by the names of their output tensors.
    """
    # A copy that may be written to: the parsed model's arrays are views of it.
    model = unpack_model(flatbuffer)
    graph = model.subgraphs[0]
    for operator, _ in weighted_layers(model):
        index = int(operator.inputs[2]) if len(operator.inputs) > 2 else -1
        bias = _stored(model, index) if index >= 0 else None
        weights = _stored(model, operator.inputs[1])
        shift = None if weights is None else shifts.get(_key(weights))
        name = graph.tensors[operator.outputs[0]].name.decode()
        if shift is None or bias is None or name in except_layers:
            continue
        # Layers with equal biases may share one tensor, so each gets its own.
        tensor, buffer = copy.copy(graph.tensors[index]), schema.BufferT()
        buffer.data = np.frombuffer((bias - shift).astype("<f4").tobytes(), np.uint8)
        tensor.name = b"%s_corrected_%d" % (tensor.name.split(b";")[0], len(graph.tensors))
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
        operator.inputs = np.array([*operator.inputs[:2], len(graph.tensors)], np.int32)
        graph.tensors.append(tensor)
    return pack_model(model)


def _shift(
    weights: NDArray[np.float32], mean: NDArray[np.float64], code: int
) -> NDArray[np.float32] | None:
    depthwise = code == schema.BuiltinOperator.DEPTHWISE_CONV_2D
    axes = (0, 1, 2) if depthwise else tuple(range(1, weights.ndim))
    scale = np.abs(weights).max(axis=axes, keepdims=True) / _LEVELS
    scale = np.where(scale == 0, 1, scale)
    error = (np.rint(weights / scale) * scale - weights).astype(np.float64)
    shift: NDArray[np.float64]
    if depthwise:
        # (1, height, width, channels * multiplier): each channel meets its own input only.
        multiplier = error.shape[3] // len(mean)
        shift = error.sum(axis=(0, 1, 2)) * np.repeat(mean, multiplier)
        return shift.astype(np.float32)
    if error.shape[-1] != len(mean):
        return None
    # (outputs, height, width, channels), or (outputs, channels) for a dense layer.
    inner = tuple(range(1, error.ndim - 1))
    shift = error.sum(axis=inner) @ mean
    return shift.astype(np.float32)


def _key(weights: NDArray[np.float32]) -> Kernel:
    return weights.shape, weights.tobytes()


def _stored(model: Any, index: int) -> NDArray[np.float32] | None:
    tensor = model.subgraphs[0].tensors[index]
    data = model.buffers[tensor.buffer].data
    if data is None or tensor.type != schema.TensorType.FLOAT32:
        return None
    return np.asarray(data, np.uint8).view("<f4").reshape(tensor.shape)
