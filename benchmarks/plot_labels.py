"""Names beside the circles of a plot, none over another, no line through a name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FONT_SIZE = 8
_MOST_CHARACTERS = 34
# Where a name may go: these directions, beside the circle first, at these gaps from its edge in
# pixels; from the third gap on, and where circles overlap, a line joins the two.
_DIRECTIONS = tuple(
    math.radians(degrees)
    for degrees in (0, 180, 90, 270, *range(15, 90, 15), *range(105, 180, 15), *range(195, 270, 15))
) + tuple(math.radians(degrees) for degrees in range(285, 360, 15))
_GAPS = (6, 14, 28, 45, 65, 90, 120, 160, 200)
_LINE_FROM = 28
_MARGIN = 3
_STEPS = 40

_Spot = tuple[float, float]


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


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlaps(self, other: Box) -> bool:
        """Whether the two have a part in common."""
        return (
            self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1
        )

    def is_in(self, other: Box) -> bool:
        """Whether this one lies within the other."""
        return (
            self.x0 >= other.x0
            and self.x1 <= other.x1
            and self.y0 >= other.y0
            and self.y1 <= other.y1
        )

    def has(self, spot: _Spot) -> bool:
        """Whether a spot lies within."""
        return self.x0 <= spot[0] <= self.x1 and self.y0 <= spot[1] <= self.y1

    def nearest(self, spot: _Spot) -> _Spot:
        """Return the spot of this box that is nearest to another."""
        return min(max(spot[0], self.x0), self.x1), min(max(spot[1], self.y0), self.y1)


def place_labels(figure: Figure, axes: Axes, points: list[Point]) -> None:
    """Name all points of axes whose layout is final."""
    pixels_per_point = figure.dpi / 72
    window = axes.get_window_extent()
    room = Box(window.x0, window.y0, window.x1, window.y1)
    centres: list[_Spot] = []
    radii = [math.sqrt(point.area / math.pi) * pixels_per_point for point in points]
    boxes: list[Box] = []
    for point, radius in zip(points, radii, strict=True):
        x, y = (float(value) for value in axes.transData.transform((point.x, point.y)))
        low, high = (
            float(axes.transData.transform((point.x, end))[1]) for end in (point.low, point.high)
        )
        centres.append((x, y))
        boxes += [
            Box(x - radius, y - radius, x + radius, y + radius),
            Box(x - 2, low, x + 2, high),
        ]
    circles = boxes[::2]
    names: list[Box] = []
    lines: list[_Spot] = []
    for index, (point, centre, radius) in enumerate(zip(points, centres, radii, strict=True)):
        apart = [circle for circle in circles if not circle.overlaps(circles[index])]
        line_from = _LINE_FROM if len(apart) == len(circles) - 1 else 0
        short = point.name
        if len(short) > _MOST_CHARACTERS:
            short = "…" + short[1 - _MOST_CHARACTERS :]
        text = axes.annotate(
            short,
            centre,
            xycoords="figure pixels",
            fontsize=_FONT_SIZE,
            color="#202124",
            ha="center",
            va="center",
            zorder=6,
        )
        extent = text.get_window_extent()
        candidates = _candidates(centre, radius, (extent.width, extent.height))
        box, gap = next(
            (
                (box, gap)
                for box, gap in candidates
                if box.is_in(room)
                and not any(box.overlaps(other) for other in boxes + names)
                and not any(box.has(spot) for spot in lines)
                and (
                    gap < line_from
                    or not any(
                        other.has(spot) for spot in _line(centre, box) for other in names + apart
                    )
                )
            ),
            # So crowded that nothing is free: better a name over another than none.
            next(_candidates(centre, radius, (extent.width, extent.height))),
        )
        names.append(box)
        text.set_position(((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2))
        if gap >= line_from:
            lines += _line(centre, box)
            ends = axes.transData.inverted().transform([centre, box.nearest(centre)])
            axes.plot(ends[:, 0], ends[:, 1], color=point.colour, linewidth=0.7, zorder=5)


def _candidates(
    centre: _Spot, radius: float, size: tuple[float, float]
) -> Iterator[tuple[Box, int]]:
    width, height = size[0] + 2 * _MARGIN, size[1] + 2 * _MARGIN
    for gap in _GAPS:
        for angle in _DIRECTIONS:
            # The box touches the circle of this radius with the side or corner that faces it.
            x = centre[0] + math.cos(angle) * (radius + gap)
            y = centre[1] + math.sin(angle) * (radius + gap)
            x += width / 2 * _side(math.cos(angle))
            y += height / 2 * _side(math.sin(angle))
            yield Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2), gap


def _side(direction: float) -> float:
    return 0.0 if abs(direction) < 0.1 else math.copysign(1.0, direction)


def _line(centre: _Spot, box: Box) -> list[_Spot]:
    end = box.nearest(centre)
    return [
        (
            centre[0] + (end[0] - centre[0]) * step / _STEPS,
            centre[1] + (end[1] - centre[1]) * step / _STEPS,
        )
        for step in range(_STEPS)
    ]


def _crosses(line: list[_Spot], boxes: list[Box]) -> bool:
    return any(box.has(spot) for spot in line for box in boxes)
