"""A picture of the choice: accuracy (or size) against latency, one circle for each measurement."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens.benchmarks.plot_labels import Point, place_labels
from pocketlens.benchmarks.results import Benchmark, FileResult, Latency
from pocketlens.choices import BINARY, MULTICLASS, MULTILABEL
from pocketlens.errors import MissingDependencyError, UsageError
from pocketlens.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")

# Okabe and Ito's colours, which colour-blind people tell apart
# (https://jfly.uni-koeln.de/color/); one for each number of threads.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_GREY = "#5f6368"
_MEASURES = {MULTICLASS: "Top-1 accuracy", BINARY: "Accuracy", MULTILABEL: "Exact match ratio"}
# Area in square points of the largest file's circle.
_LARGEST_AREA = 900.0
_SMALLEST_AREA = 30.0


def check_plot(path: Path) -> None:
    """Raise before anything is measured if the plot cannot be drawn.

    Raises:
        UsageError: the file's name says no format that can be written.
        MissingDependencyError: matplotlib is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"Expected a plot's name to end in {', '.join(SUFFIXES)}. Received: {path}. Rename it."
        )
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependencyError(
            "Expected matplotlib for --plot. Received: none installed. "
            "Install it: pip install 'pocketlens[train]'"
        )


def write_plot(benchmark: Benchmark, path: Path) -> None:
    """Draw the measurements.

    Across: median milliseconds of `classify`. Up: accuracy in % with its 95 % interval, or
    the size in MB where no pictures were given. A circle's area is the file's size.

    Raises:
        UsageError, MissingDependencyError: see `check_plot`.
        OutputError: the file cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    # No pyplot: it would look for a display and keep the figure alive.
    figure = Figure(figsize=(8, 5.2), dpi=150, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    rows = [(file, entry) for file in benchmark.files for entry in file.latencies]
    _style(axes, benchmark, rows)
    points = _draw(figure, axes, benchmark, rows)
    # Labels are placed in pixels, so nothing may move afterwards.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    place_labels(figure, axes, points)
    with replacing(path) as partial:
        figure.savefig(partial)


def _style(axes: Axes, benchmark: Benchmark, rows: list[tuple[FileResult, Latency]]) -> None:
    what = "File size (MB)"
    if benchmark.photos:
        what = f"{_MEASURES[benchmark.task]} and its 95 % interval (%)"
    axes.set_ylabel(what, color=_GREY)
    axes.set_xlabel("Median time from a 1280×720 frame to labels (ms)", color=_GREY)
    axes.set_title(
        f"{benchmark.machine.cpu}, {benchmark.machine.cores} cores", loc="left", fontsize=10
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c8ccd0")
    axes.tick_params(colors=_GREY, length=3)
    axes.grid(color="#eceff1", linewidth=0.8)
    axes.set_axisbelow(True)
    # From zero, so that twice as far right is twice as slow.
    slowest = max(entry.classify.median_ms for _, entry in rows)
    axes.set_xlim(0, slowest * 1.3)
    values = [value for file, _ in rows for value in _range(file)]
    low, high = min(values), max(values)
    room = max(0.3 * (high - low), 0.05 if high < 1 else 0.5)
    axes.set_ylim((low - room) if benchmark.photos else 0, high + room)
    if benchmark.photos:
        axes.set_yticks([tick for tick in axes.get_yticks() if low - room <= tick <= 100])
        axes.set_ylim(low - room, high + room)


def _draw(
    figure: Figure, axes: Axes, benchmark: Benchmark, rows: list[tuple[FileResult, Latency]]
) -> list[Point]:
    largest = max(file.size_bytes for file in benchmark.files)
    colours: dict[int, str] = {}
    points = []
    for file, entry in rows:
        is_new = entry.threads not in colours
        colour = colours.setdefault(entry.threads, _COLOURS[len(colours) % len(_COLOURS)])
        x, y = entry.classify.median_ms, _height(file)
        # Below the smallest area a circle would not be seen; such sizes are not to scale.
        area = max(_LARGEST_AREA * file.size_bytes / largest, _SMALLEST_AREA)
        low, high = _range(file)
        axes.vlines(x, low, high, color=colour, alpha=0.45, linewidth=1.2, zorder=2)
        axes.scatter(x, y, s=area, color=colour, alpha=0.5, edgecolors="white", zorder=3)
        axes.scatter(x, y, s=4, color=colour, zorder=4)
        points.append(Point(file.name.removesuffix(".tflite"), x, y, low, high, area, colour))
        if is_new:
            plural = "s" if entry.threads > 1 else ""
            axes.scatter([], [], s=60, color=colour, label=f"{entry.threads} thread{plural}")
    axes.scatter([], [], s=0, color="none", label=f"Area: file size, up to {largest / 1e6:.1f} MB")
    figure.legend(
        loc="outside lower center",
        ncols=len(colours) + 1,
        frameon=False,
        fontsize=8,
        labelcolor=_GREY,
    )
    return points


def _height(file: FileResult) -> float:
    return 100 * file.accuracy.share if file.accuracy else file.size_mb


def _range(file: FileResult) -> tuple[float, float]:
    if file.accuracy is None:
        return file.size_mb, file.size_mb
    low, high = file.accuracy.interval
    return 100 * low, 100 * high
