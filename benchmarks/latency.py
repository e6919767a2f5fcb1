"""Timing several things in one run, interleaved, so that noise hits all of them alike.

Timing one file after the other compares the machine's moods: a clock that throttles, a neighbour
that wakes up. Here every round times a few calls of each, in an order shuffled anew.
"""

from __future__ import annotations

import gc
import math
import random
import sys
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import UsageError

K = TypeVar("K", bound=Hashable)

RUNS_PER_ROUND = 5

# Calls before these that are not counted. With one, a bare `invoke()` takes 2 % longer in its turn
# than in a loop of its own; with two it takes 1 % longer or less.
_UNCOUNTED = 2

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class Settings:
    """How long to measure; names as in TensorFlow's `benchmark_model`.

    Every call is timed at least `num_runs` times and for at least `min_secs` seconds, unless all
    of them together have taken `max_secs` seconds. Before that each runs `warmup_runs` times
    without being timed. A benchmark divides all this among its processes. `run_delay` seconds pass
    before each timed run. `seed` shuffles the order. After all that the file to take runs for
    `sustained_mins` minutes without a pause.

    Raises:
        UsageError: a value cannot be.
    """

    num_runs: int = 50
    min_secs: float = 0.5
    max_secs: float = 150.0
    warmup_runs: int = 5
    run_delay: float = 0.0
    seed: int = 0
    sustained_mins: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what would measure nothing or never end."""
        # Written this way round, NaN is refused too.
        for name, possible, expected in (
            ("num_runs", self.num_runs >= 1, "of 1 or more"),
            ("warmup_runs", self.warmup_runs >= 0, "of 0 or more"),
            ("min_secs", 0 <= self.min_secs < math.inf, "of 0 or more"),
            ("max_secs", 0 < self.max_secs < math.inf, "above 0"),
            ("run_delay", 0 <= self.run_delay < math.inf, "of 0 or more"),
            ("sustained_mins", 0 <= self.sustained_mins < math.inf, "of 0 or more"),
        ):
            if not possible:
                option = f"--{name.removesuffix('_mins').replace('_', '-')}"
                raise UsageError(
                    f"Expected {option} as a number {expected}. Received: {getattr(self, name):g}."
                )

    @property
    def per_round(self) -> int:
        """How many runs of a call are timed in each round."""
        return min(RUNS_PER_ROUND, self.num_runs)


def time_interleaved(
    calls: Mapping[K, Callable[[], object]],
    settings: Settings,
    *,
    accompanying: Collection[K] = (),
    clock_ns: Callable[[], int] = time.perf_counter_ns,
    sleep: Callable[[float], object] = time.sleep,
    on_timed: Callable[[K, Any], None] = lambda *_: None,
    on_round: Callable[[float], None] = lambda _: None,
) -> dict[K, NDArray[np.int64]]:
    """Time calls against each other.

    In each burst of `RUNS_PER_ROUND` calls two extra first ones are not counted: weights have to
    come back into the caches, and the threads of the call before may still be spinning. A camera
    that runs one model all day sees neither.

    Args:
        calls: what to time, by name.
        settings: how often and how long.
        accompanying: names of calls that take part in every round but need not fill `min_secs`;
            a very short one would make all others run thousands of times.
        clock_ns: returns the time in nanoseconds.
        sleep: waits for so many seconds.
        on_timed: is called after each timed run with the call's name and what it returned.
        on_round: is called after each round with how much is done, in 0-1.

    Returns:
        for each call int64 (runs,), its durations in nanoseconds, in the order of measurement.
    """
    durations: dict[K, list[int]] = {key: [] for key in calls}
    order = list(calls)
    # Reproducible order, not secrecy, is what is wanted here.
    shuffle = random.Random(settings.seed).shuffle  # noqa: S311

    def burst(key: K) -> list[int]:
        call = calls[key]
        for _ in range(_UNCOUNTED):
            call()
        spent = []
        for _ in range(settings.per_round):
            if settings.run_delay:
                sleep(settings.run_delay)
            start = clock_ns()
            returned = call()
            spent.append(clock_ns() - start)
            on_timed(key, returned)
        return spent

    with _collector_off():
        begin = clock_ns()

        def used() -> float:
            return (clock_ns() - begin) / _NS_PER_S / settings.max_secs

        for _ in range(settings.warmup_runs):
            if used() >= 1:
                break
            for call in calls.values():
                call()
        done = 0.0
        while done < 1:
            shuffle(order)
            for key in order:
                # The first round is always whole, so that every call has a figure.
                if durations[key] and used() >= 1:
                    break
                durations[key] += burst(key)
            counted = (durations[key] for key in calls if key not in accompanying)
            done = max(used(), min(_done(entry, settings) for entry in counted))
            on_round(min(done, 1.0))
    return {key: np.array(entry, np.int64) for key, entry in durations.items()}


@contextmanager
def round_progress(description: str) -> Iterator[Callable[[float], None]]:
    """Give a function that shows how much is done (0-1), on a terminal's standard error.

    It draws only when it is called: the thread that redraws an ordinary progress bar would take
    the interpreter lock and a core in the middle of a timed call.
    """
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        task = progress.add_task(description, total=1.0)
        progress.refresh()
        yield lambda done: progress.update(task, completed=done, refresh=True)


def _done(durations_ns: list[int], settings: Settings) -> float:
    runs = len(durations_ns) / settings.num_runs
    if not settings.min_secs:
        return runs
    return min(runs, sum(durations_ns) / _NS_PER_S / settings.min_secs)


@contextmanager
def _collector_off() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
