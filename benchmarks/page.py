"""A benchmark or a recommendation as an HTML page: what to take, why, and what was measured."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pocketlens.benchmarks import page_charts
from pocketlens.benchmarks.payload import (
    parse_benchmark,
    parse_recommendation,
    recommendation_payload,
    to_payload,
)
from pocketlens.benchmarks.recommendation import Recommendation, Row, choose, find_verdict
from pocketlens.benchmarks.report import (
    Column,
    accuracy_columns,
    accuracy_sentences,
    drift_sentences,
    explain,
    remark,
)
from pocketlens.benchmarks.results import BYTES_PER_MB, Benchmark, Latency
from pocketlens.benchmarks.stages import Stage, by_kind
from pocketlens.evaluation.agreement import AnswerPair
from pocketlens.evaluation.intervals import Interval
from pocketlens.evaluation.metrics import Accuracy
from pocketlens.files import refuse_folder, staged_folder, write_json, write_text
from pocketlens.report.charts import SERIES, legend
from pocketlens.report.html import counted, fixed, percent, render

PAGE_NAME = "index.html"
# By these files a folder is known to be a report.
BENCHMARK_JSON, RECOMMENDATION_JSON = "benchmark.json", "recommend.json"

_NOTHING = "–"
_OTHERS = "others"
_SLOWEST_SHOWN = 10
# With more answers than this a matrix would not fit on a screen; then the pairs are listed.
_MOST_IN_MATRIX = 12
_PAIRS_LISTED = 15
_FRAMES_FOR_P99 = 100
# Okabe and Ito's blue and vermilion: the same answer, and another one.
_SAME, _OTHER = "0, 114, 178", "213, 94, 0"

Cell = str | tuple[str, str]


def refuse_report(out: Path, *, overwrite: bool, marker: str = BENCHMARK_JSON) -> None:
    """Raise OutputExistsError if the folder for a report is taken."""
    refuse_folder(out, overwrite=overwrite, marker=marker)


def write_report(found: Benchmark | Recommendation, out: Path, *, overwrite: bool) -> None:
    """Write a folder with the page and, beside it, what `--json` writes.

    The page is one file that asks nobody for anything, to be read on a phone too.

    Raises:
        OutputExistsError: the folder is taken.
        OutputError: it cannot be written.
    """
    if isinstance(found, Benchmark):
        name, payload, page = BENCHMARK_JSON, to_payload(found), benchmark_page(found)
    else:
        name, payload = RECOMMENDATION_JSON, recommendation_payload(found)
        page = recommendation_page(found)
    with staged_folder(out, overwrite=overwrite, marker=name) as folder:
        write_json(folder / name, payload)
        write_text(folder / PAGE_NAME, page)


def write_page(payload: dict[str, Any], name: str, out: Path, *, overwrite: bool) -> Path:
    """Write the report of what `benchmark --json` or `recommend --json` wrote; return its page.

    Args:
        payload: the JSON values.
        name: what to call them in errors.
        out: the folder.
        overwrite: whether to replace a report.

    Raises:
        UsageError: the JSON is damaged or of another version.
        OutputExistsError, OutputError: see `write_report`.
    """
    parse = parse_recommendation if "options" in payload else parse_benchmark
    write_report(parse(payload, name), out, overwrite=overwrite)
    return out / PAGE_NAME


def benchmark_page(benchmark: Benchmark) -> str:
    """Return a benchmark as an HTML page."""
    return render(
        "benchmark.html",
        title=f"Benchmark on {benchmark.machine.cpu}",
        sentences=[find_verdict(benchmark).sentence],
        options=None,
        json_name=BENCHMARK_JSON,
        **_context(benchmark, choose(benchmark)),
    )


def recommendation_page(found: Recommendation) -> str:
    """Return a recommendation as an HTML page, with the benchmark that it rests on."""
    chosen = found.take or found.nearest or found.options[0]
    return render(
        "benchmark.html",
        title=f"Recommendation for {found.benchmark.machine.cpu}",
        sentences=explain(found),
        options=_options(found),
        json_name=RECOMMENDATION_JSON,
        **_context(found.benchmark, chosen.row),
    )


def _context(benchmark: Benchmark, chosen: Row) -> dict[str, Any]:
    threads = chosen[1].threads
    left_out = [f"{entry.name} was left out. {entry.reason}" for entry in benchmark.left_out]
    settings = dataclasses.asdict(benchmark.settings).items()
    return {
        "warnings": [*left_out, *benchmark.warnings, *drift_sentences(benchmark)],
        "reference": benchmark.reference_name,
        "figures": list(_tiles(benchmark, chosen)),
        "choice": _choice(benchmark),
        "accuracy": _accuracy(benchmark, chosen) if benchmark.photos else None,
        "differences": accuracy_sentences(benchmark),
        "files": _files(benchmark, chosen),
        "times": _times(benchmark, chosen),
        "drawn": [
            _frame_stages(benchmark, threads),
            _start(benchmark),
            *_distribution(benchmark, threads),
            _threads(benchmark),
        ],
        "operators": _operators(benchmark),
        "sustained": benchmark.sustained
        and {
            "sentence": benchmark.sustained.sentence,
            "times": page_charts.endurance(benchmark.sustained),
            "heat": page_charts.temperature(benchmark.sustained),
        },
        "disagreements": list(_disagreements(benchmark)),
        "machine": [
            *benchmark.machine.facts.items(),
            *((name.replace("_", " "), f"{value:g}") for name, value in settings),
        ],
    }


def _tiles(benchmark: Benchmark, chosen: Row) -> Iterator[tuple[str, str, str]]:
    file, latency = chosen
    several = len(benchmark.files) > 1
    than = f"{benchmark.reference_name}’s"
    spread, peak = latency.classify, file.footprint.peak_growth_bytes
    ratio = f"{latency.classify_ratio:.2f} × {than}" if several else f"p95 {spread.p95_ms:.2f} ms"
    yield "take", file.format or file.name, counted(latency.threads, "thread")
    yield "time per frame", f"{spread.median_ms:.2f} ms", ratio
    if file.accuracy:
        low, high = (f"{100 * share:.1f}" for share in file.accuracy.interval)
        yield benchmark.measure, percent(file.accuracy.share), f"95 % interval {low} to {high} %"
    size_ratio = file.size_bytes / benchmark.reference.size_bytes
    yield "size", f"{file.size_mb:.2f} MB", f"{size_ratio:.2f} × {than}" if several else ""
    memory = _NOTHING if peak is None else f"{peak / BYTES_PER_MB:.1f} MB"
    yield "peak memory", memory, "added to a bare process"


def _options(found: Recommendation) -> dict[str, Any]:
    marked = found.take or found.nearest
    heads = ("file", "threads", "ms", "MB", f"{found.benchmark.measure}, %", "points lost")
    rows = [
        (
            # Below the name, where a phone shows it without scrolling.
            (option.name, remark(option, found) or ("nearest" if option is found.nearest else "")),
            str(option.threads),
            fixed(option.latency_ms),
            fixed(option.size_mb),
            fixed(None if option.accuracy is None else 100 * option.accuracy, 1),
            fixed(option.drop, 1),
        )
        for option in found.options
    ]
    return {"heads": heads, "rows": rows, "chosen": found.options.index(marked) if marked else None}


def _choice(benchmark: Benchmark) -> dict[str, Any] | None:
    if len(benchmark.files) == len(benchmark.files[0].latencies) == 1:
        return None
    notes = ["A circle’s area is the file’s size."]
    if len(benchmark.files[0].latencies) > 1:
        counts = {page_charts.fastest(file).threads for file in benchmark.files}
        own = f" with {counted(counts.pop(), 'thread')}" if len(counts) == 1 else ""
        notes.append(f"Filled: each at its fastest{own}; hollow: with other numbers of threads.")
    if benchmark.photos:
        notes.append(f"Vertical lines: 95 % intervals on {counted(benchmark.photos)}.")
    else:
        notes.append("Accuracy was not measured (no --photos), so this shows the size instead.")
    if len(benchmark.files) > 1:
        notes.append("Dashed: nothing is better in both (the Pareto front).")
    what = "Accuracy" if benchmark.photos else "Size"
    chart = page_charts.choice(benchmark)
    return {"title": f"{what} vs. latency", "chart": chart, "note": " ".join(notes)}


def _accuracy(benchmark: Benchmark, chosen: Row) -> dict[str, Any]:
    several = len(benchmark.files) > 1
    measured = [(file, file.accuracy) for file in benchmark.files if file.accuracy]
    columns = accuracy_columns(benchmark)
    note = "Below each figure its 95 % interval."
    if several:
        note += (
            f" Agrees: with {benchmark.reference.name}. Lost, won: photos that only "
            f"{benchmark.reference_name} or only the file gets right; p: McNemar’s exact test."
        )
    heads = ("file", *(column.head.replace(" %", ", %") for column in columns))
    rows = [
        (file.name, *(_accuracy_cell(column, accuracy) for column in columns))
        for file, accuracy in measured
    ]
    return _table("Accuracy", heads, rows, [file for file, _ in measured].index(chosen[0]), note)


def _accuracy_cell(column: Column, accuracy: Accuracy) -> Cell:
    value = column.value(accuracy)
    if value is None or isinstance(value, str):
        return value or _NOTHING
    interval = column.interval and column.interval(accuracy)
    text = column.number(value)
    return (text, "–".join(map(column.number, interval))) if interval else text


def _files(benchmark: Benchmark, chosen: Row) -> dict[str, Any]:
    heads = ("file", "size, MB", "RAM, MB", "parameters, M", "MMACs")
    rows = [
        (
            file.name,
            fixed(file.size_mb),
            fixed(_megabytes(file.footprint.peak_growth_bytes), 1),
            fixed(file.parameters / 1e6),
            fixed(file.macs / 1e6, 0),
        )
        for file in benchmark.files
    ]
    note = (
        "RAM: peak memory that the model adds, in a separate process. MMACs: millions of "
        "multiply-adds per photo."
    )
    return _table("Files", heads, rows, benchmark.files.index(chosen[0]), note)


def _times(benchmark: Benchmark, chosen: Row) -> dict[str, Any]:
    several = len(benchmark.files) > 1
    ratio_heads = ("frame, ratio", "invoke, ratio") if several else ()
    heads = ("file", "threads", "frame, ms", "p95, ms", "p99, ms", "invoke, ms", *ratio_heads)
    pairs = [(file, latency) for file in benchmark.files for latency in file.latencies]
    rows = [(file.name, *_time_cells(latency, several=several)) for file, latency in pairs]
    # A run of a few processes has none.
    below = ""
    if any(latency.classify.median_interval_ms for _, latency in pairs):
        below = ", below them their 95 % intervals, from several processes"
    note = (
        "Frame: from 1280×720 pixels to labels; p95, p99: of frames; invoke: the bare "
        f"model. Medians{below}."
    )
    if several:
        note += f" Ratio: to {benchmark.reference.name} with as many threads"
        has_intervals = any(latency.classify_ratio_interval for _, latency in pairs)
        note += "; intervals allow for differences between runs." if has_intervals else "."
    places = [latency is chosen[1] for _, latency in pairs]
    return _table("Latency", heads, rows, places.index(True), note)


def _time_cells(latency: Latency, *, several: bool) -> Iterator[Cell]:
    spread = latency.classify
    yield str(latency.threads)
    yield _with(spread.median_ms, spread.median_interval_ms)
    yield fixed(spread.p95_ms)
    yield fixed(spread.p99_ms)
    yield _with(latency.invoke.median_ms, latency.invoke.median_interval_ms)
    if several:
        yield _with(latency.classify_ratio, latency.classify_ratio_interval)
        yield _with(latency.invoke_ratio, latency.invoke_ratio_interval)


def _frame_stages(benchmark: Benchmark, threads: int) -> dict[str, Any]:
    latencies = [page_charts.with_threads(file, threads) for file in benchmark.files]
    note = (
        f"Medians with {counted(threads, 'thread')}. Resize: until the pixels are in the model’s "
        "input; post: from its scores to labels."
    )
    rows = [tuple(entry.parts) for entry in latencies]
    return _bars("Stages of a frame", benchmark, rows, ("resize", "invoke", "post"), note)


def _start(benchmark: Benchmark) -> dict[str, Any]:
    rows = [(file.footprint.load_ms, file.footprint.first_ms) for file in benchmark.files]
    note = "Once, in a separate process, after the libraries were imported."
    return _bars("Start-up", benchmark, rows, ("load", "first inference"), note)


def _bars(
    title: str,
    benchmark: Benchmark,
    rows: Sequence[Sequence[float]],
    parts: Sequence[str],
    note: str,
    label: str = "time (ms)",
) -> dict[str, Any]:
    chart = page_charts.bars(benchmark.short_names, rows, parts, label)
    colours = legend(zip(SERIES, parts, strict=False))
    return {"title": title, "legend": colours, "chart": chart, "note": note}


def _distribution(benchmark: Benchmark, threads: int) -> Iterator[dict[str, Any]]:
    chart = page_charts.distributions(benchmark, threads)
    if chart is None:
        return
    rows = [page_charts.with_threads(file, threads).classify for file in benchmark.files]
    runs = min(row.runs for row in rows)
    note = (
        f"At least {runs} frames of each file with {counted(threads, 'thread')}. Line: median; "
        "dashed: 95 % were faster; the slowest may lie beyond the right end."
    )
    # Of fewer frames nobody knows what 1 % is.
    if runs >= _FRAMES_FOR_P99:
        worst_ms = max(row.p99_ms for row in rows)
        note += f" With the slowest file 1 % took more than {worst_ms:.2f} ms."
    yield {"title": "Latency distribution", "legend": "", "chart": chart, "note": note}


def _threads(benchmark: Benchmark) -> dict[str, Any]:
    counts = [latency.threads for latency in benchmark.files[0].latencies]
    if len(counts) == 1:
        note = f"Measured with {counted(counts[0], 'thread')} only. Add --threads 1,2,4 to compare."
        return {"title": "Threads", "legend": "", "chart": None, "note": note}
    return {
        "title": "Threads",
        "legend": legend(zip(page_charts.colours(benchmark), benchmark.short_names, strict=True)),
        "chart": page_charts.scaling(benchmark),
        "note": "Speed-up of the median time per frame. Dashed: in proportion to the threads.",
    }


def _operators(benchmark: Benchmark) -> dict[str, Any] | None:
    """Return where the time of an inference goes inside the files, None where unknown."""
    if not all(file.stages for file in benchmark.files):
        return None
    each = [by_kind(file.stages or ()) for file in benchmark.files]
    kinds = _kinds(each)
    rows = [
        [
            sum(own[name] for name in own if name not in kinds)
            if kind == _OTHERS
            else own.get(kind, 0.0)
            for kind in kinds
        ]
        for own in each
    ]
    note = (
        f"With {counted(benchmark.files[0].latencies[0].threads, 'thread')}. An operator's time is "
        "how much longer a model that ends with it takes than one that ends before it."
    )
    drawn = _bars("Operators", benchmark, rows, kinds, note, "time of an inference (ms)")
    return {**drawn, "tables": [_slowest(file.name, file.stages or ()) for file in benchmark.files]}


def _kinds(each: Sequence[dict[str, float]]) -> list[str]:
    """Return the kinds that take most, as many as there are colours, the rest as one."""
    kinds = dict.fromkeys(kind for own in each for kind in own)
    ordered = sorted(kinds, key=lambda kind: -sum(own.get(kind, 0.0) for own in each))
    if len(ordered) <= len(SERIES):
        return ordered
    return [*ordered[: len(SERIES) - 1], _OTHERS]


def _slowest(name: str, stages: Sequence[Stage]) -> dict[str, Any]:
    total_ms = sum(stage.time_ms for stage in stages)
    numbered = sorted(enumerate(stages, 1), key=lambda item: -item[1].time_ms)[:_SLOWEST_SHOWN]
    rows = []
    for number, stage in numbered:
        counts = Counter(stage.operators).items()
        names = ", ".join(f"{count} × {kind}" if count > 1 else kind for kind, count in counts)
        share = 100 * stage.time_ms / total_ms if total_ms else 0.0
        cells = fixed(stage.time_ms, 3), fixed(share, 1), fixed(stage.macs / 1e6, 1)
        rows.append((f"{number}. {names}", *cells))
    title = f"{name}: the {len(rows)} slowest of {len(stages)}"
    return {"title": title, "heads": ("operator", "ms", "%", "MMACs"), "rows": rows}


def _disagreements(benchmark: Benchmark) -> Iterator[dict[str, Any]]:
    """Yield what each file predicts where the reference predicts something else.

    One is open: the int8 file, or else the first.
    """
    shown = [file for file in benchmark.files if file.answer_pairs is not None]
    opened = next((file for file in shown if file.format == "int8"), shown[0] if shown else None)
    for file in shown:
        pairs = file.answer_pairs or ()
        apart = [pair for pair in pairs if pair.own != pair.reference]
        answers = sorted({pair.own for pair in pairs} | {pair.reference for pair in pairs})
        is_small = len(answers) <= _MOST_IN_MATRIX
        yield {
            "file": file.name,
            "own": file.format or file.name,
            "is_open": file is opened,
            "count": sum(pair.photos for pair in apart),
            "total": sum(pair.photos for pair in pairs),
            "answers": answers,
            "matrix": list(_matrix(pairs, answers)) if apart and is_small else None,
            "rows": [(pair.reference, pair.own, str(pair.photos)) for pair in apart][
                :_PAIRS_LISTED
            ],
            "rest": len(apart) - _PAIRS_LISTED,
        }


def _matrix(pairs: Sequence[AnswerPair], answers: Sequence[str]) -> Iterator[dict[str, Any]]:
    counts = {(pair.reference, pair.own): pair.photos for pair in pairs}
    for row in answers:
        most = max(1, sum(counts.get((row, other), 0) for other in answers))
        cells = []
        for column in answers:
            photos = counts.get((row, column), 0)
            # By the root, since a handful among hundreds is what there is to see.
            shade = f"{0.5 * (photos / most) ** 0.5:.2f}"
            colour = _SAME if row == column else _OTHER
            cells.append({"photos": photos, "shade": shade, "colour": colour})
        yield {"name": row, "cells": cells}


def _table(
    title: str, heads: Sequence[str], rows: Iterable[Sequence[Cell]], chosen: int, note: str
) -> dict[str, Any]:
    return {"title": title, "heads": heads, "rows": list(rows), "chosen": chosen, "note": note}


def _with(value: float, interval: Interval | None, digits: int = 2) -> Cell:
    text = fixed(value, digits)
    return (text, f"{interval[0]:.{digits}f}–{interval[1]:.{digits}f}") if interval else text


def _megabytes(count: int | None) -> float | None:
    return None if count is None else count / BYTES_PER_MB
