"""How durations spread, and how sure their median and its ratio to another's are.

Intervals come from the percentile bootstrap (B. Efron and R. J. Tibshirani, "An Introduction to the
Bootstrap", 1993, chapter 13) over whole rounds instead of single runs, since the runs of a round
share the machine's mood (E. Carlstein, Annals of Statistics 14 (1986), 1171-1179). Every series is
resampled with the same rounds, so that in a ratio the mood that both shared cancels.

What one run cannot know is where the memory of the next will lie; `joined` adds it, where an
interval is to hold for another run too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]

RESAMPLES = 1000
# With fewer rounds than this an interval would promise more than it knows.
FEWEST_ROUNDS = 5
# Two processes that run the same file differ by about this, by where their memory happens to lie
# (T. Mytkowicz et al., "Producing Wrong Data Without Doing Anything Obviously Wrong!", ASPLOS
# 2009).
BETWEEN_RUNS = 0.02
# Smaller changes between the first and the last third of a run are no drift worth a sentence.
LEAST_DRIFT = 0.05

_NS_PER_MS = 1_000_000
_VALUES_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Spread:
    """How `runs` durations spread, in milliseconds.

    `first_ms` is the very first call, which is not among the runs. `std_ms` is the standard
    deviation of these runs. `median_interval_ms` holds the median with 95 %, and is None for fewer
    than `FEWEST_ROUNDS` rounds. `drift` is the last third's median over the first third's where
    their intervals are apart and it is more than `LEAST_DRIFT` from 1, else None.
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
    median_interval_ms: Interval | None = None
    drift: float | None = None

    @classmethod
    def of(cls, durations_ns: NDArray[np.int64], *, first_ns: int, per_round: int) -> Spread:
        """Summarise durations (runs,) in nanoseconds, measured in rounds of `per_round`.

        Between two measured values a percentile is interpolated linearly: `numpy.percentile`'s
        default, definition 7 of R. J. Hyndman and Y. Fan, "Sample Quantiles in Statistical
        Packages", The American Statistician 50 (1996), 361-365.
        """
        durations_ms = durations_ns / _NS_PER_MS
        percentiles = np.percentile(durations_ms, (0, 50, 90, 95, 99), method="linear")
        low, median, p90, p95, p99 = map(float, percentiles)
        return cls(
            first_ms=first_ns / _NS_PER_MS,
            min_ms=low,
            median_ms=median,
            p90_ms=p90,
            p95_ms=p95,
            p99_ms=p99,
            mean_ms=float(durations_ms.mean()),
            std_ms=float(durations_ms.std()),
            runs=len(durations_ms),
            median_interval_ms=interval_95(resampled_medians(durations_ms, per_round)),
            drift=find_drift(durations_ms, per_round),
        )


def resampled_medians(durations: NDArray[np.floating], per_round: int) -> NDArray[np.float64]:
    """Return the medians (RESAMPLES,) of durations (runs,) with their rounds drawn again.

    The same number of rounds always draws the same rounds. None, an empty array, comes of fewer
    than `FEWEST_ROUNDS`.
    """
    rounds = len(durations) // per_round
    if rounds < FEWEST_ROUNDS:
        return np.empty(0)
    table = durations[: rounds * per_round].reshape(rounds, per_round)
    drawn = np.random.default_rng(0).integers(0, rounds, (RESAMPLES, rounds))
    step = max(1, _VALUES_AT_ONCE // table.size)
    return np.concatenate(
        [
            np.median(table[drawn[start : start + step]].reshape(-1, table.size), axis=1)
            for start in range(0, RESAMPLES, step)
        ]
    )


def ratio_interval(
    durations: NDArray[np.int64], others: NDArray[np.int64], per_round: int
) -> Interval | None:
    """Return the 95 % interval of the ratio of two medians that were measured in turn."""
    common = min(len(durations), len(others))
    own = resampled_medians(durations[:common].astype(float), per_round)
    other = resampled_medians(others[:common].astype(float), per_round)
    return interval_95(own / other)


def repeatable_interval(ratio: float, interval: Interval | None) -> Interval | None:
    """Return the 95 % interval of a ratio of two files for another run: wider by `BETWEEN_RUNS`."""
    if interval is None:
        return None
    low, high = interval
    return ratio / joined(ratio / low), ratio * joined(high / ratio)


def joined(*factors: float) -> float:
    """Join intervals' arms, as factors, and `BETWEEN_RUNS` on a logarithmic scale.

    Source: A. Donner and G. Y. Zou, Statistical Methods in Medical Research 21 (2012), 347-359.
    """
    return math.exp(math.hypot(*map(math.log, factors), math.log1p(BETWEEN_RUNS)))


def interval_95(values: NDArray[np.float64]) -> Interval | None:
    """Return the 2.5th and 97.5th percentile of resampled values, None if there are none."""
    if not len(values):
        return None
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def find_drift(durations: NDArray[np.floating], per_round: int) -> float | None:
    """Return the last third's median over the first third's, None unless they really differ."""
    third = len(durations) // per_round // 3 * per_round
    first, last = durations[:third], durations[len(durations) - third :]
    before = interval_95(resampled_medians(first, per_round))
    after = interval_95(resampled_medians(last, per_round))
    if before is None or after is None or (before[0] <= after[1] and after[0] <= before[1]):
        return None
    drift = float(np.median(last) / np.median(first))
    return drift if abs(drift - 1) > LEAST_DRIFT else None
