"""How many threads an inference should use, by measuring it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from pocketlens.clock import CLOCK, Clock
from pocketlens.runtime.model_files import ModelFile
from pocketlens.runtime.trial import load_model
from pocketlens.workers import count_cores

# More threads have to gain more than this: they take cores from reading and recording.
_GAIN = 0.05
_WARM_INVOKES = 2
# Between few enough for a slow board to start soon and enough for a median.
_BUDGET_S = 0.4
_ROUNDS = (5, 25)


@dataclass(frozen=True)
class ThreadChoice:
    """A number of threads, and the median milliseconds of an inference by those that were tried."""

    threads: int
    latency_ms: dict[int, float]

    def __str__(self) -> str:
        tried = ", ".join(f"{number}: {value:.1f} ms" for number, value in self.latency_ms.items())
        return f"{self.threads} of {count_cores()} cores ({tried})"


def choose_threads(
    model: ModelFile, *, backend: str | None = None, clock: Clock = CLOCK
) -> ThreadChoice:
    """Measure inferences with 1, 2, 4, … threads up to the number of usable cores.

    Each number is measured in turn with the best until then, so that whatever else the machine does
    meets both. It ends at the first that is not at least 5 % faster, so the choice is the smallest
    number that is nearly the fastest. It takes about half a second for each number.

    Args:
        model: a file that `read_model_file` has read.
        backend: name of an interpreter; None takes the first that is installed.
        clock: what measures.

    Raises:
        ModelFileError: the interpreter does not take the model.
    """
    best, latency_ms = 1, {}
    cores = count_cores()
    if cores == 1:
        return ThreadChoice(1, {})
    best_interpreter = _warm(model, 1, backend)
    for number in numbers_to_try(cores)[1:]:
        other = _warm(model, number, backend)
        best_ms, other_ms = _alternate(best_interpreter, other, clock)
        latency_ms.update({best: best_ms, number: other_ms})
        if other_ms > (1 - _GAIN) * best_ms:
            break
        best, best_interpreter = number, other
    return ThreadChoice(best, latency_ms)


def numbers_to_try(cores: int) -> list[int]:
    """Return 1, 2, 4, … and the number of cores."""
    return [*(1 << power for power in range(cores.bit_length()) if 1 << power < cores), cores]


def _warm(model: ModelFile, threads: int, backend: str | None) -> Any:
    interpreter = load_model(model, threads=threads, backend=backend)
    for _ in range(_WARM_INVOKES):
        interpreter.invoke()
    return interpreter


def _alternate(one: Any, other: Any, clock: Clock) -> tuple[float, float]:
    """Return the median milliseconds of an `invoke()` of each."""
    times_ms: tuple[list[float], list[float]] = ([], [])
    started_s = clock.now_s()
    for round_number in range(_ROUNDS[1]):
        if round_number >= _ROUNDS[0] and clock.now_s() - started_s > _BUDGET_S:
            break
        for interpreter, collected_ms in zip((one, other), times_ms, strict=True):
            before_s = clock.now_s()
            interpreter.invoke()
            collected_ms.append(1000 * (clock.now_s() - before_s))
    return statistics.median(times_ms[0]), statistics.median(times_ms[1])
