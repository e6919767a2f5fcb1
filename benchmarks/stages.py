"""What each operator of a file takes, without help from the interpreter, which tells nothing of it.

None of the interpreters' Python packages has a profiler. But a model that ends after one of its
operators is a model too, and what it takes more than one that ends earlier is what the operators in
between take. XNNPACK drops what no output needs, so a model is only cut where all before is needed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pocketlens.benchmarks.latency import Settings, time_interleaved
from pocketlens.runtime.flatbuffer import Table
from pocketlens.runtime.operators import Operator, list_operators

# Slots of TensorFlow Lite's schema: a model's subgraphs, a subgraph's outputs and operators.
_SUBGRAPHS, _OUTPUTS, _OPERATORS = 2, 2, 3
_INT = "<i"
_INT_BYTES = 4
_TIMING = Settings(num_runs=20, min_secs=0.0, warmup_runs=1)


@dataclass(frozen=True)
class Stage:
    """Operators between two places where a model can be cut, mostly one.

    `time_ms` is what they add to an inference, the difference of the shortest runs of two models.
    `macs` are their multiply-adds for a picture.
    """

    operators: tuple[str, ...]
    time_ms: float
    macs: int

    @property
    def kind(self) -> str:
        """The operator that all others of the stage lead to."""
        return self.operators[-1]


def time_stages(
    flatbuffer: bytes,
    load: Callable[[bytes], Any],
    *,
    track: Callable[[Sequence[int]], Iterable[int]] = lambda cuts: cuts,
) -> tuple[Stage, ...]:
    """Time what each part of a model adds to an inference.

    The model is loaded once for each part; each is timed in turn with the one that is a part
    shorter and with the whole. What counts is the shortest run, since noise only lengthens: of the
    model itself or of any that goes on where it ends. All parts together take what the whole takes.

    Args:
        flatbuffer: the model.
        load: makes an interpreter of a model and allocates its tensors.
        track: hands on what it is given, and may show how far that has come.

    Raises:
        ModelFileError: the model is damaged, or the interpreter does not take a part of it.
    """
    whole = load(flatbuffer)
    _fill(whole)
    operators, _ = list_operators(whole)
    inputs = {int(entry["index"]) for entry in whole.get_input_details()}
    cuts = [*find_cuts(operators, inputs)[:-1], len(operators) - 1]
    last = len(cuts) - 1
    shortest_ns = np.full(len(cuts), np.inf)
    shorter: Any = None
    for place, cut in enumerate(track(cuts)):
        longer = whole
        if place != last:
            longer = load(shorten(flatbuffer, cut + 1, operators[cut].outputs[0]))
            _fill(longer)
        calls = {last: whole.invoke, place: longer.invoke}
        if shorter is not None:
            calls[place - 1] = shorter.invoke
        for number, durations_ns in time_interleaved(calls, _TIMING).items():
            shortest_ns[number] = min(shortest_ns[number], durations_ns.min())
        shorter = longer
    until_ns = np.minimum.accumulate(shortest_ns[::-1])[::-1]
    parts_ms = np.diff(until_ns, prepend=0.0) / 1e6
    begins = [0, *(cut + 1 for cut in cuts)]
    return tuple(
        Stage(
            tuple(operator.name for operator in operators[begin : cut + 1]),
            float(time_ms),
            sum(operator.macs for operator in operators[begin : cut + 1]),
        )
        for begin, cut, time_ms in zip(begins, cuts, parts_ms, strict=False)
    )


def by_kind(stages: Iterable[Stage]) -> dict[str, float]:
    """Return what each kind of operator takes in milliseconds, the one that takes most first."""
    sums: dict[str, float] = {}
    for stage in stages:
        sums[stage.kind] = sums.get(stage.kind, 0.0) + stage.time_ms
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def find_cuts(operators: Sequence[Operator], inputs: Iterable[int]) -> list[int]:
    """Return after which operators a model can end and still need all that came before.

    That is where each earlier operator leads to this one, not to another branch. Operators that
    work on constants alone, such as those that unpack float16 weights, do not count.
    """
    # For each tensor that depends on the picture: the operators that lead to it.
    leading: dict[int, frozenset[int]] = {index: frozenset() for index in inputs}
    seen: set[int] = set()
    cuts = []
    for number, operator in enumerate(operators):
        before = [leading[index] for index in operator.inputs if index in leading]
        if not before:
            continue
        needed = frozenset().union(*before)
        if needed == seen:
            cuts.append(number)
        seen.add(number)
        leading.update(dict.fromkeys(operator.outputs, needed | {number}))
    return cuts


def shorten(flatbuffer: bytes, count: int, output: int) -> bytes:
    """Return a model with its first `count` operators only, whose one output is that tensor.

    Raises:
        ModelFileError: it is damaged.
    """
    graph = Table.root(flatbuffer).tables(_SUBGRAPHS)[0]
    outputs, _ = graph.vector(_OUTPUTS, _INT_BYTES)
    operators, _ = graph.vector(_OPERATORS, _INT_BYTES)
    changed = bytearray(flatbuffer)
    # A vector's count stands before its items; what is not counted is not read.
    struct.pack_into(_INT, changed, outputs - _INT_BYTES, 1)
    struct.pack_into(_INT, changed, outputs, output)
    struct.pack_into(_INT, changed, operators - _INT_BYTES, count)
    return bytes(changed)


def _fill(interpreter: Any) -> None:
    for entry in interpreter.get_input_details():
        noise = np.random.default_rng(0).integers(0, 128, entry["shape"])
        interpreter.set_tensor(entry["index"], noise.astype(entry["dtype"]))
