"""Whether files became faster or slower since an earlier benchmark on the same machine.

Two runs meet the machine in different moods, so times are compared as multiples of a yardstick: a
fixed calculation that is timed in turn with the files in both. Noise lengthens medians but hardly
ever shortens the shortest run, so a file counts as changed only if both moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens.benchmarks.latency import RUNS_PER_ROUND, Settings
from pocketlens.benchmarks.results import Benchmark
from pocketlens.benchmarks.spread import BETWEEN_RUNS, FEWEST_PROCESSES, joined
from pocketlens.errors import PocketlensError, UsageError
from pocketlens.evaluation.intervals import Interval
from pocketlens.names import distinct_names
from pocketlens.report.html import counted
from pocketlens.runtime.machine import cpu_name
from pocketlens.workers import count_cores


@dataclass(frozen=True)
class Change:
    """A file's time now over its time then, for the bare `invoke`.

    `ratio` is of the medians and `interval` holds it with 95 %; `shortest_ratio` is of the shortest
    runs. All are freed from the machine's speed by the yardstick.
    """

    name: str
    threads: int
    ratio: float
    interval: Interval
    shortest_ratio: float

    @property
    def word(self) -> str:
        """Faster, slower or the same."""
        if self.is_slower_by(0):
            return "slower"
        is_faster = self.interval[1] < 1 and self.shortest_ratio < 1 - BETWEEN_RUNS
        return "faster" if is_faster else "the same"

    def is_slower_by(self, percent: float) -> bool:
        """Whether the file surely is more than `percent` slower."""
        least = 1 + percent / 100
        return self.interval[0] > least and self.shortest_ratio > max(least, 1 + BETWEEN_RUNS)

    @property
    def sentence(self) -> str:
        """What became of the file, with figures."""
        low, high = self.interval
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return (
            f"{self.name}, {threads}: {self.word}; it takes {self.ratio:.2f} times as long as "
            f"before ({low:.2f}–{high:.2f})."
        )


def check_comparable(earlier: Benchmark, models: Sequence[str | Path], settings: Settings) -> None:
    """Raise before anything is measured if a comparison would say nothing.

    Raises:
        UsageError: another machine, no file in common, or too few runs for an interval.
    """
    then = (earlier.machine.cpu, earlier.machine.cores)
    now = (cpu_name(), count_cores())
    if then != now:
        raise UsageError(
            f"Expected a benchmark of this machine, {now[0]} with {now[1]} cores, for --compare. "
            f"Received: one of {then[0]} with {then[1]}. Measure the earlier files here."
        )
    names = {file.name for file in earlier.files}
    if names.isdisjoint(distinct_names([Path(path) for path in models])):
        raise UsageError(
            "Expected a benchmark with one of these files for --compare. Received: one of "
            f"{', '.join(sorted(names))}. Compare files of the same name."
        )
    # There is a process for every round, see `processes`.
    fewest = FEWEST_PROCESSES * RUNS_PER_ROUND
    if settings.num_runs < fewest:
        raise UsageError(
            f"Expected --num-runs of at least {fewest} with --compare. "
            f"Received: {settings.num_runs}. Raise it."
        )


def find_changes(earlier: Benchmark, benchmark: Benchmark) -> list[Change]:
    """Return what changed, for each file and number of threads that both benchmarks have.

    The interval joins those of the two runs and `BETWEEN_RUNS`. What was stopped too early to have
    an interval is left out.
    """
    yardsticks = {
        (file.name, latency.threads): latency.yardstick
        for file in earlier.files
        for latency in file.latencies
    }
    changes = []
    for file in benchmark.files:
        for latency in file.latencies:
            then = yardsticks.get((file.name, latency.threads))
            now = latency.yardstick
            if not (then and then.interval and now and now.interval):
                continue
            ratio = now.ratio / then.ratio
            below = joined(now.ratio / now.interval[0], then.interval[1] / then.ratio)
            above = joined(now.interval[1] / now.ratio, then.ratio / then.interval[0])
            changes.append(
                Change(
                    file.name,
                    latency.threads,
                    ratio,
                    (ratio / below, ratio * above),
                    now.shortest_ratio / then.shortest_ratio,
                )
            )
    return changes


def find_gaps(earlier: Benchmark, benchmark: Benchmark) -> list[str]:
    """Return a sentence for each of what `find_changes` could not compare, with the reason."""
    then = {
        (file.name, latency.threads): latency
        for file in earlier.files
        for latency in file.latencies
    }
    common = [
        (file.name, latency, then[file.name, latency.threads])
        for file in benchmark.files
        for latency in file.latencies
        if (file.name, latency.threads) in then
    ]
    if not common:
        return ["Nothing is compared: no file has the same number of threads in both benchmarks."]
    fewest = FEWEST_PROCESSES * RUNS_PER_ROUND
    gaps = []
    for name, new, old in common:
        if not (old.yardstick and old.yardstick.interval):
            why = f"the earlier benchmark has too few runs; repeat it with {fewest} or more"
        elif not (new.yardstick and new.yardstick.interval):
            why = "this benchmark has too few runs before --max-secs; raise it"
        else:
            continue
        gaps.append(f"{name}, {counted(new.threads, 'thread')}: not compared, since {why}.")
    return gaps


def refuse_regressions(changes: Sequence[Change], percent: float, gaps: Sequence[str] = ()) -> None:
    """Raise if a file surely became more than `percent` slower.

    Args:
        changes: what was compared.
        percent: how much slower a file may be.
        gaps: why the rest was not, see `find_gaps`.

    Raises:
        PocketlensError: one did, or nothing could be compared.
    """
    if not changes:
        raise PocketlensError(
            " ".join(["Expected enough runs to compare. Received: too few.", *gaps])
        )
    slower = [change for change in changes if change.is_slower_by(percent)]
    if slower:
        worst = max(slower, key=lambda change: change.ratio)
        raise PocketlensError(
            f"Expected no file to be more than {percent:g} % slower. Received: {worst.sentence}"
        )
