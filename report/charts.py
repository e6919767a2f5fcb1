"""The one chart engine: matplotlib, as SVG that follows the colours of the page around it.

A chart is a function that draws on a matplotlib figure. It is drawn for a page (`Chart.html`, once
for screens and once for phones, where text keeps its size) or for a file (`Chart.write`).
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from pocketlens.files import replacing

# Okabe and Ito's colours, which colour-blind people tell apart on light and on dark ground
# (https://jfly.uni-koeln.de/color/), without black and yellow, of which a page has one behind it.
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
# Draw text and lines in these; a page puts its own in their place, light or dark.
INK, FAINT, LINE, PAPER, ACCENT = "#1d2329", "#59636d", "#d9dee3", "#fefefe", "#1f6f54"

Size = tuple[float, float]
# In CSS pixels, as wide as a page, as half of it, and as a phone.
WHOLE, HALF, PHONE = (928.0, 420.0), (448.0, 300.0), (358.0, 300.0)
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
    "axes.prop_cycle": matplotlib.cycler(color=SERIES),
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
        narrow: the same on a phone, None for a chart that is only made smaller there.
    """

    draw: Callable[[Figure], None]
    alt: str
    broad: Size = HALF
    narrow: Size | None = PHONE

    def html(self, caption: str = "") -> Markup:
        """Return the chart as a figure of HTML, in the colours of the page around it."""
        sizes = {"narrow": self.narrow, "broad": self.broad}
        drawn = Markup("").join(
            _inline(self._svg(size), kind, self.alt, size) for kind, size in sizes.items() if size
        )
        below = Markup("<figcaption>{}</figcaption>").format(caption) if caption else ""
        return Markup('<figure class="chart">{}{}</figure>').format(drawn, below)

    def write(self, path: Path) -> None:
        """Write the chart as it is on a screen in light colours; the suffix says the format.

        Raises:
            OutputError: the file cannot be written.
        """
        with replacing(path) as partial:
            self._save(partial, path.suffix[1:].lower(), self.broad, PAPER)

    def _svg(self, size: Size) -> str:
        buffer = io.BytesIO()
        self._save(buffer, "svg", size, "none")
        return buffer.getvalue().decode()

    def _save(self, to: Path | io.BytesIO, kind: str, size: Size, ground: str) -> None:
        with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
            # Of other scripts the browser has letters, whatever matplotlib's font lacks.
            warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
            # No pyplot: it would look for a display and keep the figure alive.
            inches = [pixels / _DOTS_PER_INCH for pixels in size]
            figure = Figure(figsize=(inches[0], inches[1]), layout="constrained")
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


def tip(artist: Artist, words: str) -> None:
    """Let a mark say something to whoever points at it on a page."""
    artist.set_gid(_TIP + words)


def shortened(name: str, most: int = 24) -> str:
    """Return a name of at most so many characters, its end kept, where names differ."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


def legend(entries: Iterable[tuple[str, str]]) -> Markup:
    """Return what colours stand for, as HTML, from pairs of colour and name."""
    item = Markup('<li><i style="background: {}"></i>{}</li>')
    items = Markup("").join(item.format(colour, name) for colour, name in entries)
    return Markup('<ul class="legend">{}</ul>').format(items)


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
