"""The int8 file: what each of its layers adds in error, and which stay in float for that."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pocketlens.convert.encoders import Encoder
from pocketlens.convert.flatbuffers import unpack_model
from pocketlens.convert.statistics import weighted_layers
from pocketlens.evaluation.agreement import Reference
from pocketlens.progress import track
from pocketlens.runtime.interpreters import load_interpreter

_PHOTOS = 32

# Rounds in which every file runs in turn, and how often each runs in one, the first not counted.
_ROUNDS, _RUNS = 8, 4

# Runs a flatbuffer on the pixels of a reference: scores float32 (photos, outputs).
Runner = Callable[[bytes, Reference], NDArray[np.float32]]


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


@dataclass(frozen=True)
class Int8:
    """An int8 file.

    `float_layers` names the layers that stay in float; they cost `float_cost_ms` of an inference
    with one thread. `sensitivity` has every layer where that was measured.
    """

    flatbuffer: bytes
    sensitivity: tuple[Sensitivity, ...] = ()
    float_layers: tuple[str, ...] = ()
    float_cost_ms: float = 0.0


def make_int8(
    encoder: Encoder,
    reference: Reference,
    run: Runner,
    *,
    max_drop: float,
    sensitivity: bool = False,
) -> Int8:
    """Make the int8 file.

    Where it loses more than `max_drop` points, the layers that add most error stay in float, first
    one, then two, then four, …, until it does not, or none is left to try.

    Args:
        encoder: makes the files.
        reference: photos that calibration did not see.
        run: runs a file on them.
        max_drop: net accuracy in points that may be lost.
        sensitivity: measure what each layer adds and saves, also where no layer stays in float.
    """
    plain = encoder.int8()
    kept = reference.compare(run(plain, reference)).keeps(max_drop)
    if kept and not sensitivity:
        return Int8(plain)
    made = Int8(plain, measure_sensitivity(encoder, reference, run))
    return made if kept else _leave_in_float(made, encoder, reference, run, max_drop)


def _leave_in_float(
    plain: Int8, encoder: Encoder, reference: Reference, run: Runner, max_drop: float
) -> Int8:
    """Return the file with the fewest layers in float, doubling, that keeps the limit.

    Where none does, that is the one that loses least.
    """
    layers = [entry.layer for entry in plain.sensitivity]
    best, least = plain, float("inf")
    count = 1
    while True:
        mixed = encoder.int8(layers[:count])
        comparison = reference.compare(run(mixed, reference))
        if comparison.drop_points < least:
            least = comparison.drop_points
            best = replace(plain, flatbuffer=mixed, float_layers=tuple(layers[:count]))
        if comparison.keeps(max_drop) or count >= len(layers):
            break
        count = min(2 * count, len(layers))
    before, after = time_files([plain.flatbuffer, best.flatbuffer])
    return replace(best, float_cost_ms=float(after - before))


def measure_sensitivity(
    encoder: Encoder, reference: Reference, run: Runner
) -> tuple[Sensitivity, ...]:
    """Leave one layer after the other in float and look at what that changes.

    Args:
        encoder: makes the files.
        reference: photos that calibration did not see.
        run: runs a file on them.

    Returns:
        every convolution and dense layer, the one that adds most error first.
    """
    few = reference.thinned(_PHOTOS)
    model = unpack_model(encoder.normalised)
    tensors = model.subgraphs[0].tensors
    names = [tensors[operator.outputs[0]].name.decode() for operator, _ in weighted_layers(model)]
    plain = encoder.int8()
    distance = few.compare(run(plain, few)).distance
    files, errors = [plain], []
    for name in track(names, "Measuring each layer"):
        files.append(encoder.int8([name]))
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
