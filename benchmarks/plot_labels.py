"""Names beside the circles of a plot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pocketlens.benchmarks.naming import Box, Circle, place_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FONT_SIZE = 8
_MOST_CHARACTERS = 34


@dataclass(frozen=True)
class Point:
    """A circle to be named: centre and interval in data units, area in square points."""

    name: str
    x: float
    y: float
    low: float
    high: float
    area: float
    colour: str


def place_labels(figure: Figure, axes: Axes, points: list[Point]) -> None:
    """Name all points of axes whose layout is final."""
    pixels_per_point = figure.dpi / 72
    texts = []
    circles = []
    for point in points:
        short = point.name
        if len(short) > _MOST_CHARACTERS:
            short = "…" + short[1 - _MOST_CHARACTERS :]
        (x, y), (_, low), (_, high) = axes.transData.transform(
            [(point.x, height) for height in (point.y, point.low, point.high)]
        ).tolist()
        text = axes.annotate(
            short,
            (x, y),
            xycoords="figure pixels",
            fontsize=_FONT_SIZE,
            color="#202124",
            ha="center",
            va="center",
            zorder=6,
        )
        extent = text.get_window_extent()
        radius = math.sqrt(point.area / math.pi) * pixels_per_point
        texts.append(text)
        circles.append(Circle((x, y), radius, (low, high), (extent.width, extent.height)))
    window = axes.get_window_extent()
    places = place_names(circles, Box(window.x0, window.y0, window.x1, window.y1))
    for point, text, circle, place in zip(points, texts, circles, places, strict=True):
        text.set_position(place.box.middle)
        if place.has_line:
            ends = axes.transData.inverted().transform(
                [circle.centre, place.box.nearest(circle.centre)]
            )
            axes.plot(ends[:, 0], ends[:, 1], color=point.colour, linewidth=0.7, zorder=5)
