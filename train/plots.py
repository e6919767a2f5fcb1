"""A matplotlib figure as PNG for a folder, and as SVG that follows a page's colours."""

from __future__ import annotations

import html
import io
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from pocketlens.files import write_bytes

# Colours that the page replaces by its own.
INK, LINE, PAPER, ACCENT = "#1d2329", "#d9dee3", "#fefefe", "#1f6f54"
# Tol's bright scheme without its green (https://sronpersonalpages.nl/~pault/): told apart by
# colour-blind people, readable on white and on black.
SERIES = ("#4477aa", "#ee6677", "#ccbb44", "#66ccee", "#aa3377")

_VARIABLES = {
    INK: "currentColor",
    LINE: "var(--line)",
    PAPER: "var(--paper)",
    ACCENT: "var(--accent)",
}
_DOTS_PER_INCH = 144
# CSS has 96 pixels in an inch.
_CSS_PIXELS = 96
_STYLE: Any = {
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": LINE,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "pocketlens",
}


@dataclass(frozen=True)
class Plot:
    """A drawn figure: its file's name without suffix, what it shows in words, PNG and SVG."""

    name: str
    alt: str
    png: bytes
    svg: str

    def write(self, folder: Path) -> None:
        """Write the PNG into a folder."""
        write_bytes(folder / f"{self.name}.png", self.png)

    def figure(self, caption: str = "") -> str:
        """Return the SVG as an HTML figure; `caption` is text."""
        below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
        return f'<figure class="plot">{self.svg}{below}</figure>'


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure; what is drawn on it should be drawn inside `style()`."""
    return Figure(figsize=(width_in, height_in), layout="constrained")


def style() -> AbstractContextManager[None]:
    """Return the context in which all figures are drawn and saved."""
    return matplotlib.rc_context(_STYLE)


def rendered(figure: Figure, name: str, alt: str) -> Plot:
    """Return a figure as PNG and SVG."""
    png, svg = io.BytesIO(), io.StringIO()
    figure.savefig(png, format="png", dpi=_DOTS_PER_INCH, facecolor="white")
    figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    return Plot(
        name, alt, png.getvalue(), _inline(svg.getvalue(), alt, figure.get_size_inches()[0])
    )


def short(name: str, most: int = 24) -> str:
    """Return a label cut to a length that fits beside a plot."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _inline(svg: str, alt: str, width_in: float) -> str:
    """Return SVG to stand in HTML: without its own colours, size, prologue and addresses."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href", "href")
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    width = round(width_in * _CSS_PIXELS)
    head = f'<svg role="img" aria-label="{html.escape(alt)}" style="--natural: {width}px"'
    return re.sub(r'<svg width="[^"]*" height="[^"]*"', head, svg, count=1)
