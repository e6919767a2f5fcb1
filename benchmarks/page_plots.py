"""The charts of a benchmark's page beside the choice: how times spread, their parts, threads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pocketlens.benchmarks import svg as charts
from pocketlens.benchmarks.results import Benchmark, FileResult, Latency
from pocketlens.benchmarks.sustained import Sustained
from pocketlens.benchmarks.svg import COLOURS, Scale

WIDTH = 440

_ROW = 58.0
BELOW_AXIS = 42.0
_BINS = 150


def short_names(benchmark: Benchmark) -> list[str]:
    """Return what charts call the files: their formats where these tell them apart."""
    formats = [file.format for file in benchmark.files]
    if len(set(formats)) == len(formats) and all(formats):
        return [str(entry) for entry in formats]
    return [file.name.removesuffix(".tflite") for file in benchmark.files]


def colour_of(index: int) -> str:
    """Return the colour that a file has in all charts."""
    return COLOURS[index % len(COLOURS)]


def distributions(benchmark: Benchmark, threads: int) -> str:
    """Draw how often each file took how long for a frame, with so many threads."""
    rows = [(file, _with_threads(file, threads)) for file in benchmark.files]
    spreads = [latency.classify for _, latency in rows]
    # A few runs that took ten times as long would leave no room for all the others.
    low, high = min(s.min_ms for s in spreads), max(s.p95_ms for s in spreads)
    margin = max(0.06 * (high - low), 0.01 * high)
    x = Scale(max(0.0, low - margin), high + margin, 8, WIDTH - 8)
    bottom = _ROW * len(rows) + 4
    edges = np.linspace(x.low, x.high, _BINS + 1)
    marks = charts.x_axis(x, 4, bottom, "time for a frame (ms)")
    for index, (name, (_, latency)) in enumerate(zip(short_names(benchmark), rows, strict=True)):
        spread, base = latency.classify, _ROW * (index + 1)
        counts, _ = np.histogram(latency.runs_ms, edges)
        heights = (_ROW - 24) * counts / max(1, counts.max())
        spots = [(x.from_px, base)]
        for bin_index, height in enumerate(heights):
            spots += [(x.at(edge), base - height) for edge in edges[bin_index : bin_index + 2]]
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in [*spots, (x.to_px, base)])
        marks.append(f'<polygon points="{points}" fill="{colour_of(index)}" fill-opacity=".7"/>')
        marks.append(charts.line(x.from_px, base, x.to_px, base, kind="grid"))
        for value, kind in ((spread.median_ms, "ink"), (spread.p95_ms, "dashed")):
            marks.append(charts.line(x.at(value), base - _ROW + 22, x.at(value), base, kind=kind))
        figures = f"median {spread.median_ms:.2f}, p95 {spread.p95_ms:.2f} ms"
        marks += _row_heading(name, figures, base - _ROW + 16)
    return charts.chart(WIDTH, bottom + BELOW_AXIS, "How the times for a frame spread", marks)


def bars(
    names: Sequence[str], rows: Sequence[Sequence[float]], parts: Sequence[str], label: str
) -> str:
    """Draw a bar for each name, in milliseconds, put together of the parts of its row."""
    x = Scale(0, 1.04 * max(sum(row) for row in rows), 8, WIDTH - 8)
    height = 44.0
    bottom = height * len(rows) + 4
    marks = charts.x_axis(x, 4, bottom, label)
    for index, (name, row) in enumerate(zip(names, rows, strict=True)):
        top = height * index + 22
        marks += _row_heading(name, f"{sum(row):.2f} ms", top - 6)
        at = 0.0
        for part, colour, value in zip(parts, COLOURS, row, strict=False):
            title = f"{name}, {part}: {value:.3f} ms"
            width = x.at(at + value) - x.at(at)
            marks.append(charts.bar(x.at(at), top, width, height - 26, colour, title))
            at += value
    return charts.chart(WIDTH, bottom + BELOW_AXIS, label, marks)


def scaling(benchmark: Benchmark) -> str:
    """Draw how many times as fast each file becomes with more threads, beside the ideal."""
    counts = [latency.threads for latency in benchmark.files[0].latencies]
    speeds = [
        [
            file.latencies[0].classify.median_ms / entry.classify.median_ms
            for entry in file.latencies
        ]
        for file in benchmark.files
    ]
    ideal = [count / counts[0] for count in counts]
    x = Scale(counts[0], counts[-1], 44, WIDTH - 12)
    y = Scale(0, 1.08 * max(max(ideal), *map(max, speeds)), 300 - BELOW_AXIS, 34)
    marks = charts.y_axis(
        y, x.from_px, x.to_px, f"times as fast as with {threads_text(counts[0])}", y.to_px
    )
    for count in counts:
        at = x.at(count)
        marks.append(charts.line(at, y.to_px, at, y.from_px, kind="grid"))
        marks.append(charts.text(at, y.from_px + 16, str(count), anchor="middle", kind="faint"))
    marks.append(charts.text(x.to_px, y.from_px + 34, "threads", anchor="end", kind="faint"))
    spots = [(x.at(count), y.at(value)) for count, value in zip(counts, ideal, strict=True)]
    marks.append(charts.polyline(spots, kind="dashed"))
    for index, row in enumerate(speeds):
        extra = f' stroke="{colour_of(index)}" stroke-width="2.5"'
        spots = [(x.at(count), y.at(value)) for count, value in zip(counts, row, strict=True)]
        marks.append(charts.polyline(spots, extra=extra))
        marks += [
            charts.circle(*spot, 3.5, f"{value:.2f}", f' fill="{colour_of(index)}"')
            for spot, value in zip(spots, row, strict=True)
        ]
    return charts.chart(WIDTH, 300, "Speed with more threads", marks)


def endurance(sustained: Sustained) -> str:
    """Draw the time for a frame over the minutes of a run without a pause."""
    medians_ms = [moment.median_ms for moment in sustained.moments]
    p95s_ms = [moment.p95_ms for moment in sustained.moments]
    x, minutes = _minutes(sustained)
    # A single hiccup would press the curve flat; it is cut off at the top.
    top_ms = 1.2 * max(*medians_ms, float(np.percentile(p95s_ms, 90)))
    y = Scale(0, top_ms, 300 - BELOW_AXIS, 34)
    median, p95 = (
        [(at, y.at(min(value, top_ms))) for at, value in zip(minutes, values, strict=True)]
        for values in (medians_ms, p95s_ms)
    )
    marks = [
        *charts.y_axis(y, x.from_px, x.to_px, "time for a frame (ms)", y.to_px),
        *charts.x_axis(x, y.to_px, y.from_px, "time since the start (min)"),
        charts.polyline(p95, kind="dashed"),
        charts.polyline(median, extra=f' stroke="{COLOURS[0]}" stroke-width="2"'),
    ]
    return charts.chart(WIDTH, 300, "Time for a frame over the minutes", marks)


def temperature(sustained: Sustained) -> str:
    """Draw the temperature over the minutes of a run without a pause, "" where none was told."""
    told = sustained.temperatures_c
    if not told:
        return ""
    x, minutes = _minutes(sustained)
    y = Scale(min(told) - 5, max(told) + 5, 300 - BELOW_AXIS, 34)
    spots = [
        (at, y.at(moment.temperature_c))
        for at, moment in zip(minutes, sustained.moments, strict=True)
        if moment.temperature_c is not None
    ]
    marks = [
        *charts.y_axis(y, x.from_px, x.to_px, "temperature of the processor (°C)", y.to_px),
        *charts.x_axis(x, y.to_px, y.from_px, "time since the start (min)"),
        charts.polyline(spots, extra=f' stroke="{COLOURS[1]}" stroke-width="2"'),
    ]
    return charts.chart(WIDTH, 300, "Temperature over the minutes", marks)


def threads_text(count: int) -> str:
    """Return "1 thread", "2 threads"."""
    return f"{count} thread{'s' if count > 1 else ''}"


def _minutes(sustained: Sustained) -> tuple[Scale, list[float]]:
    """Return the scale of time, and where each moment stands on it."""
    x = Scale(0, sustained.moments[-1].at_s / 60, 44, WIDTH - 12)
    return x, [x.at(moment.at_s / 60) for moment in sustained.moments]


def _with_threads(file: FileResult, threads: int) -> Latency:
    return next(entry for entry in file.latencies if entry.threads == threads)


def _row_heading(name: str, figures: str, y: float) -> list[str]:
    width = WIDTH - 16 - charts.text_size(figures)[0]
    return [
        charts.text(8, y, charts.cut(name, width), kind="strong"),
        charts.text(WIDTH - 8, y, figures, anchor="end", kind="faint"),
    ]
