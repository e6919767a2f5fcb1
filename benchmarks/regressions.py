"""Whether files became faster or slower since an earlier benchmark on the same machine.

Two runs meet the machine in different moods, so times are compared as multiples of a yardstick: a
fixed calculation that is timed in turn with the files in both. Noise lengthens medians but hardly
ever shortens the shortest run, so a file counts as changed only if both moved.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketlens.benchmarks.candidates import distinct_names
from pocketlens.benchmarks.latency import RUNS_PER_ROUND, Settings
from pocketlens.benchmarks.results import Benchmark, Yardstick
from pocketlens.benchmarks.spread import BETWEEN_RUNS, FEWEST_PROCESSES, joined
from pocketlens.errors import PocketlensError, UsageError
from pocketlens.evaluation.intervals import Interval
from pocketlens.runtime.machine import cpu_name
from pocketlens.workers import count_cores

SCHEMA_VERSION = 5


@dataclass(frozen=True)
class Record:
    """What a later benchmark is compared with.

    `names` are those of all files; `yardsticks` maps a file's name and number of threads to its
    time, where there were processes enough for an interval.
    """

    cpu: str
    cores: int
    interpreter: str
    names: frozenset[str]
    yardsticks: Mapping[tuple[str, int], Yardstick]


def read_record(path: str | Path) -> Record:
    """Read the JSON of an earlier benchmark.

    Raises:
        UsageError: it cannot be read, is something else, is damaged, or has another version.
    """
    try:
        payload = json.loads(Path(path).read_text("utf-8"))
    # Brackets that never end reach the limit of the interpreter, not of the parser.
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no JSON"
        raise UsageError(
            f"Expected a file that pocketlens benchmark --json wrote. Received: {path} ({reason}). "
            "Name such a file."
        ) from None
    return parse_record(payload, str(path))


def parse_record(payload: Any, name: str = "a record") -> Record:
    """Check the JSON values of an earlier benchmark and take what is compared.

    Args:
        payload: what `to_payload` returned.
        name: what to call it in errors.

    Raises:
        UsageError: see `read_record`.
    """
    if not isinstance(payload, dict) or not {"schema_version", "files", "machine"} <= set(payload):
        raise UsageError(
            f"Expected a file that pocketlens benchmark --json wrote. Received: {name} "
            "(other JSON). Name such a file."
        )
    if payload["schema_version"] != SCHEMA_VERSION:
        raise UsageError(
            f"Expected a benchmark of schema_version {SCHEMA_VERSION}. Received: {name} of version "
            f"{payload['schema_version']!r}. Measure again with this pocketlens."
        )
    try:
        return _record(_Value(payload, ""))
    except _DamagedError as error:
        raise UsageError(
            f"Expected a whole benchmark in {name}. Received: nothing usable at {error}. "
            "Measure again."
        ) from None


class _DamagedError(Exception):
    """Says where a value is missing or cannot be."""


@dataclass(frozen=True)
class _Value:
    """A JSON value and where it stands."""

    content: Any
    place: str

    def __getitem__(self, key: str) -> _Value:
        place = f"{self.place}.{key}" if self.place else key
        if not isinstance(self.content, dict) or key not in self.content:
            raise _DamagedError(place)
        return _Value(self.content[key], place)

    @property
    def entries(self) -> list[_Value]:
        if not isinstance(self.content, (list, tuple)):
            raise _DamagedError(self.place)
        return [_Value(entry, f"{self.place}[{i}]") for i, entry in enumerate(self.content)]

    @property
    def text(self) -> str:
        if not isinstance(self.content, str):
            raise _DamagedError(self.place)
        return self.content

    @property
    def count(self) -> int:
        if type(self.content) is not int or self.content < 1:
            raise _DamagedError(self.place)
        return self.content

    @property
    def factor(self) -> float:
        """A number by which something can be multiplied and divided."""
        if type(self.content) not in (int, float) or not 0 < self.content < math.inf:
            raise _DamagedError(self.place)
        return float(self.content)


def _record(value: _Value) -> Record:
    machine, files = value["machine"], value["files"].entries
    yardsticks = {
        (file["name"].text, entry["threads"].count): yardstick
        for file in files
        for entry in file["latencies"].entries
        if (yardstick := _yardstick(entry["yardstick"])) is not None
    }
    return Record(
        machine["cpu"].text,
        machine["cores"].count,
        machine["interpreter"].text,
        frozenset(file["name"].text for file in files),
        yardsticks,
    )


def _yardstick(value: _Value) -> Yardstick | None:
    if value.content is None or value["interval"].content is None:
        return None
    bounds = [entry.factor for entry in value["interval"].entries]
    if len(bounds) != 2 or bounds[0] > bounds[1]:
        raise _DamagedError(value["interval"].place)
    return Yardstick(value["ratio"].factor, (bounds[0], bounds[1]), value["shortest_ratio"].factor)


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
            f"{self.name}, {threads}: {self.word}, {self.ratio:.2f} times the earlier time "
            f"({low:.2f}–{high:.2f})."
        )


def check_comparable(record: Record, models: Sequence[str | Path], settings: Settings) -> None:
    """Raise before anything is measured if a comparison would say nothing.

    Raises:
        UsageError: another machine, no file in common, or too few runs for an interval.
    """
    then = (record.cpu, record.cores)
    now = (cpu_name(), count_cores())
    if then != now:
        raise UsageError(
            f"Expected a benchmark of this machine, {now[0]} with {now[1]} cores, for --compare. "
            f"Received: one of {then[0]} with {then[1]}. Measure the earlier files here."
        )
    if record.names.isdisjoint(distinct_names([Path(path) for path in models])):
        raise UsageError(
            "Expected a benchmark with one of these files for --compare. Received: one of "
            f"{', '.join(sorted(record.names)) or 'none'}. Compare files of the same name."
        )
    # There is a process for every round, see `processes`.
    fewest = FEWEST_PROCESSES * RUNS_PER_ROUND
    if settings.num_runs < fewest:
        raise UsageError(
            f"Expected --num-runs of at least {fewest} with --compare. "
            f"Received: {settings.num_runs}. Raise it."
        )


def find_changes(record: Record, benchmark: Benchmark) -> list[Change]:
    """Return what changed, for each file and number of threads that both benchmarks have.

    The interval joins those of the two runs and `BETWEEN_RUNS`. What was stopped too early to have
    an interval is left out.
    """
    changes = []
    for file in benchmark.files:
        for latency in file.latencies:
            then = record.yardsticks.get((file.name, latency.threads))
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


def refuse_regressions(changes: Sequence[Change], percent: float) -> None:
    """Raise if a file surely became more than `percent` slower.

    Raises:
        PocketlensError: one did, or nothing could be compared.
    """
    if not changes:
        raise PocketlensError(
            "Expected enough runs to compare. Received: too few before --max-secs. Raise it."
        )
    slower = [change for change in changes if change.is_slower_by(percent)]
    if slower:
        worst = max(slower, key=lambda change: change.ratio)
        raise PocketlensError(
            f"Expected no file to be more than {percent:g} % slower. Received: {worst.sentence}"
        )
