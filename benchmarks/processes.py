"""The timing of all files in several fresh processes, one after the other.

Two processes that run the same file differ by some per cent for as long as they live, by where
their memory happens to lie; `spread` makes of that how sure a ratio is. `main` is such a process:
it reads its job from standard input and writes its series to standard output.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.benchmarks.candidates import Candidate
from pocketlens.benchmarks.latency import RUNS_PER_ROUND, Settings, round_progress, time_interleaved
from pocketlens.benchmarks.results import Latency, Yardstick
from pocketlens.benchmarks.spread import (
    Histogram,
    Spread,
    geometric_mean,
    interval_95,
    repeatable_interval,
)
from pocketlens.errors import ModelFileError
from pocketlens.runtime.classifier import Classifier, Result, Timing
from pocketlens.runtime.pictures import Pixels
from pocketlens.workers import describe_exit, start_child

# What common cameras deliver; `classify` is timed from such a frame.
FRAME_WH = (1280, 720)

Row = tuple[int, int]  # index of the file, threads

_CALLS = ("invoke", "classify")
_YARDSTICK = ((-1, 0), "yardstick")


@dataclass(frozen=True)
class Series:
    """What one process measured.

    `durations_ns` are int64 (rounds, runs of a round) for each call, in the order of measurement,
    `firsts_ns` each call's very first, which is not among them. `parts_ms` are float64 (runs, 3):
    resize, invoke and post of each row's `classify`.
    """

    durations_ns: Mapping[tuple[Row, str], NDArray[np.int64]]
    firsts_ns: Mapping[tuple[Row, str], int]
    parts_ms: Mapping[Row, NDArray[np.float64]]

    @property
    def fewest(self) -> int:
        """How many runs the call with the fewest has."""
        return min(entry.size for entry in self.durations_ns.values())


def time_files(
    classifiers: Mapping[Row, Classifier],
    settings: Settings,
    on_round: Callable[[float], None] = lambda _: None,
) -> Series:
    """Time `invoke` and `classify` of loaded files against each other in this process.

    Args:
        classifiers: a classifier for each file and number of threads.
        settings: how long to measure.
        on_round: is called after each round with how much is done, in 0-1.
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

    durations_ns = time_interleaved(
        calls, settings, accompanying=(_YARDSTICK,), on_timed=keep_parts, on_round=on_round
    )
    rounds_ns = {key: entry.reshape(-1, settings.per_round) for key, entry in durations_ns.items()}
    parts_ms = {
        row: np.array([(entry.resize_ms, entry.invoke_ms, entry.post_ms) for entry in entries])
        for row, entries in timings.items()
    }
    return Series(rounds_ns, firsts_ns, parts_ms)


def summarise(processes: Sequence[Series], reference: int) -> dict[Row, Latency]:
    """Return what the series of all processes, in the order of time, come to.

    A ratio is the geometric mean of those of the processes, each the median of its rounds' ratios:
    the machine's mood that two calls of a round share cancels.

    Args:
        processes: what each measured, all with the same calls.
        reference: index of the file that the others are compared with.
    """
    rows = processes[0].parts_ms
    return {row: _latency(processes, row, (reference, row[1])) for row in rows}


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


def _latency(processes: Sequence[Series], row: Row, other: Row) -> Latency:
    def spread(key: tuple[Row, str]) -> Spread:
        return Spread.of(
            [entry.durations_ns[key].ravel() for entry in processes],
            firsts_ns=[entry.firsts_ns[key] for entry in processes],
        )

    def ratios(key: tuple[Row, str], to: tuple[Row, str]) -> NDArray[np.float64]:
        pairs = [(entry.durations_ns[key], entry.durations_ns[to]) for entry in processes]
        return np.array([_ratio(own, others) for own, others in pairs])

    invoke, classify = (spread((row, call)) for call in _CALLS)
    invoke_ratios, classify_ratios = (ratios((row, call), (other, call)) for call in _CALLS)
    multiples = ratios((row, "invoke"), _YARDSTICK)
    # The reference's ratio to itself is 1 in any run.
    interval_of = interval_95 if row == other else repeatable_interval
    parts_ms = np.concatenate([entry.parts_ms[row] for entry in processes])
    return Latency(
        row[1],
        invoke,
        classify,
        Timing(*map(float, np.median(parts_ms, axis=0))),
        geometric_mean(invoke_ratios),
        geometric_mean(classify_ratios),
        interval_of(invoke_ratios),
        interval_of(classify_ratios),
        Yardstick(
            geometric_mean(multiples),
            interval_95(multiples),
            invoke.min_ms / spread(_YARDSTICK).min_ms,
        ),
        Histogram.of([entry.durations_ns[row, "classify"] for entry in processes]),
    )


def _ratio(durations: NDArray[np.int64], others: NDArray[np.int64]) -> float:
    """Return the median of the rounds' ratios; what was stopped early may have a round less."""
    common = min(len(durations), len(others))
    own, other = (np.median(entry[:common], axis=1) for entry in (durations, others))
    return float(np.median(own / other))


LOGGER = logging.getLogger("pocketlens")

# With half of these an interval is 1.7 times as wide; each takes half a second to start. Of the
# default of 50 runs each has one round. `spread` has Student's t for at most so many.
PROCESSES = 10

_ON = b"\n"


def time_in_processes(
    candidates: Sequence[Candidate], threads: Sequence[int], settings: Settings
) -> list[Series]:
    """Time the files against each other in fresh processes, one after the other.

    Runs, warm-up runs and seconds that are asked for are divided among the processes. There is one
    for every `RUNS_PER_ROUND` runs, at most `PROCESSES`; when `max_secs` are over none is begun.

    Args:
        candidates: the files.
        threads: with which numbers of threads to time each.
        settings: how long to measure.

    Returns:
        what each process measured, in the order of time.

    Raises:
        ModelFileError: a process failed or was killed.
    """
    count = max(1, min(PROCESSES, settings.num_runs // RUNS_PER_ROUND))
    share = replace(
        settings,
        num_runs=math.ceil(settings.num_runs / count),
        min_secs=settings.min_secs / count,
        warmup_runs=math.ceil(settings.warmup_runs / count),
    )
    found: list[Series] = []
    start_s, left_s = time.monotonic(), settings.max_secs
    with round_progress("Timing all files in turn") as on_done:

        def on_round(part: float) -> None:
            on_done((len(found) + part) / count)

        while len(found) < count and left_s > 0:
            number = len(found)
            own = replace(share, max_secs=left_s / (count - number), seed=settings.seed + number)
            found.append(time_in_process(candidates, threads, own, on_round))
            left_s = settings.max_secs - (time.monotonic() - start_s)
    fewest = sum(entry.fewest for entry in found)
    if fewest < settings.num_runs:
        LOGGER.warning(
            "Stopped after --max-secs %g: %d of %d runs.",
            settings.max_secs,
            fewest,
            settings.num_runs,
        )
    return found


def time_in_process(
    candidates: Sequence[Candidate],
    threads: Sequence[int],
    settings: Settings,
    on_round: Callable[[float], None],
) -> Series:
    """Time the files against each other in a fresh process.

    Args:
        candidates: the files.
        threads: with which numbers of threads to time each.
        settings: how long to measure.
        on_round: is called after each round with how much is done, in 0-1. The process waits
            meanwhile, so that what this draws takes no core from a timed call.

    Raises:
        ModelFileError: the process failed or was killed.
    """
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile() as said,
        start_child(__name__, stdin=pipe, stdout=pipe, stderr=said) as child,
    ):
        try:
            return _converse(child, (candidates, threads, settings), on_round)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            child.communicate()
            said.seek(0)
            raise ModelFileError(
                "Expected the files to be timed in a separate process. "
                f"Received: {describe_exit(child.returncode, said.read())}. "
                "Free some memory or measure fewer files at a time."
            ) from None
        finally:
            # Whatever ends this one, Ctrl-C too, leaves none behind.
            child.kill()


def main() -> None:
    """Be the process: time the files of the job and write the series."""
    # What a library prints must not get among the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    candidates, threads, settings = pickle.load(sys.stdin.buffer)  # noqa: S301 - of the parent

    def on_round(done: float) -> None:
        _send(answers, done)
        if not sys.stdin.buffer.read(len(_ON)):
            sys.exit("The process that asked for the times has exited.")

    with ExitStack() as stack:
        classifiers = {
            (index, count): stack.enter_context(candidate.load(count))
            for index, candidate in enumerate(candidates)
            for count in threads
        }
        _send(answers, time_files(classifiers, settings, on_round))


def _converse(
    child: subprocess.Popen[bytes], job: object, on_round: Callable[[float], None]
) -> Series:
    _send(child.stdin, job)  # type: ignore[arg-type]
    while True:
        answer = pickle.load(child.stdout)  # type: ignore[arg-type]  # noqa: S301 - of our own process
        if isinstance(answer, Series):
            return answer
        on_round(answer)
        child.stdin.write(_ON)  # type: ignore[union-attr]
        child.stdin.flush()  # type: ignore[union-attr]


def _send(stream: IO[bytes], content: Any) -> None:
    pickle.dump(content, stream, pickle.HIGHEST_PROTOCOL)
    stream.flush()
