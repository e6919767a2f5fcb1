"""Where names go beside circles: none over another, no line through a name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Spot = tuple[float, float]

# Where a name may go: these directions, beside the circle first, at these gaps from its edge in
# pixels; from the third gap on, and where circles overlap, a line joins the two.
_DIRECTIONS = tuple(
    math.radians(degrees)
    for degrees in (0, 180, 90, 270, *range(15, 90, 15), *range(105, 180, 15), *range(195, 270, 15))
) + tuple(math.radians(degrees) for degrees in range(285, 360, 15))
_GAPS = (6, 14, 28, 45, 65, 90, 120, 160, 200, 250, 300)
_LINE_FROM = 28
_MARGIN = 3
_STEPS = 40


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def middle(self) -> Spot:
        """Its centre."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

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

    def has(self, spot: Spot) -> bool:
        """Whether a spot lies within."""
        return self.x0 <= spot[0] <= self.x1 and self.y0 <= spot[1] <= self.y1

    def nearest(self, spot: Spot) -> Spot:
        """Return the spot of this box that is nearest to another."""
        return min(max(spot[0], self.x0), self.x1), min(max(spot[1], self.y0), self.y1)


@dataclass(frozen=True)
class Circle:
    """A circle to be named, in pixels; `whisker` is the upright line through it, from y to y."""

    centre: Spot
    radius: float
    whisker: tuple[float, float]
    name_wh: tuple[float, float]

    @property
    def boxes(self) -> tuple[Box, Box]:
        """What the circle and its whisker cover."""
        (x, y), radius = self.centre, self.radius
        return (
            Box(x - radius, y - radius, x + radius, y + radius),
            Box(x - 2, min(self.whisker), x + 2, max(self.whisker)),
        )


@dataclass(frozen=True)
class Place:
    """Where a name goes, and whether a line has to join it to its circle."""

    box: Box
    has_line: bool


def place_names(circles: Sequence[Circle], room: Box, taken: Sequence[Box] = ()) -> list[Place]:
    """Return a place in `room` for the name of each circle, off all circles and what is taken."""
    boxes = [*taken, *(box for circle in circles for box in circle.boxes)]
    discs = [circle.boxes[0] for circle in circles]
    places: list[Place] = []
    names: list[Box] = []
    lines: list[Spot] = []
    for circle, disc in zip(circles, discs, strict=True):
        apart = [other for other in discs if not other.overlaps(disc)]
        line_from = _LINE_FROM if len(apart) == len(discs) - 1 else 0
        free = [
            (box, gap)
            for box, gap in _candidates(circle)
            if box.is_in(room)
            and not any(box.overlaps(other) for other in boxes + names)
            and not any(box.has(spot) for spot in lines)
        ]
        clear = (
            (box, gap)
            for box, gap in free
            if gap < line_from
            or not any(
                other.has(spot) for spot in _line(circle.centre, box) for other in names + apart
            )
        )
        # Where it is crowded: better a line through a circle than a name over another, and better
        # that than none.
        box, gap = next(clear, free[0] if free else next(_candidates(circle)))
        names.append(box)
        places.append(Place(box, gap >= line_from))
        if gap >= line_from:
            lines += _line(circle.centre, box)
    return places


def _candidates(circle: Circle) -> Iterator[tuple[Box, int]]:
    width, height = (side + 2 * _MARGIN for side in circle.name_wh)
    for gap in _GAPS:
        for angle in _DIRECTIONS:
            # The box touches the circle of this radius with the side or corner that faces it.
            x = circle.centre[0] + math.cos(angle) * (circle.radius + gap)
            y = circle.centre[1] + math.sin(angle) * (circle.radius + gap)
            x += width / 2 * _side(math.cos(angle))
            y += height / 2 * _side(math.sin(angle))
            yield Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2), gap


def _side(direction: float) -> float:
    return 0.0 if abs(direction) < 0.1 else math.copysign(1.0, direction)


def _line(centre: Spot, box: Box) -> list[Spot]:
    end = box.nearest(centre)
    return [
        (
            centre[0] + (end[0] - centre[0]) * step / _STEPS,
            centre[1] + (end[1] - centre[1]) * step / _STEPS,
        )
        for step in range(_STEPS)
    ]
