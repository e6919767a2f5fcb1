"""A benchmark for people, as tables, and for machines, as JSON."""

from __future__ import annotations

import dataclasses
import math
from typing import IO, TYPE_CHECKING, Any

from pocketlens.benchmarks.accuracy_report import (
    accuracy_payload,
    accuracy_sentences,
    accuracy_table,
)
from pocketlens.benchmarks.recommendation import ACCURACY_MARGIN, SAME_SPEED, find_verdict
from pocketlens.benchmarks.regressions import SCHEMA_VERSION
from pocketlens.benchmarks.results import BYTES_PER_MB, Benchmark, FileResult
from pocketlens.benchmarks.spread import Spread
from pocketlens.benchmarks.stages import by_kind
from pocketlens.choices import MULTILABEL
from pocketlens.evaluation.intervals import Interval
from pocketlens.report.terminal import NOTHING, new_console, new_table

if TYPE_CHECKING:
    from rich.table import Table

_KINDS_SHOWN = 4
_CALLS = ("invoke", "classify")
_TIMED = ("ms", "p95", "ratio")
_FILE_HEADERS = ("size\nMB", "load\nms", "first\nms", "RAM\n+MB", "peak\n+MB", "peak\nMB", "parts")


def print_report(benchmark: Benchmark, stream: IO[str] | None = None) -> None:
    """Print the machine, the tables and the verdict, at most 100 columns wide."""
    console = new_console(stream)
    console.print(benchmark.machine.summary)
    if benchmark.photos:
        console.print(accuracy_table(benchmark))
    console.print(files_table(benchmark))
    console.print(latency_table(benchmark))
    for sentence in (
        *benchmark.machine.warnings,
        *drift_sentences(benchmark),
        *accuracy_sentences(benchmark),
    ):
        console.print(sentence)
    for entry in benchmark.left_out:
        console.print(f"{entry.name} was left out. {entry.reason}")
    for line in _operator_lines(benchmark):
        console.print(line)
    if benchmark.sustained:
        console.print(benchmark.sustained.sentence)
    for note in _notes(benchmark):
        console.print(note, style="dim")
    console.print(f"\n{find_verdict(benchmark).sentence}", style="bold")


def files_table(benchmark: Benchmark) -> Table:
    """Return a table with a row for each file: size, loading, memory."""
    table = new_table("File", *_FILE_HEADERS)
    for file in benchmark.files:
        table.add_row(file.name, *_cells(file))
    return table


def latency_table(benchmark: Benchmark) -> Table:
    """Return a table with a row for each file and number of threads."""
    timed = [f"{call}\nms" if what == "ms" else f"\n{what}" for call in _CALLS for what in _TIMED]
    table = new_table("File", "threads", *timed, "runs")
    for file in benchmark.files:
        for latency in file.latencies:
            table.add_row(
                file.name,
                str(latency.threads),
                f"{latency.invoke.median_ms:.2f}",
                f"{latency.invoke.p95_ms:.2f}",
                f"{latency.invoke_ratio:.2f}",
                f"{latency.classify.median_ms:.2f}",
                f"{latency.classify.p95_ms:.2f}",
                f"{latency.classify_ratio:.2f}",
                str(latency.classify.runs),
            )
    return table


def drift_sentences(benchmark: Benchmark) -> list[str]:
    """Return one sentence if times changed between the first and the last third, else nothing."""
    drifts = {
        f"{call} of {file.name} (threads: {entry.threads})": drift
        for file in benchmark.files
        for entry in file.latencies
        for call in _CALLS
        if (drift := getattr(entry, call).drift) is not None
    }
    if not drifts:
        return []
    worst = max(drifts, key=lambda key: abs(math.log(drifts[key])))
    sentence = (
        f"The machine drifted: {worst} took {drifts[worst]:.2f} times as long in the last third of "
        f"the run as in the first, and {len(drifts)} of the series moved; ratios still hold, since "
        "all were timed in turn, but times do not."
    )
    return [sentence]


def to_payload(benchmark: Benchmark) -> dict[str, Any]:
    """Return what `--json` writes, as plain JSON values.

    Its fields are listed in docs/benchmark-json.md.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "machine": dataclasses.asdict(benchmark.machine),
        "warnings": list(benchmark.machine.warnings),
        "settings": dataclasses.asdict(benchmark.settings),
        "reference": benchmark.reference.name,
        "task": benchmark.task,
        "photos": benchmark.photos,
        "skipped_photos": benchmark.skipped,
        "rule": {"accuracy_margin": ACCURACY_MARGIN, "same_speed": SAME_SPEED},
        "left_out": [
            {"name": entry.name, "path": str(entry.path), "reason": entry.reason}
            for entry in benchmark.left_out
        ],
        "files": [_file_payload(file, benchmark.task) for file in benchmark.files],
        "sustained": _sustained_payload(benchmark),
        "verdict": dataclasses.asdict(find_verdict(benchmark)),
    }


def _sustained_payload(benchmark: Benchmark) -> dict[str, Any] | None:
    sustained = benchmark.sustained
    if sustained is None:
        return None
    return {
        **dataclasses.asdict(sustained),
        "first_ms": sustained.first_ms,
        "last_ms": sustained.last_ms,
        "slowdown": sustained.slowdown,
    }


def _file_payload(file: FileResult, task: str) -> dict[str, Any]:
    memory = dataclasses.asdict(file.footprint)
    load_ms, first_ms = memory.pop("load_ms"), memory.pop("first_ms")
    return {
        "name": file.name,
        "path": str(file.path),
        "format": file.format,
        "size_bytes": file.size_bytes,
        "input_size_wh": list(file.input_size_wh),
        "partitions": file.partitions,
        "macs": file.macs,
        "parameters": file.parameters,
        "load_ms": load_ms,
        "first_ms": first_ms,
        "memory": memory,
        "accuracy": accuracy_payload(file.accuracy, task),
        "answer_pairs": file.answer_pairs
        and [dataclasses.asdict(pair) for pair in file.answer_pairs],
        "stages": file.stages and [dataclasses.asdict(stage) for stage in file.stages],
        "latencies": [
            {
                "threads": entry.threads,
                "invoke": _timing(entry.invoke, entry.invoke_ratio, entry.invoke_ratio_interval),
                "classify": _timing(
                    entry.classify, entry.classify_ratio, entry.classify_ratio_interval
                ),
                "parts": entry.parts._asdict(),
                "yardstick": entry.yardstick and dataclasses.asdict(entry.yardstick),
            }
            for entry in file.latencies
        ],
    }


def _timing(spread: Spread, ratio: float, interval: Interval | None) -> dict[str, Any]:
    return {**dataclasses.asdict(spread), "ratio": ratio, "ratio_interval": interval}


def _operator_lines(benchmark: Benchmark) -> list[str]:
    lines = []
    for file in benchmark.files:
        if file.stages:
            kinds = list(by_kind(file.stages).items())[:_KINDS_SHOWN]
            text = ", ".join(f"{kind} {time_ms:.2f}" for kind, time_ms in kinds)
            lines.append(f"What operators of {file.name} take, in ms: {text}.")
    return lines


def _notes(benchmark: Benchmark) -> list[str]:
    first = "" if benchmark.reference.format == "float32" else ", the first: no card says float32"
    notes = [
        "invoke: the bare model; classify: from a 1280x720 frame to labels; medians and p95 in ms.",
        "load, then first answer, RAM, peak: in a process of its own; parts: XNNPACK partitions.",
    ]
    if len(benchmark.files) > 1:
        notes.insert(0, f"ratio and agrees: compared with {benchmark.reference.name}{first}.")
    if benchmark.photos:
        skipped = f", {benchmark.skipped} unreadable skipped" if benchmark.skipped else ""
        all_of_them = ": all labels of a photo right" if benchmark.task == MULTILABEL else ""
        notes.append(f"{benchmark.measure}{all_of_them}, on {benchmark.photos} photos{skipped}.")
        if len(benchmark.files) > 1:
            notes.append(
                f"lost, won: photos that only {benchmark.reference_name} or only the file gets "
                "right; p: McNemar's exact test."
            )
    return notes


def _cells(file: FileResult) -> tuple[str, ...]:
    footprint = file.footprint
    return (
        f"{file.size_mb:.2f}",
        f"{footprint.load_ms:.1f}",
        f"{footprint.first_ms:.1f}",
        _megabytes(footprint.loaded_bytes),
        _megabytes(footprint.peak_growth_bytes),
        _megabytes(footprint.peak_bytes),
        str(file.partitions),
    )


def _megabytes(count: int | None) -> str:
    return NOTHING if count is None else f"{count / BYTES_PER_MB:.1f}"
