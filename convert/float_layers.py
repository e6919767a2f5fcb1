"""What each layer of the int8 file adds in error and saves in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from pocketlens.convert.comparison import Reference
from pocketlens.convert.encoders import Candidate, Encoder
from pocketlens.convert.statistics import weighted_layers
from pocketlens.progress import track
from pocketlens.runtime.interpreters import load_interpreter

_PHOTOS = 32

# Rounds in which every file runs in turn, and how often each runs in one, the first not counted.
_ROUNDS, _RUNS = 8, 4


@dataclass(frozen=True)
class Sensitivity:
    """One layer: by how much the distance of scores falls and the time grows if it stays in float.

    `error_added` is in the unit of `Comparison.distance` and below 0 where the layer's rounding
    makes up for that of others. `time_saved_ms` is for one thread, the conversions between float
    and int8 around the layer included.
    """

    layer: str
    error_added: float
    time_saved_ms: float


def measure_sensitivity(
    encoder: Encoder,
    candidate: Candidate,
    reference: Reference,
    run: Callable[[bytes, Reference], NDArray[np.float32]],
) -> tuple[Sensitivity, ...]:
    """Leave one layer after the other in float and look at what that changes.

    Args:
        encoder: makes the files.
        candidate: how the int8 file is made.
        reference: photos that calibration did not see.
        run: runs a file on them.

    Returns:
        every convolution and dense layer, the one that adds most error first.
    """
    few = reference.thinned(_PHOTOS)
    model = schema.ModelT.InitFromPackedBuf(encoder.normalised, 0)
    tensors = model.subgraphs[0].tensors
    names = [tensors[operator.outputs[0]].name.decode() for operator, _ in weighted_layers(model)]
    plain = encoder.int8(candidate)
    distance = few.compare(run(plain, few)).distance
    files, errors = [plain], []
    for name in track(names, "Measuring each layer"):
        files.append(encoder.int8(candidate, [name]))
        errors.append(distance - few.compare(run(files[-1], few)).distance)
    milliseconds = time_files(files)
    rows = [
        Sensitivity(name, error, float(spent - milliseconds[0]))
        for name, error, spent in zip(names, errors, milliseconds[1:], strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: -row.error_added))


def time_files(flatbuffers: Sequence[bytes]) -> NDArray[np.float64]:
    """Return how long an inference of each file takes in ms, (files,), all run in turn.

    The shortest time counts, not the median: the differences of single layers are smaller than
    what anything else on the machine adds.
    """
    interpreters = [load_interpreter(flatbuffer, threads=1) for flatbuffer in flatbuffers]
    shortest = np.full(len(interpreters), np.inf)
    for _ in range(_ROUNDS):
        for index, interpreter in enumerate(interpreters):
            interpreter.invoke()
            for _ in range(_RUNS):
                started = time.perf_counter()
                interpreter.invoke()
                shortest[index] = min(shortest[index], time.perf_counter() - started)
    return 1000 * shortest
