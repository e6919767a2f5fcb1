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
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import IO, Any

from pocketlens.benchmarks.candidates import Candidate
from pocketlens.benchmarks.latency import RUNS_PER_ROUND, Settings, round_progress
from pocketlens.benchmarks.timings import Series, time_files
from pocketlens.errors import ModelFileError
from pocketlens.workers import describe_exit, start_child

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
                "Expected the files to be timed in a process of its own. "
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
            sys.exit("The process that wanted the times has ended.")

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
