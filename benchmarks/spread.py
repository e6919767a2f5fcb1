"""How durations spread, and how sure their median and its ratio to another's are.

Where the memory of a process happens to lie makes a file faster or slower by some per cent for as
long as the process lives (T. Mytkowicz et al., "Producing Wrong Data Without Doing Anything
Obviously Wrong!", ASPLOS 2009), and no number of runs in it can tell. So files are timed in several
processes, each counts as one observation, and intervals are Student's on a logarithmic scale
("Student", Biometrika 6 (1908), 1-25; T. Kalibera and R. Jones, "Rigorous Benchmarking in
Reasonable Time", ISMM 2013, on what to repeat). What the processes of one run cannot know is the
machine's mood in the next; `joined` adds it, where an interval is to hold for another run too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.evaluation.intervals import Interval

# With fewer processes than this an interval would be too wide to say anything.
FEWEST_PROCESSES = 5
# With 95 % the machine's moods in two runs change a ratio of times by no more than this: measured
# with five formats of one model in 12 runs on a virtual machine with noisy neighbours, as what is
# left of the runs' differences when those of the processes are taken out.
BETWEEN_RUNS = 0.03
# Smaller changes between the first and the last third of a run are no drift worth a sentence.
LEAST_DRIFT = 0.05

# Student's t: its 97.5th percentile for 1, 2, 3... degrees of freedom.
_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
_NS_PER_MS = 1_000_000
_BINS = 150


@dataclass(frozen=True)
class Spread:
    """How `runs` durations in `processes` processes spread, in milliseconds.

    `first_ms` is the median of the processes' very first calls, which are not among the runs.
    `std_ms` is the standard deviation of these runs. `median_interval_ms` holds the median with
    95 %, and is None for fewer than `FEWEST_PROCESSES`. `drift` is the last third of the processes
    over the first, where they really differ by more than `LEAST_DRIFT`, else None.
    """

    first_ms: float
    min_ms: float
    median_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    std_ms: float
    runs: int
    processes: int
    median_interval_ms: Interval | None = None
    drift: float | None = None

    @classmethod
    def of(cls, durations_ns: Sequence[NDArray[np.int64]], *, firsts_ns: Sequence[int]) -> Spread:
        """Summarise the durations (runs,) of each process in nanoseconds, in the order of time.

        Between two measured values a percentile is interpolated linearly: `numpy.percentile`'s
        default, definition 7 of R. J. Hyndman and Y. Fan, "Sample Quantiles in Statistical
        Packages", The American Statistician 50 (1996), 361-365.
        """
        durations_ms = np.concatenate(durations_ns) / _NS_PER_MS
        medians_ms = np.array([np.median(entry) for entry in durations_ns]) / _NS_PER_MS
        percentiles = np.percentile(durations_ms, (0, 50, 90, 95, 99), method="linear")
        low, median, p90, p95, p99 = map(float, percentiles)
        return cls(
            first_ms=float(np.median(firsts_ns)) / _NS_PER_MS,
            min_ms=low,
            median_ms=median,
            p90_ms=p90,
            p95_ms=p95,
            p99_ms=p99,
            mean_ms=float(durations_ms.mean()),
            std_ms=float(durations_ms.std()),
            runs=len(durations_ms),
            processes=len(durations_ns),
            median_interval_ms=_with(median, interval_95(medians_ms)),
            drift=find_drift(medians_ms),
        )


@dataclass(frozen=True)
class Histogram:
    """How many durations lie in each of equally wide bins from `from_ms` to `to_ms`.

    The slowest hundredth is left out: one that took ten times as long leaves the rest no room.
    """

    from_ms: float
    to_ms: float
    counts: tuple[int, ...]

    @classmethod
    def of(cls, durations_ns: Sequence[NDArray[np.int64]]) -> Histogram:
        """Count the durations (runs,) of each process in nanoseconds."""
        durations_ms = np.concatenate([entry.ravel() for entry in durations_ns]) / _NS_PER_MS
        low, high = float(durations_ms.min()), float(np.percentile(durations_ms, 99))
        # Where all took as long, the bins still need a width.
        high = max(high, low * (1 + 1e-6) + 1e-6)
        counts, _ = np.histogram(durations_ms, _BINS, (low, high))
        return cls(low, high, tuple(map(int, counts)))


def geometric_mean(values: NDArray[np.float64]) -> float:
    """Return the geometric mean of values (processes,) above 0."""
    return float(np.exp(np.log(values).mean()))


def interval_95(values: NDArray[np.float64]) -> Interval | None:
    """Return the interval that holds the true geometric mean with 95 %.

    Args:
        values: (processes,), above 0, at most 10. None comes of fewer than `FEWEST_PROCESSES`.
    """
    count = len(values)
    if count < FEWEST_PROCESSES:
        return None
    deviation = float(np.log(values).std(ddof=1))
    arm = math.exp(_T_975[count - 2] * deviation / math.sqrt(count))
    return geometric_mean(values) / arm, geometric_mean(values) * arm


def repeatable_interval(values: NDArray[np.float64]) -> Interval | None:
    """Return the interval that holds the geometric mean of another run with 95 %.

    The other run has its own error, as large as this one's, and another mood.

    Args:
        values: (processes,), above 0, at most 10. None comes of fewer than `FEWEST_PROCESSES`.
    """
    interval = interval_95(values)
    if interval is None:
        return None
    mean = geometric_mean(values)
    own = others = interval[1] / mean
    arm = joined(own, others)
    return mean / arm, mean * arm


def joined(*factors: float) -> float:
    """Join intervals' arms, as factors, and `BETWEEN_RUNS` on a logarithmic scale.

    Source: A. Donner and G. Y. Zou, Statistical Methods in Medical Research 21 (2012), 347-359.
    """
    return math.exp(math.hypot(*map(math.log, factors), math.log1p(BETWEEN_RUNS)))


def find_drift(values: NDArray[np.float64]) -> float | None:
    """Return how many times as long the last third took as the first, None unless they differ.

    Args:
        values: (processes,), medians in the order of time, above 0. Student's test for two series
            with the same variance tells a difference, with 95 %.
    """
    if len(values) < FEWEST_PROCESSES:
        return None
    third = round(len(values) / 3)
    first, last = np.log(values[:third]), np.log(values[-third:])
    error = math.sqrt((first.var(ddof=1) + last.var(ddof=1)) / third)
    change = float(last.mean() - first.mean())
    if abs(change) <= _T_975[2 * third - 3] * error:
        return None
    drift = math.exp(change)
    return drift if abs(drift - 1) > LEAST_DRIFT else None


def _with(value: float, interval: Interval | None) -> Interval | None:
    # Where processes are of two kinds, six of one and four of the other, the median of all runs is
    # not near the mean of the processes' medians.
    return interval and (min(value, interval[0]), max(value, interval[1]))
