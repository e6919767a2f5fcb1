"""The timing of every file with every number of threads, in turn in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.benchmarks.latency import Settings, round_progress, time_interleaved
from pocketlens.benchmarks.results import Latency, Yardstick
from pocketlens.benchmarks.spread import Spread, ratio_interval, repeatable_interval
from pocketlens.runtime.classifier import Classifier, Result, Timing
from pocketlens.runtime.pictures import Pixels

# What common cameras deliver; `classify` is timed from such a frame.
FRAME_WH = (1280, 720)

Row = tuple[int, int]  # index of the file, threads

_CALLS = ("invoke", "classify")
_YARDSTICK = ((-1, 0), "yardstick")


@dataclass(frozen=True)
class _Series:
    """The spreads and the durations of all calls, and the parts of each row's `classify`."""

    spreads: dict[tuple[Row, str], Spread]
    durations_ns: dict[tuple[Row, str], NDArray[np.int64]]
    timings: dict[Row, list[Timing]]
    per_round: int


def time_files(
    classifiers: Mapping[Row, Classifier], reference: int, settings: Settings
) -> dict[Row, Latency]:
    """Time `invoke` and `classify` of loaded files against each other.

    Args:
        classifiers: a classifier for each file and number of threads.
        reference: index of the file that the others are compared with.
        settings: how long to measure.
    """
    frame_bgr = noise_frame(settings.seed)
    calls: dict[tuple[Row, str], Callable[[], object]] = {}
    for row, classifier in classifiers.items():
        calls[row, "invoke"] = classifier.interpreter.invoke
        calls[row, "classify"] = lambda classifier=classifier: classifier.classify(frame_bgr)  # type: ignore[misc]
    calls[_YARDSTICK] = _yardstick()
    # The first frame also puts pixels into the input for the bare `invoke` to work on.
    firsts_ns = {key: _first(call) for key, call in calls.items()}
    timings: dict[Row, list[Timing]] = {row: [] for row in classifiers}

    def keep_parts(key: tuple[Row, str], returned: object) -> None:
        if isinstance(returned, Result):
            timings[key[0]].append(returned.timing)

    with round_progress("Timing all files in turn") as on_round:
        durations_ns = time_interleaved(
            calls, settings, accompanying=(_YARDSTICK,), on_timed=keep_parts, on_round=on_round
        )
    spreads = {
        key: Spread.of(entry, first_ns=firsts_ns[key], per_round=settings.per_round)
        for key, entry in durations_ns.items()
    }
    series = _Series(spreads, durations_ns, timings, settings.per_round)
    return {row: _latency(series, row, (reference, row[1])) for row in classifiers}


def noise_frame(seed: int) -> Pixels:
    """Return a camera's frame of noise: uint8 (720, 1280, 3).

    Noise, since a flat frame might be easier on caches and branches than a scene.
    """
    shape = (FRAME_WH[1], FRAME_WH[0], 3)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def _yardstick() -> Callable[[], object]:
    """Return a fixed calculation of a fraction of a millisecond, in the caches of one core."""
    # Products of this size are what OpenBLAS still leaves to one thread.
    matrix = np.full((64, 64), 1 / 64, np.float32)

    def multiply() -> None:
        for _ in range(20):
            np.matmul(matrix, matrix)

    return multiply


def _first(call: Callable[[], object]) -> int:
    start = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - start


def _latency(series: _Series, row: Row, other: Row) -> Latency:
    spreads, durations_ns = series.spreads, series.durations_ns
    invoke, classify = (spreads[row, c].median_ms / spreads[other, c].median_ms for c in _CALLS)
    invoke_interval, classify_interval = (
        ratio_interval(durations_ns[row, c], durations_ns[other, c], series.per_round)
        for c in _CALLS
    )
    if row != other:
        invoke_interval = repeatable_interval(invoke, invoke_interval)
        classify_interval = repeatable_interval(classify, classify_interval)
    return Latency(
        row[1],
        spreads[row, "invoke"],
        spreads[row, "classify"],
        _median_parts(series.timings[row]),
        invoke,
        classify,
        invoke_interval,
        classify_interval,
        Yardstick(
            spreads[row, "invoke"].median_ms / spreads[_YARDSTICK].median_ms,
            ratio_interval(durations_ns[row, "invoke"], durations_ns[_YARDSTICK], series.per_round),
            spreads[row, "invoke"].min_ms / spreads[_YARDSTICK].min_ms,
        ),
        tuple((durations_ns[row, "classify"] / 1e6).tolist()),
    )


def _median_parts(timings: list[Timing]) -> Timing:
    parts = [(entry.resize_ms, entry.invoke_ms, entry.post_ms) for entry in timings]
    return Timing(*map(float, np.median(parts, axis=0)))
