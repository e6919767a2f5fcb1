"""Taking out of a float model what rounding its weights to int8 would add.

Each kernel W is rounded to the Q that changes the layer's output least on photos (`rounding`). What
is left shifts each output channel by the sum of (Q - W) over the kernel times the mean of the input
that it meets, and that is taken out of the bias (M. Nagel et al., "Data-Free Quantization Through
Weight Equalization and Bias Correction", ICCV 2019, arXiv:1906.04721, section 4.2). A quantizer
then finds weights that are on its grid already. Both cost nothing at inference. On a model that was
trained on the grid there is nothing to take out.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from pocketlens.convert.flatbuffers import pack_model, unpack_model
from pocketlens.convert.rounding import is_on_grid, round_to_nearest, round_weights
from pocketlens.convert.statistics import Statistics, as_groups, stored_values, weighted_layers

# A kernel's shape and bytes, by which a layer is known in every model that has it.
Kernel = tuple[tuple[int, ...], bytes]


@dataclass(frozen=True)
class Correction:
    """What becomes of a layer.

    `weights` is its kernel on the grid, float32 in the kernel's shape, `shift` by how much that
    shifts its output on average, float32 (channels,).
    """

    weights: NDArray[np.float32]
    shift: NDArray[np.float32]


def find_corrections(flatbuffer: bytes, statistics: Statistics) -> dict[Kernel, Correction]:
    """Return the corrections of a model's layers by their kernels.

    Layers whose weights are calculated, not stored, and those that are on the grid already are left
    out, and those with the same kernel.

    Args:
        flatbuffer: a float32 model.
        statistics: what was measured on it.
    """
    model = unpack_model(flatbuffer)
    found: list[tuple[Kernel, Correction | None]] = []
    for operator, code in weighted_layers(model):
        weights = stored_values(model, operator.inputs[1])
        if weights is not None:
            mean = statistics.means[int(operator.inputs[0])]
            covariance = statistics.covariances.get(int(operator.outputs[0]))
            found.append((_key(weights), _correction(weights, mean, covariance, code)))
    each = Counter(key for key, _ in found)
    return {
        key: correction for key, correction in found if correction is not None and each[key] == 1
    }


def correct(
    flatbuffer: bytes,
    corrections: Mapping[Kernel, Correction],
    except_layers: Collection[str] = (),
) -> bytes:
    """Return the model with each layer's kernel on the grid and its shift out of its bias.

    Args:
        flatbuffer: a float32 model.
        corrections: what `find_corrections` found, on this model or on another with the same
            kernels.
        except_layers: layers that will not be rounded, by the names of their output tensors.
    """
    # A copy that may be written to: the parsed model's arrays are views of it.
    model = unpack_model(flatbuffer)
    graph = model.subgraphs[0]
    for operator, _ in weighted_layers(model):
        weights = stored_values(model, operator.inputs[1])
        found = None if weights is None else corrections.get(_key(weights))
        name = graph.tensors[operator.outputs[0]].name.decode()
        if found is None or name in except_layers:
            continue
        _replace(model, operator, 1, found.weights)
        if len(operator.inputs) > 2:
            bias = stored_values(model, operator.inputs[2])
            if bias is not None:
                _replace(model, operator, 2, bias - found.shift)
    return pack_model(model)


def _correction(
    weights: NDArray[np.float32],
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64] | None,
    code: int,
) -> Correction | None:
    depthwise = code == schema.BuiltinOperator.DEPTHWISE_CONV_2D
    # Convolutions in groups of channels are left as they are.
    if not depthwise and weights.shape[-1] != len(mean):
        return None
    groups = as_groups(weights, len(mean), depthwise=depthwise)
    if is_on_grid(groups):
        return None
    fitted = round_to_nearest(groups) if covariance is None else round_weights(groups, covariance)
    # A depthwise kernel comes back from (channels, outputs each, height * width).
    rounded = (fitted.transpose(2, 0, 1) if depthwise else fitted).reshape(weights.shape)
    error = (rounded - weights).astype(np.float64)
    if depthwise:
        # (1, height, width, channels * multiplier): each channel meets its own input only.
        shift = error.sum(axis=(0, 1, 2)) * np.repeat(mean, error.shape[3] // len(mean))
    else:
        # (outputs, height, width, channels), or (outputs, channels) for a dense layer.
        shift = error.sum(axis=tuple(range(1, error.ndim - 1))) @ mean
    return Correction(rounded, shift.astype(np.float32))


def _replace(model: Any, operator: Any, place: int, values: NDArray[np.float32]) -> None:
    """Give an operator another constant: its own, where others share the one that it has."""
    graph = model.subgraphs[0]
    index = int(operator.inputs[place])
    shared = graph.tensors[index].buffer
    uses = sum(int(used) == index for other in graph.operators for used in other.inputs)
    holders = sum(tensor.buffer == shared for tensor in graph.tensors)
    data = np.frombuffer(values.astype("<f4").tobytes(), np.uint8)
    if uses == holders == 1:
        model.buffers[shared].data = data
        return
    tensor, buffer = copy.copy(graph.tensors[index]), schema.BufferT()
    buffer.data = data
    tensor.name = b"%s_corrected_%d" % (tensor.name.split(b";")[0], len(graph.tensors))
    tensor.buffer = len(model.buffers)
    model.buffers.append(buffer)
    inputs = [int(entry) for entry in operator.inputs]
    inputs[place] = len(graph.tensors)
    operator.inputs = np.array(inputs, np.int32)
    graph.tensors.append(tensor)


def _key(weights: NDArray[np.float32]) -> Kernel:
    return weights.shape, weights.tobytes()
