"""What flows through a float model on photos: ranges, means and how inputs vary together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from pocketlens.convert.flatbuffers import unpack_model
from pocketlens.convert.rounding import MOST_INPUTS, Covariance, Window, is_on_grid
from pocketlens.runtime.interpreters import find_backend

_THREADS = 2

# From here on 8 bits round a sigmoid to 0 and 1.
_SIGMOID_LIMIT = 8.0


@dataclass(frozen=True)
class Ranges:
    """The lowest and highest value, float32 (tensors,), of the tensors `indices`."""

    indices: tuple[int, ...]
    low: NDArray[np.float32]
    high: NDArray[np.float32]


@dataclass(frozen=True)
class Statistics:
    """What was seen of a model's tensors.

    `ranges` are those of the model's input, first, and of the output of every operator. `means` has
    float64 (channels,) for each tensor that goes into a layer with weights. `covariances` has
    float64 (groups, inputs, inputs) for the output tensor of each layer whose stored weights are
    not on the int8 grid, see `as_groups`, but for those with more than `MOST_INPUTS`.
    """

    ranges: Ranges
    means: dict[int, NDArray[np.float64]]
    covariances: dict[int, NDArray[np.float64]]


def measure(
    flatbuffer: bytes,
    samples: Sequence[NDArray[np.uint8]],
    normalise: Callable[[Any], Any],
) -> Statistics:
    """Run a float model on photos and look at every tensor.

    The input's range is that of a black and a white pixel whatever the photos are like, so that a
    raw byte is the quantized value.

    Args:
        flatbuffer: a float32 model that takes what `normalise` makes of pixels.
        samples: uint8 (height, width, 3) RGB each.
        normalise: makes the model's input of float32 (1, height, width, 3) in 0-255.
    """
    model = unpack_model(flatbuffer)
    graph = model.subgraphs[0]
    (entry,) = graph.inputs
    indices = (int(entry), *dict.fromkeys(int(out) for op in graph.operators for out in op.outputs))
    wanted = {int(operator.inputs[0]) for operator, _ in weighted_layers(model)}
    gathered = _off_grid(model)
    # TensorFlow's own calibration runs reference kernels, which take five times as long; and it
    # reads the inputs of an ADD after the ADD has written its result over one of them.
    interpreter = find_backend().module.Interpreter(
        model_content=flatbuffer, num_threads=_THREADS, experimental_preserve_all_tensors=True
    )
    interpreter.allocate_tensors()
    low = np.full(len(indices), np.inf, np.float32)
    high = -low
    sums: dict[int, Any] = dict.fromkeys(wanted, 0.0)
    for sample in samples:
        values = np.asarray(normalise(sample[None].astype(np.float32)), np.float32)
        interpreter.set_tensor(entry, values)
        interpreter.invoke()
        for column, index in enumerate(indices):
            tensor = interpreter.get_tensor(index)
            low[column] = min(low[column], tensor.min())
            high[column] = max(high[column], tensor.max())
            if index in wanted:
                sums[index] += tensor.reshape(-1, tensor.shape[-1]).mean(axis=0, dtype=np.float64)
        for source, covariance in gathered.values():
            covariance.add(interpreter.get_tensor(source))
    shape = (1, *samples[0].shape)
    ends = [np.asarray(normalise(np.full(shape, end, np.float32))) for end in (0.0, 255.0)]
    low[0], high[0] = np.min(ends), np.max(ends)
    for column in _novelty_logits(graph, indices):
        low[column], high[column] = -_SIGMOID_LIMIT, _SIGMOID_LIMIT
    means = {index: total / len(samples) for index, total in sums.items()}
    covariances = {index: covariance.get() for index, (_, covariance) in gathered.items()}
    return Statistics(Ranges(indices, low, high), means, covariances)


def _novelty_logits(graph: Any, indices: Sequence[int]) -> list[int]:
    """Return the place in `indices` of the logits of a novelty, the second output, if there is one.

    Photos of what a model knows do not show how high it gets.
    """
    return [
        indices.index(int(operator.inputs[0]))
        for operator in graph.operators
        for output in graph.outputs[1:]
        if int(output) in operator.outputs
    ]


def weighted_layers(model: Any) -> list[tuple[Any, int]]:
    """Return a model's convolutions and dense layers with their operator codes, in order."""
    kinds = (
        schema.BuiltinOperator.CONV_2D,
        schema.BuiltinOperator.DEPTHWISE_CONV_2D,
        schema.BuiltinOperator.FULLY_CONNECTED,
    )
    found = [
        (operator, model.operatorCodes[operator.opcodeIndex].builtinCode)
        for operator in model.subgraphs[0].operators
    ]
    return [(operator, code) for operator, code in found if code in kinds]


def stored_values(model: Any, index: int) -> NDArray[np.float32] | None:
    """Return the values of a float32 constant of a model, or None where it is no such."""
    tensor = model.subgraphs[0].tensors[index] if index >= 0 else None
    if tensor is None or tensor.type != schema.TensorType.FLOAT32:
        return None
    data = model.buffers[tensor.buffer].data
    return None if data is None else np.asarray(data, np.uint8).view("<f4").reshape(tensor.shape)


def as_groups(
    weights: NDArray[np.float32], channels: int, *, depthwise: bool
) -> NDArray[np.float32]:
    """Return a kernel as (groups, outputs, inputs), the inputs by row, column and channel.

    Args:
        weights: (outputs, height, width, channels), (outputs, channels) of a dense layer, or
            (1, height, width, channels * outputs each) of a depthwise one, whose groups the
            channels are.
        channels: of the layer's input.
        depthwise: it is a depthwise one.
    """
    if depthwise:
        return weights.reshape(-1, channels, weights.shape[3] // channels).transpose(1, 2, 0)
    return weights.reshape(1, len(weights), -1)


def _off_grid(model: Any) -> dict[int, tuple[int, Covariance]]:
    """Return what gathers the input of each layer that rounding changes, by its output tensor."""
    gathered = {}
    for operator, code in weighted_layers(model):
        weights = stored_values(model, operator.inputs[1])
        if weights is None:
            continue
        depthwise = code == schema.BuiltinOperator.DEPTHWISE_CONV_2D
        source = int(operator.inputs[0])
        channels = int(model.subgraphs[0].tensors[source].shape[-1])
        # Convolutions in groups of channels are rounded to the nearest.
        if not depthwise and weights.shape[-1] != channels:
            continue
        groups = as_groups(weights, channels, depthwise=depthwise)
        if groups.shape[2] > MOST_INPUTS or is_on_grid(groups):
            continue
        window = Window()
        if code != schema.BuiltinOperator.FULLY_CONNECTED:
            options = operator.builtinOptions
            window = Window(
                (weights.shape[1], weights.shape[2]),
                (options.strideH, options.strideW),
                (options.dilationHFactor, options.dilationWFactor),
                same=options.padding == schema.Padding.SAME,
            )
        gathered[int(operator.outputs[0])] = source, Covariance(window, depthwise=depthwise)
    return gathered
