"""The chart of the choice: accuracy (or size) against time, a circle for each measurement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pocketlens.benchmarks import svg as charts
from pocketlens.benchmarks.naming import Box, Circle, place_names
from pocketlens.benchmarks.page_plots import BELOW_AXIS, colour_of, short_names, threads_text
from pocketlens.benchmarks.results import Benchmark, FileResult, Latency
from pocketlens.benchmarks.svg import Scale


@dataclass(frozen=True)
class Format:
    """The size of the picture in pixels, and the radius of the largest file's circle."""

    width: float
    height: float
    largest_radius: float


BROAD = Format(900, 420, 24)
NARROW = Format(440, 400, 17)

_LEFT, _TOP = 44.0, 34.0
# Below this a circle would not be seen; such sizes are not to scale.
_SMALLEST_RADIUS = 3.0


@dataclass(frozen=True)
class _Dot:
    """One measurement as it is drawn; `whisker` is the interval around `value`."""

    index: int
    name: str
    file: FileResult
    latency: Latency
    value: float
    whisker: tuple[float, float]
    radius: float

    @property
    def time_ms(self) -> float:
        return self.latency.classify.median_ms

    @property
    def title(self) -> str:
        share = f", {self.value:.1f} %" if self.file.accuracy else ""
        return (
            f"{self.file.name}, {threads_text(self.latency.threads)}: {self.time_ms:.2f} ms, "
            f"{self.file.size_mb:.2f} MB{share}"
        )


@dataclass(frozen=True)
class _Plane:
    """The two scales."""

    x: Scale
    y: Scale

    def at(self, dot: _Dot) -> tuple[float, float]:
        return self.x.at(dot.time_ms), self.y.at(dot.value)


def choice(benchmark: Benchmark, size: Format) -> str:
    """Draw accuracy, or size where no pictures were given, against the time for a frame.

    Filled and named is each file with the number of threads that is fastest for it, hollow the
    others. The dashed line joins those that none beats in both (the Pareto front).
    """
    dots = _dots(benchmark, size)
    named = [
        next(d for d in dots if d.index == index and d.latency is _fastest(file))
        for index, file in enumerate(benchmark.files)
    ]
    others = [dot for dot in dots if dot is not named[dot.index]]
    plane = _plane(benchmark, size, dots)
    front = _front(dots, bool(benchmark.photos), plane)
    taken = [*(_disc(dot, plane) for dot in others), *_along(front)]
    label = f"{benchmark.measure} (%)" if benchmark.photos else "file size (MB)"
    marks = [
        *charts.x_axis(plane.x, _TOP, plane.y.from_px, "time for a frame, median (ms)", 8),
        *charts.y_axis(plane.y, _LEFT, plane.x.to_px, label, _TOP),
        charts.polyline(front, kind="dashed"),
        *(_hollow(dot, plane) for dot in others),
        *(_filled(dot, plane) for dot in named),
        *_names(named, taken, plane),
    ]
    return charts.chart(size.width, size.height, f"{label} against the time for a frame", marks)


def fastest_threads(benchmark: Benchmark) -> set[int]:
    """Return with which numbers of threads the files are fastest."""
    return {_fastest(file).threads for file in benchmark.files}


def _fastest(file: FileResult) -> Latency:
    return min(file.latencies, key=lambda latency: latency.classify.median_ms)


def _dots(benchmark: Benchmark, size: Format) -> list[_Dot]:
    most = max(file.size_bytes for file in benchmark.files)
    counts = fastest_threads(benchmark)
    dots = []
    for index, (file, short) in enumerate(
        zip(benchmark.files, short_names(benchmark), strict=True)
    ):
        value, whisker = file.size_mb, (file.size_mb, file.size_mb)
        if file.accuracy:
            low, high = file.accuracy.interval
            value, whisker = 100 * file.accuracy.share, (100 * low, 100 * high)
        radius = max(_SMALLEST_RADIUS, size.largest_radius * math.sqrt(file.size_bytes / most))
        for entry in file.latencies:
            name = charts.cut(short, size.width / 2.5)
            name += f", {threads_text(entry.threads)}" if len(counts) > 1 else ""
            dots.append(_Dot(index, name, file, entry, value, whisker, radius))
    return dots


def _plane(benchmark: Benchmark, size: Format, dots: Sequence[_Dot]) -> _Plane:
    low, high = min(dot.whisker[0] for dot in dots), max(dot.whisker[1] for dot in dots)
    if benchmark.photos:
        room = max(0.2 * (high - low), 0.5)
        low, high = low - room, min(high + room, 100.0)
    else:
        low, high = 0.0, 1.12 * high
    # From zero, so that twice as far right is twice as slow.
    x = Scale(0, 1.15 * max(dot.time_ms for dot in dots), _LEFT, size.width - 8)
    # Above a circle at 100 % there still is room for its upper half.
    return _Plane(x, Scale(low, high, size.height - BELOW_AXIS, _TOP + size.largest_radius))


def _front(dots: Sequence[_Dot], is_more_better: bool, plane: _Plane) -> list[tuple[float, float]]:
    """Return the steps from the fastest to the best; what no dot reaches lies above them."""
    sign = 1 if is_more_better else -1
    spots: list[tuple[float, float]] = []
    best = -math.inf
    for dot in sorted(dots, key=lambda dot: (dot.time_ms, -sign * dot.value)):
        if sign * dot.value > best:
            best = sign * dot.value
            x, y = plane.at(dot)
            spots += [(x, spots[-1][1]), (x, y)] if spots else [(x, y)]
    return [*spots, (plane.x.to_px, spots[-1][1])]


def _hollow(dot: _Dot, plane: _Plane) -> str:
    extra = f' fill="none" stroke="{colour_of(dot.index)}" stroke-opacity=".6"'
    return charts.circle(*plane.at(dot), dot.radius, dot.title, extra)


def _filled(dot: _Dot, plane: _Plane) -> str:
    colour = colour_of(dot.index)
    x, (low, high) = plane.x.at(dot.time_ms), map(plane.y.at, dot.whisker)
    extra = f' fill="{colour}" fill-opacity=".6" stroke="{colour}"'
    whisker = charts.line(x, low, x, high, kind="", extra=f' stroke="{colour}"')
    return whisker + charts.circle(*plane.at(dot), dot.radius, dot.title, extra)


def _names(named: Sequence[_Dot], taken: Sequence[Box], plane: _Plane) -> list[str]:
    circles = [
        Circle(
            plane.at(dot),
            dot.radius,
            (plane.y.at(dot.whisker[0]), plane.y.at(dot.whisker[1])),
            charts.text_size(dot.name),
        )
        for dot in named
    ]
    room = Box(_LEFT, _TOP, plane.x.to_px, plane.y.from_px)
    marks = []
    for dot, one, place in zip(named, circles, place_names(circles, room, taken), strict=True):
        x, y = place.box.middle
        if place.has_line:
            marks.append(charts.line(*one.centre, *place.box.nearest(one.centre), kind="faint ink"))
        marks.append(charts.text(x, y + 4, dot.name, anchor="middle", kind="strong"))
    return marks


def _disc(dot: _Dot, plane: _Plane) -> Box:
    x, y = plane.at(dot)
    return Box(x - dot.radius, y - dot.radius, x + dot.radius, y + dot.radius)


def _along(spots: Sequence[tuple[float, float]]) -> list[Box]:
    """Return what the lines from spot to spot cover; they are level or upright."""
    return [
        Box(min(x0, x1) - 1, min(y0, y1) - 1, max(x0, x1) + 1, max(y0, y1) + 1)
        for (x0, y0), (x1, y1) in pairwise(spots)
    ]
