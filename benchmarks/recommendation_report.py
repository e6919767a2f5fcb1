"""What is recommended, for people and as JSON."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pocketlens.benchmarks.accuracy_report import difference
from pocketlens.benchmarks.recommendation import Option, Recommendation, rivals, signed
from pocketlens.benchmarks.report import to_payload
from pocketlens.benchmarks.results import Benchmark
from pocketlens.report.terminal import NOTHING, new_console, new_table

if TYPE_CHECKING:
    from rich.table import Table

SCHEMA_VERSION = 1

_MISSED = {"time": "too slow", "size": "too large", "accuracy": "loses too much"}


def options_table(found: Recommendation) -> Table:
    """Return a table with a row for each file and number of threads, and what is said of it."""
    measure = found.benchmark.measure
    table = new_table("File", "threads", "ms", "MB", f"{measure} %", "points\nlost", "")
    for option in found.options:
        table.add_row(
            option.name,
            str(option.threads),
            f"{option.latency_ms:.2f}",
            f"{option.size_mb:.2f}",
            NOTHING if option.accuracy is None else f"{100 * option.accuracy:.1f}",
            NOTHING if option.drop is None else f"{option.drop:.1f}",
            _remark(option, found),
        )
    return table


def explain(found: Recommendation) -> tuple[str, ...]:
    """Return what to take, why, and what the runner-up costs, or what comes nearest."""
    take = found.take
    if take is None:
        return (nothing_fits(found),)
    return (
        f"Take {_with_threads(take)}: {_figures(take, found.benchmark)}.",
        _reason(take, found),
        _runner_up(take, found),
    )


def print_recommendation(
    found: Recommendation, run: Path | None = None, stream: IO[str] | None = None
) -> None:
    """Print the machine, all options and the recommendation, at most 100 columns wide.

    Args:
        found: what was found.
        run: the run that the files were made from, if they are not kept.
        stream: where to; standard output by default.
    """
    console = new_console(stream)
    console.print(found.benchmark.machine.summary)
    console.print(options_table(found))
    for sentence in found.benchmark.machine.warnings:
        console.print(sentence)
    for entry in found.benchmark.left_out:
        console.print(f"{entry.name} was left out. {entry.reason}")
    if found.take is None:
        return
    for sentence in explain(found):
        console.print(sentence, style="bold")
    if run is not None:
        command = f"pocketlens convert {run} --format {found.take.row[0].format} --out models"
        console.print(f"Make it: {command}")


def recommendation_payload(found: Recommendation) -> dict[str, Any]:
    """Return what `recommend --json` writes; its fields are listed in docs/recommend-json.md."""
    return {
        "schema_version": SCHEMA_VERSION,
        "limits": dataclasses.asdict(found.limits),
        "take": _payload(found.take),
        "runner_up": _payload(found.runner_up),
        "nearest": _payload(found.nearest),
        "sentences": list(explain(found)),
        "options": [_payload(option) for option in found.options],
        "benchmark": to_payload(found.benchmark),
    }


def _payload(option: Option | None) -> dict[str, Any] | None:
    if option is None:
        return None
    path = option.row[0].path
    return {
        "file": option.name,
        "path": str(path) if path.is_file() else None,
        "format": option.row[0].format,
        "threads": option.threads,
        "latency_ms": option.latency_ms,
        "size_bytes": option.row[0].size_bytes,
        "accuracy": option.accuracy,
        "drop": option.drop,
        "misses": list(option.misses),
        "on_front": option.on_front,
    }


def _remark(option: Option, found: Recommendation) -> str:
    if option is found.take:
        return "take"
    if option is found.runner_up:
        return "runner-up"
    if option.misses:
        return ", ".join(_MISSED[name] for name in option.misses)
    return "" if option.on_front else "beaten"


def nothing_fits(found: Recommendation) -> str:
    """Return the sentence for where no file keeps the limits: what comes nearest."""
    nearest = found.nearest
    if nearest is None:
        return ""
    return (
        f"Expected a file within {found.limits.text}. Received: none; the nearest is "
        f"{_with_threads(nearest)}, {_figures(nearest, found.benchmark)}{_below(nearest)}. "
        "Allow as much, or train a smaller network."
    )


def _below(option: Option) -> str:
    if "accuracy" not in option.misses:
        return ""
    return f", {option.drop:.1f} points below the most accurate"


def _figures(option: Option, benchmark: Benchmark) -> str:
    text = f"{option.latency_ms:.1f} ms from a frame to labels, {option.size_mb:.1f} MB"
    if option.accuracy is None:
        return text
    return f"{text} and {100 * option.accuracy:.1f} % {benchmark.measure}"


def _reason(take: Option, found: Recommendation) -> str:
    limits = found.limits
    beside = rivals([option for option in found.options if not option.misses], limits)
    files = len({option.name for option in beside})
    group = f"within {limits.text}" if limits.text else "to choose from"
    if limits.max_drop is None and take.accuracy is not None:
        group += " and within 1 point of the best of them"
    fastest_ms = min(option.latency_ms for option in beside)
    if files == 1:
        text = f"It is the only file {group}"
    elif take.latency_ms > fastest_ms:
        text = f"It is the smallest of the {files} files {group} that are as fast as the fastest"
    else:
        text = f"It is the fastest of the {files} files {group}"
    return f"{text}{_against_reference(take, found.benchmark)}."


def _against_reference(take: Option, benchmark: Benchmark) -> str:
    file, latency = take.row
    if len(benchmark.files) == 1:
        return ""
    if file is benchmark.reference:
        return ", and the one that the others were compared with"
    ratio = file.size_bytes / benchmark.reference.size_bytes
    text = (
        f"; beside {benchmark.reference_name} with as many threads it is "
        f"{1 / latency.classify_ratio:.1f} times as fast at {ratio:.2f} of the size"
    )
    return text if file.accuracy is None else f"{text} and {difference(file, benchmark)}"


def _runner_up(take: Option, found: Recommendation) -> str:
    other = found.runner_up
    if other is None:
        within = f" within {found.limits.text}" if found.limits.text else ""
        return f"There is no other file{within}."
    costs = [
        f"{other.latency_ms / take.latency_ms:.2f} times the time",
        f"{other.size_mb / take.size_mb:.2f} times the size",
    ]
    points = ""
    if other.accuracy is not None and take.accuracy is not None:
        points = f" for {signed(100 * (other.accuracy - take.accuracy))} points of accuracy"
    return f"The runner-up, {_with_threads(other)}, costs {' and '.join(costs)}{points}."


def _with_threads(option: Option) -> str:
    return f"{option.name} with {option.threads} thread{'s' if option.threads > 1 else ''}"
