"""The one chart engine: matplotlib, as SVG that follows the colours of the page around it.

A chart is a function that draws on a matplotlib figure. It is drawn for a page (`Chart.html`, once
for screens and once for phones, where text keeps its size) or for a file (`Chart.write`).
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from markupsafe import Markup, escape
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path as Line
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Bbox

from pocketlens.errors import UsageError
from pocketlens.files import replacing

# Okabe and Ito's colours, which colour-blind people tell apart on light and on dark ground
# (https://jfly.uni-koeln.de/color/), without black and yellow, of which a page has one behind it.
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
# Draw text and lines in these; a page puts its own in their place, light or dark.
INK, FAINT, LINE, PAPER, ACCENT = "#1d2329", "#59636d", "#d9dee3", "#fefefe", "#1f6f54"

Size = tuple[float, float]
# In CSS pixels: as wide as a page, as half of it, as a phone. What is half as wide as a page keeps
# text of 11 pixels on a phone, so that it needs no drawing of its own there.
WHOLE, HALF, PHONE = (928.0, 420.0), (410.0, 280.0), (358.0, 380.0)
SUFFIXES = (".png", ".svg", ".pdf")

_VARIABLES = {
    INK: "currentColor",
    FAINT: "var(--faint)",
    LINE: "var(--line)",
    PAPER: "var(--paper)",
    ACCENT: "var(--accent)",
}
# So a point is a pixel of CSS.
_DOTS_PER_INCH = 72
_FILE_SCALE = 2
_TIP = "tip:"
_STYLE: Any = {
    "figure.dpi": _DOTS_PER_INCH,
    "font.family": ["DejaVu Sans"],
    "font.size": 13,
    "axes.titlesize": 13,
    "legend.fontsize": 12,
    "text.color": INK,
    "text.parse_math": False,
    "axes.facecolor": "none",
    "axes.edgecolor": LINE,
    "axes.labelcolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=SERIES),
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "grid.color": LINE,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "pocketlens",
}


@dataclass(frozen=True)
class Chart:
    """A chart to be drawn.

    Args:
        draw: draws on an empty figure; by its width (`width_px`) it knows where it is drawn.
        alt: what the chart shows, in words.
        broad: width and height on a screen, in CSS pixels; text has 13 of them.
        narrow: the same on a phone, None for a chart that is shown as it is, made smaller.
    """

    draw: Callable[[Figure], None]
    alt: str
    broad: Size = HALF
    narrow: Size | None = None

    def html(self, caption: str = "") -> Markup:
        """Return the chart as a figure of HTML, in the colours of the page around it."""
        sizes = {"narrow": self.narrow, "broad": self.broad}
        drawn = Markup("").join(
            _inline(self._svg(size), kind, self.alt, size) for kind, size in sizes.items() if size
        )
        below = Markup("<figcaption>{}</figcaption>").format(caption) if caption else ""
        return Markup('<figure class="chart">{}{}</figure>').format(drawn, below)

    def write(self, path: Path, title: str = "") -> None:
        """Write the chart as it is on a screen in light colours; the suffix says the format.

        `title` stands above it, since a file has no page around it that says what it shows.

        Raises:
            OutputError: the file cannot be written.
        """
        with replacing(path) as partial:
            self._save(partial, path.suffix[1:].lower(), self.broad, PAPER, title)

    def _svg(self, size: Size) -> str:
        buffer = io.BytesIO()
        self._save(buffer, "svg", size, "none")
        return buffer.getvalue().decode()

    def _save(
        self, to: Path | io.BytesIO, kind: str, size: Size, ground: str, title: str = ""
    ) -> None:
        with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
            # Of other scripts the browser has letters, whatever matplotlib's font lacks.
            warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
            # No pyplot: it would look for a display and keep the figure alive.
            inches = [pixels / _DOTS_PER_INCH for pixels in size]
            figure = Figure(figsize=(inches[0], inches[1]), layout="constrained")
            if title:
                figure.set_layout_engine("constrained", w_pad=0.15, h_pad=0.15)
                figure.suptitle(title, x=0.02, ha="left", fontsize=13)
            self.draw(figure)
            scale = _FILE_SCALE if kind == "png" else 1
            # Without a date, so that the same chart is the same file.
            metadata = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
            figure.savefig(
                to, format=kind, dpi=scale * _DOTS_PER_INCH, facecolor=ground, metadata=metadata
            )


def width_px(figure: Figure) -> float:
    """Return a figure's width in CSS pixels."""
    return float(figure.get_figwidth() * _DOTS_PER_INCH)


def fix_layout(figure: Figure) -> None:
    """Make a layout final, so that places are known in pixels."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def tip(artist: Artist, words: str) -> None:
    """Let a mark say something to whoever points at it on a page."""
    artist.set_gid(_TIP + words)


def check_name(path: Path) -> None:
    """Raise UsageError if a file's name does not end in one of `SUFFIXES`."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"Expected a plot's name to end in {', '.join(SUFFIXES)}. Received: {path}. Rename it."
        )


def label_axes(axes: Axes, x: str, y: str = "") -> None:
    """Say what the axes are: x at the right end below, y level above."""
    axes.set_xlabel(x, loc="right")
    axes.set_title(y, loc="left", color=FAINT)


def legend_above(figure: Figure, columns: int = 1) -> None:
    """Say above the axes what their marks stand for, where it lies over none of them."""
    figure.legend(loc="outside upper left", ncols=columns)


def fitted(words: str, width: float) -> str:
    """Return bold words as they fit into a width in pixels, their end kept, where names differ."""
    kept = words
    while len(kept) > 1 and _width_px(kept if kept == words else f"…{kept}") > width:
        kept = kept[1:]
    return kept if kept == words else f"…{kept}"


def legend(entries: Iterable[tuple[str, str]]) -> Markup:
    """Return what colours stand for, as HTML, from pairs of colour and name."""
    item = Markup('<li><i style="background: {}"></i>{}</li>')
    items = Markup("").join(item.format(colour, name) for colour, name in entries)
    return Markup('<ul class="legend">{}</ul>').format(items)


def _width_px(words: str) -> float:
    bold = FontProperties(family=_STYLE["font.family"], size=_STYLE["font.size"], weight="bold")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        return float(text_to_path.get_text_width_height_descent(words, bold, False)[0])


def _inline(svg: str, kind: str, alt: str, size: Size) -> Markup:
    """Return SVG to stand in HTML: without its own colours, sheet, prologue and addresses."""
    # Several charts of a page must not share an id, and none may change from run to run.
    own = "c" + hashlib.sha256(f"{alt}{svg}".encode()).hexdigest()[:8]
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"|<!--.*?-->', "", svg, flags=re.DOTALL)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(rf"<g id=([\"']){_TIP}(.*?)\1>", r"<g><title>\2</title>", svg)
    used = set(re.findall(r'(?:url\(|href=")#([^)"]*)', svg))
    svg = re.sub(
        r' id="([^"]*)"', lambda hit: f' id="{own}{hit[1]}"' if hit[1] in used else "", svg
    )
    svg = re.sub(r'(url\(|href=")#', rf"\g<1>#{own}", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(f": {colour}", f": {variable}")
    head = f'<svg class="{kind}" role="img" aria-label="{escape(alt)}" '
    head += f'style="--natural: {size[0]:g}px"'
    svg = re.sub(r'<svg width="[^"]*" height="[^"]*"', lambda _: head, svg, count=1)
    # Built here of matplotlib's XML, whose texts it has escaped.
    return Markup(re.sub(r"\n\s*", "\n", svg))  # noqa: S704


@dataclass(frozen=True)
class Spot:
    """A circle that is to have a name: its centre in data units, its radius in pixels.

    `low` and `high` are the ends of the upright line through it, in data units.
    """

    name: str
    x: float
    y: float
    radius: float
    low: float
    high: float


# Where a name may go: in these directions, beside the circle first, at these distances in pixels;
# from the third on, and where circles overlap, a line joins the two.
_DIRECTIONS = (0, 180, 90, 270, *(angle for angle in range(15, 360, 15) if angle % 90))
_GAPS = (6, 14, 28, 45, 65, 90, 120, 160, 200, 250, 300)
_LINE_FROM = 28
_MARGIN = 3


def name_spots(axes: Axes, spots: Sequence[Spot], taken: Sequence[Bbox] = ()) -> None:
    """Write names beside circles: none over another, over a circle or over what is `taken`.

    Needs a layout that is final (`fix_layout`); `taken` is in pixels.
    """
    room, to_data = axes.get_window_extent(), axes.transData.inverted()
    discs, lines = [], []
    for spot in spots:
        (x, y), (_, low), (_, high) = axes.transData.transform(
            [(spot.x, height) for height in (spot.y, spot.low, spot.high)]
        )
        discs.append(Bbox.from_extents(x, y, x, y).padded(spot.radius))
        lines.append(Bbox.from_extents(x - 2, min(low, high), x + 2, max(low, high)))
    blocked, names, leaders = [*taken, *discs, *lines], list[Bbox](), list[Line]()
    for spot, disc in zip(spots, discs, strict=True):
        text = axes.text(spot.x, spot.y, spot.name, weight="bold", ha="center", va="center")
        extent = text.get_window_extent()
        others = [other for other in discs if not other.overlaps(disc)]
        line_from = _LINE_FROM if len(others) == len(discs) - 1 else 0
        places = list(_places(disc, extent.width + 2 * _MARGIN, extent.height + 2 * _MARGIN))
        free = [
            (box, gap, line)
            for box, gap, line in places
            if (room.x0 <= box.x0 and box.x1 <= room.x1 and room.y0 <= box.y0 and box.y1 <= room.y1)
            and not box.count_overlaps([*blocked, *names])
            and not any(leader.intersects_bbox(box, filled=False) for leader in leaders)
        ]
        clear = (
            place
            for place in free
            if place[1] < line_from
            or not any(place[2].intersects_bbox(other, filled=False) for other in names + others)
        )
        # Where it is crowded: better a line through a circle than a name over another, and better
        # that than none.
        box, gap, line = next(clear, (free or places)[0])
        x, y = to_data.transform(((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2))
        text.set_position((float(x), float(y)))
        names.append(box)
        if gap >= line_from:
            leaders.append(line)
            axes.plot(*to_data.transform(line.vertices).T, color=INK, linewidth=0.8, alpha=0.75)


def _places(disc: Bbox, width: float, height: float) -> Iterator[tuple[Bbox, int, Line]]:
    """Return where a name of this size may go, how far that is, and the line to it, in pixels."""
    centre = np.array([(disc.x0 + disc.x1) / 2, (disc.y0 + disc.y1) / 2])
    half = np.array([width / 2, height / 2])
    for gap in _GAPS:
        for degrees in _DIRECTIONS:
            ray = np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
            # The box touches the circle of this radius with the side or corner that faces it.
            side = np.where(np.abs(ray) < 0.1, 0.0, np.sign(ray))
            middle = centre + ray * (disc.width / 2 + gap) + half * side
            low, high = middle - half, middle + half
            yield Bbox([low, high]), gap, Line([centre, np.clip(centre, low, high)])
