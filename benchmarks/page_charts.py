"""What a benchmark's page draws: the choice, and how times spread, add up and change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from pocketlens.benchmarks.results import Benchmark, FileResult, Latency
from pocketlens.benchmarks.sustained import Sustained
from pocketlens.choices import FORMATS
from pocketlens.report.charts import (
    FAINT,
    HALF,
    INK,
    PHONE,
    SERIES,
    WHOLE,
    Chart,
    Spot,
    fitted,
    fix_layout,
    label_axes,
    legend_above,
    name_spots,
    tip,
    width_px,
)
from pocketlens.report.html import counted

_NARROW_PX = 500
# Below this a circle would not be seen; such sizes are not to scale.
_SMALLEST_RADIUS = 3.0
_ROW_PX = 58.0
_BELOW_PX = 46.0
_PADDING_PX = 14.0


def choice(benchmark: Benchmark) -> Chart:
    """Draw accuracy, or size where no photos were given, against the time per frame.

    Filled and named is each file with the number of threads that is fastest for it, hollow the
    others. The dashed line joins those that none beats in both (the Pareto front).
    """
    label = f"{benchmark.measure} (%)" if benchmark.photos else "file size (MB)"
    return Chart(
        lambda figure: _draw_choice(figure, benchmark, label),
        f"{label} against the time per frame",
        WHOLE,
        PHONE,
    )


def write_plot(benchmark: Benchmark, path: Path) -> None:
    """Write the chart of the choice as a file, with the machine above it.

    Raises:
        OutputError: the file cannot be written.
    """
    machine = f"{benchmark.machine.cpu}, {counted(benchmark.machine.cores, 'core')}"
    choice(benchmark).write(path, f"{machine}. A circle’s area is the file’s size.")


def fastest(file: FileResult) -> Latency:
    """Return how fast a file is with the number of threads that suits it best."""
    return min(file.latencies, key=lambda latency: latency.classify.median_ms)


def bars(
    names: Sequence[str], rows: Sequence[Sequence[float]], parts: Sequence[str], label: str
) -> Chart:
    """Draw a bar for each name, in milliseconds, stacked of the parts of its row."""

    def draw(figure: Figure) -> None:
        axes = _rows(figure, len(rows))
        for index, (name, row) in enumerate(zip(names, rows, strict=True)):
            _row_heading(figure, axes, index, name, f"{sum(row):.2f} ms")
            left = 0.0
            for part, colour, value in zip(parts, SERIES, row, strict=False):
                (mark,) = axes.barh(-index - 0.63, value, 0.38, left, color=colour)
                tip(mark, f"{name}, {part}: {value:.3f} ms")
                left += value
        axes.set_xlim(0, 1.04 * max(max(sum(row) for row in rows), 1e-6))
        label_axes(axes, label)

    height = 44.0 * len(rows) + _BELOW_PX
    return Chart(draw, label, (HALF[0], height))


def distributions(benchmark: Benchmark, threads: int) -> Chart | None:
    """Draw how often each file took how long for a frame, with so many threads."""
    latencies = [with_threads(file, threads) for file in benchmark.files]
    if not all(latency.histogram for latency in latencies):
        return None
    spreads = [latency.classify for latency in latencies]
    # A few runs that took ten times as long would leave no room for all the others.
    low, high = min(s.min_ms for s in spreads), max(s.p95_ms for s in spreads)
    margin = max(0.06 * (high - low), 0.01 * high)

    def draw(figure: Figure) -> None:
        axes = _rows(figure, len(latencies))
        axes.set_xlim(max(0.0, low - margin), high + margin)
        entries = zip(benchmark.short_names, latencies, colours(benchmark), strict=True)
        for index, (name, latency, colour) in enumerate(entries):
            spread, base, histogram = latency.classify, -index - 0.93, latency.histogram
            assert histogram is not None  # noqa: S101 - looked at above
            counts = np.array(histogram.counts)
            edges = np.linspace(histogram.from_ms, histogram.to_ms, len(counts) + 1)
            axes.stairs(
                base + 0.6 * counts / max(1, counts.max()),
                edges,
                baseline=base,
                fill=True,
                color=colour,
                alpha=0.7,
            )
            axes.axhline(base, color=FAINT, linewidth=0.5)
            axes.vlines(spread.median_ms, base, base + 0.62, INK, linewidth=1)
            axes.vlines(spread.p95_ms, base, base + 0.62, INK, "--", linewidth=1, alpha=0.6)
            figures = f"median {spread.median_ms:.2f}, p95 {spread.p95_ms:.2f} ms"
            _row_heading(figure, axes, index, name, figures)
        label_axes(axes, "time per frame (ms)")

    height = _ROW_PX * len(latencies) + _BELOW_PX
    alt = "How the times per frame are distributed"
    return Chart(draw, alt, (HALF[0], height))


def scaling(benchmark: Benchmark) -> Chart:
    """Draw how many times as fast each file becomes with more threads, beside the ideal."""
    counts = [latency.threads for latency in benchmark.files[0].latencies]
    ideal = [count / counts[0] for count in counts]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(counts, ideal, "--", color=INK, linewidth=1, alpha=0.5)
        for file, colour in zip(benchmark.files, colours(benchmark), strict=True):
            first_ms = file.latencies[0].classify.median_ms
            speeds = [first_ms / entry.classify.median_ms for entry in file.latencies]
            axes.plot(counts, speeds, "o-", color=colour, linewidth=2.5, markersize=6)
        axes.set_xticks(counts)
        axes.set_ylim(0)
        axes.grid()
        label_axes(axes, "threads", f"times as fast as with {counted(counts[0], 'thread')}")

    return Chart(draw, "Speed with more threads")


def endurance(sustained: Sustained) -> Chart:
    """Draw the time per frame over the minutes of a sustained run."""
    medians_ms = [moment.median_ms for moment in sustained.moments]
    p95s_ms = [moment.p95_ms for moment in sustained.moments]
    # A single hiccup would press the curve flat; it is cut off at the top.
    top_ms = 1.2 * max(*medians_ms, float(np.percentile(p95s_ms, 90)))

    def draw(figure: Figure) -> None:
        axes = _over_minutes(figure, sustained, "time per frame (ms)")
        axes.plot(_minutes(sustained), p95s_ms, "--", color=INK, linewidth=1, alpha=0.5)
        axes.plot(_minutes(sustained), medians_ms, color=SERIES[0], linewidth=2)
        axes.set_ylim(0, top_ms)

    return Chart(draw, "Time per frame over the minutes")


def temperature(sustained: Sustained) -> Chart | None:
    """Draw the temperature over the minutes of a sustained run, None where none was told."""
    told = sustained.temperatures_c
    if not told:
        return None

    def draw(figure: Figure) -> None:
        axes = _over_minutes(figure, sustained, "temperature of the processor (°C)")
        heat = [math.nan if m.temperature_c is None else m.temperature_c for m in sustained.moments]
        axes.plot(_minutes(sustained), heat, color=SERIES[1], linewidth=2)
        axes.set_ylim(min(told) - 5, max(told) + 5)

    return Chart(draw, "Temperature over the minutes")


def colours(benchmark: Benchmark) -> list[str]:
    """Return the colour that each file has in all charts.

    It is its format's, the same on every page, unless two files are of one format.
    """
    formats = [file.format for file in benchmark.files]
    places = [FORMATS.index(kind) if kind in FORMATS else len(FORMATS) for kind in formats]
    if len(set(places)) < len(places):
        places = list(range(len(places)))
    return [SERIES[place % len(SERIES)] for place in places]


def with_threads(file: FileResult, threads: int) -> Latency:
    """Return how fast a file is with so many threads."""
    return next(entry for entry in file.latencies if entry.threads == threads)


@dataclass(frozen=True)
class _Dot:
    """One measurement as it is drawn; `low` and `high` are the interval around `value`."""

    index: int
    file: FileResult
    latency: Latency
    value: float
    low: float
    high: float
    radius: float

    @property
    def time_ms(self) -> float:
        return self.latency.classify.median_ms

    @property
    def title(self) -> str:
        share = f", {self.value:.1f} %" if self.file.accuracy else ""
        return (
            f"{self.file.name}, {counted(self.latency.threads, 'thread')}: {self.time_ms:.2f} ms, "
            f"{self.file.size_mb:.2f} MB{share}"
        )


def _draw_choice(figure: Figure, benchmark: Benchmark, label: str) -> None:
    axes = figure.subplots()
    is_narrow = width_px(figure) < _NARROW_PX
    dots = _dots(benchmark, 17.0 if is_narrow else 24.0)
    _scale(axes, benchmark, dots)
    axes.grid()
    label_axes(axes, "median time per frame (ms)", label)
    front = _front(dots, bool(benchmark.photos))
    front.append((axes.get_xlim()[1], front[-1][1]))
    axes.plot(*zip(*front, strict=True), "--", color=INK, linewidth=1, alpha=0.5)
    several = len({fastest(file).threads for file in benchmark.files}) > 1
    own_colours, spots, others = colours(benchmark), list[Spot](), list[_Dot]()
    # A phone has no room for names beside the circles, where colours tell them apart.
    has_legend = is_narrow and 1 < len(benchmark.files) <= len(SERIES)
    for dot in dots:
        is_named, colour = dot.latency is fastest(dot.file), own_colours[dot.index]
        mark = axes.scatter(
            dot.time_ms,
            dot.value,
            s=(2 * dot.radius) ** 2,
            facecolor=(colour, 0.6) if is_named else "none",
            edgecolor=(colour, 1 if is_named else 0.6),
            clip_on=False,
            zorder=3,
        )
        tip(mark, dot.title)
        if not is_named:
            others.append(dot)
            continue
        axes.vlines(dot.time_ms, dot.low, dot.high, colour, linewidth=1)
        threads = f", {counted(dot.latency.threads, 'thread')}" if several else ""
        name = fitted(benchmark.short_names[dot.index], width_px(figure) / 2.5) + threads
        if has_legend:
            axes.plot([], [], "o", color=colour, label=name)
            continue
        spots.append(Spot(name, dot.time_ms, dot.value, dot.radius, dot.low, dot.high))
    if has_legend:
        legend_above(figure, 2)
        return
    fix_layout(figure)
    at = axes.transData.transform
    taken = [Bbox([at((d.time_ms, d.value))] * 2).padded(d.radius) for d in others]
    steps = [at(spot) for spot in front]
    taken += [Bbox([np.minimum(a, b), np.maximum(a, b)]).padded(1) for a, b in pairwise(steps)]
    name_spots(axes, spots, taken)


def _dots(benchmark: Benchmark, largest_radius: float) -> list[_Dot]:
    most = max(file.size_bytes for file in benchmark.files)
    dots = []
    for index, file in enumerate(benchmark.files):
        value = low = high = file.size_mb
        if file.accuracy:
            value = 100 * file.accuracy.share
            low, high = (100 * end for end in file.accuracy.interval)
        radius = max(_SMALLEST_RADIUS, largest_radius * math.sqrt(file.size_bytes / most))
        dots += [_Dot(index, file, entry, value, low, high, radius) for entry in file.latencies]
    return dots


def _scale(axes: Axes, benchmark: Benchmark, dots: Sequence[_Dot]) -> None:
    # From zero, so that twice as far right is twice as slow.
    axes.set_xlim(0, 1.15 * max(dot.time_ms for dot in dots))
    low, high = min(dot.low for dot in dots), max(dot.high for dot in dots)
    if not benchmark.photos:
        axes.set_ylim(0, 1.15 * high)
        return
    room = max(0.2 * (high - low), 0.5)
    axes.set_ylim(low - room, high + room)
    ticks = [tick for tick in axes.get_yticks() if max(low - room, 0) <= tick <= 100]
    axes.set_yticks(ticks)
    axes.set_ylim(low - room, high + room)


def _front(dots: Sequence[_Dot], is_more_better: bool) -> list[tuple[float, float]]:
    """Return the steps from the fastest to the best; what no dot reaches lies beyond them."""
    sign = 1 if is_more_better else -1
    steps: list[tuple[float, float]] = []
    best = -math.inf
    for dot in sorted(dots, key=lambda dot: (dot.time_ms, -sign * dot.value)):
        if sign * dot.value > best:
            best = sign * dot.value
            steps += [(dot.time_ms, steps[-1][1])] if steps else []
            steps.append((dot.time_ms, dot.value))
    return steps


def _rows(figure: Figure, count: int) -> Axes:
    """Return axes with room for so many rows with headings, one below the other from 0 down."""
    axes = figure.subplots()
    axes.set_ylim(-count - 0.05, 0.05)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    return axes


def _row_heading(figure: Figure, axes: Axes, index: int, name: str, figures: str) -> None:
    place = axes.get_yaxis_transform()
    axes.text(1, -index - 0.05, figures, color=FAINT, ha="right", va="top", transform=place)
    # Digits are narrower than bold letters, so that this leaves a gap between the two.
    room = width_px(figure) - _PADDING_PX - 8 * len(figures)
    name = fitted(name, room)
    axes.text(0, -index - 0.05, name, weight="bold", ha="left", va="top", transform=place)


def _over_minutes(figure: Figure, sustained: Sustained, label: str) -> Axes:
    axes = figure.subplots()
    axes.set_xlim(0, sustained.moments[-1].at_s / 60)
    axes.grid()
    label_axes(axes, "time since the start (min)", label)
    return axes


def _minutes(sustained: Sustained) -> list[float]:
    return [moment.at_s / 60 for moment in sustained.moments]
