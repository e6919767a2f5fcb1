"""Marks, scales and axes of charts, as SVG that follows the colours of the page around it."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Okabe and Ito's colours, which colour-blind people tell apart
# (https://jfly.uni-koeln.de/color/), without black and yellow, of which a page has one behind it.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")

STYLE = """
.chart { display: block; width: 100%; height: auto; }
.chart text { font: 13px system-ui, sans-serif; fill: currentColor; }
.chart .faint { opacity: .75; } .chart .strong { font-weight: 600; }
.chart .grid { stroke: var(--line); } .chart .ink { stroke: currentColor; }
.chart .dashed { stroke: currentColor; stroke-dasharray: 4 4; opacity: .5; fill: none; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: .4rem 0; padding: 0;
  list-style: none; font-size: .85rem; }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem;
  border-radius: .2rem; vertical-align: -.05rem; }
"""

# How wide letters are in bold type of 13 pixels, in a font of the wider sort.
_NARROW, _WIDE = frozenset("fijlrtI.,:;|'!()[] "), frozenset("mwMW@%")
_NARROW_PX, _LETTER_PX, _CAPITAL_PX, _WIDE_PX = 5.5, 8.7, 10.2, 13.5
# Letters of other scripts may be wider.
_LATIN_ENDS = 0x2FF
_LINE_PX = 15.0
_STEPS = (1, 2, 5, 10)


@dataclass(frozen=True)
class Scale:
    """A straight scale from values to pixels."""

    low: float
    high: float
    from_px: float
    to_px: float

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        share = (value - self.low) / (self.high - self.low)
        return self.from_px + share * (self.to_px - self.from_px)

    def ticks(self, most: int = 6) -> list[float]:
        """Return at most so many round values in the scale."""
        rough = (self.high - self.low) / most
        decade = 10 ** math.floor(math.log10(rough))
        step = next(decade * step for step in _STEPS if decade * step >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(index * step, 10) for index in range(first, last + 1)]


def chart(width: float, height: float, alt: str, marks: Iterable[str]) -> str:
    """Return an SVG picture of marks; `alt` says in words what it shows."""
    return (
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{html.escape(alt)}">{"".join(marks)}</svg>'
    )


def text(x: float, y: float, words: str, *, anchor: str = "start", kind: str = "") -> str:
    """Return words that stand on y."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">'
        f"{html.escape(words)}</text>"
    )


def text_size(words: str) -> tuple[float, float]:
    """Return about how wide and how high words are, in pixels."""
    return sum(map(_letter_px, words)), _LINE_PX


def cut(words: str, width: float) -> str:
    """Return words as they fit into a width in pixels, their end kept."""
    if text_size(words)[0] <= width:
        return words
    kept = words[1:]
    while len(kept) > 1 and text_size(f"…{kept}")[0] > width:
        kept = kept[1:]
    return f"…{kept}"


def line(x0: float, y0: float, x1: float, y1: float, *, kind: str = "ink", extra: str = "") -> str:
    """Return a straight line."""
    return f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" class="{kind}"{extra}/>'


def polyline(spots: Sequence[tuple[float, float]], *, kind: str = "", extra: str = "") -> str:
    """Return lines from spot to spot."""
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    return f'<polyline points="{points}" fill="none" class="{kind}"{extra}/>'


def circle(x: float, y: float, radius: float, title: str, extra: str) -> str:
    """Return a circle that says its title to whoever points at it."""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"{extra}>'
        f"<title>{html.escape(title)}</title></circle>"
    )


def bar(x: float, y: float, width: float, height: float, colour: str, title: str) -> str:
    """Return a filled rectangle that says its title to whoever points at it."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.2f}" height="{height:.1f}" '
        f'fill="{colour}"><title>{html.escape(title)}</title></rect>'
    )


def x_axis(scale: Scale, top: float, bottom: float, label: str, most: int = 6) -> list[str]:
    """Return upright grid lines with their values below, and what the values are."""
    marks = []
    for tick in scale.ticks(most):
        x = scale.at(tick)
        marks.append(line(x, top, x, bottom, kind="grid"))
        marks.append(text(x, bottom + 16, f"{tick:g}", anchor="middle", kind="faint"))
    return [*marks, text(scale.to_px, bottom + 34, label, anchor="end", kind="faint")]


def y_axis(scale: Scale, left: float, right: float, label: str, top: float) -> list[str]:
    """Return level grid lines with their values left of them, and above `top` what they are."""
    marks = []
    for tick in scale.ticks():
        y = scale.at(tick)
        marks.append(line(left, y, right, y, kind="grid"))
        marks.append(text(left - 6, y + 4, f"{tick:g}", anchor="end", kind="faint"))
    return [*marks, text(0, top - 12, label, kind="faint")]


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Return what colours stand for, as HTML, from pairs of colour and name."""
    items = "".join(
        f'<li><i style="background: {colour}"></i>{html.escape(name)}</li>'
        for colour, name in entries
    )
    return f'<ul class="legend">{items}</ul>'


def _letter_px(letter: str) -> float:
    if letter in _NARROW:
        return _NARROW_PX
    if letter in _WIDE:
        return _WIDE_PX
    return _CAPITAL_PX if letter.isupper() or ord(letter) > _LATIN_ENDS else _LETTER_PX
