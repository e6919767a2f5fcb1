"""What flows through a float model on photos: each tensor's range and the means per channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from pocketlens.runtime.interpreters import find_backend

# The weight of what came before when ranges move with each photo, as in ai-edge-quantizer
# (qsv_utils.moving_average_update) and in TensorFlow's moving averages.
_SMOOTHING = 0.95

_THREADS = 2

MIN_MAX, MOVING_AVERAGE = "min-max", "moving average"


@dataclass(frozen=True)
class Ranges:
    """The lowest and highest value, float32 (tensors,), of the tensors `indices`."""

    indices: tuple[int, ...]
    low: NDArray[np.float32]
    high: NDArray[np.float32]


@dataclass(frozen=True)
class Statistics:
    """What was seen of a model's tensors.

    `low` and `high` are float32 (photos, tensors) for the tensors `indices`, the model's first
    input among them; `means` has float64 (channels,) for each tensor that goes into a layer with
    weights.
    """

    indices: tuple[int, ...]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    means: dict[int, NDArray[np.float64]]

    def ranges(self, rule: str, photos: int) -> Ranges:
        """Return ranges by a rule over the first `photos` photos."""
        low, high = self.low[:photos], self.high[:photos]
        if rule == MIN_MAX:
            return Ranges(self.indices, low.min(axis=0), high.max(axis=0))
        return Ranges(self.indices, _moving_average(low), _moving_average(high))


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
    model = schema.ModelT.InitFromPackedBuf(flatbuffer, 0)
    graph = model.subgraphs[0]
    (entry,) = graph.inputs
    indices = (int(entry), *dict.fromkeys(int(out) for op in graph.operators for out in op.outputs))
    wanted = {int(operator.inputs[0]) for operator, _ in weighted_layers(model)}
    # TensorFlow's own calibration runs reference kernels, which take five times as long; and it
    # reads the inputs of an ADD after the ADD has written its result over one of them.
    interpreter = find_backend().module.Interpreter(
        model_content=flatbuffer, num_threads=_THREADS, experimental_preserve_all_tensors=True
    )
    interpreter.allocate_tensors()
    low = np.empty((len(samples), len(indices)), np.float32)
    high = np.empty_like(low)
    sums: dict[int, Any] = dict.fromkeys(wanted, 0.0)
    for row, sample in enumerate(samples):
        values = np.asarray(normalise(sample[None].astype(np.float32)), np.float32)
        interpreter.set_tensor(entry, values)
        interpreter.invoke()
        for column, index in enumerate(indices):
            tensor = interpreter.get_tensor(index)
            low[row, column], high[row, column] = tensor.min(), tensor.max()
            if index in wanted:
                sums[index] += tensor.reshape(-1, tensor.shape[-1]).mean(axis=0, dtype=np.float64)
    shape = (1, *samples[0].shape)
    ends = [np.asarray(normalise(np.full(shape, end, np.float32))) for end in (0.0, 255.0)]
    low[:, 0], high[:, 0] = np.min(ends), np.max(ends)
    means = {index: total / len(samples) for index, total in sums.items()}
    return Statistics(indices, low, high, means)


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


def _moving_average(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    average: NDArray[np.float32] = rows[0].copy()
    for row in rows[1:]:
        average = _SMOOTHING * average + (1 - _SMOOTHING) * row
    return average
