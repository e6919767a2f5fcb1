"""The six printable cards: their drawings and the files to print."""

import math
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Picture = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]

NOTHING: Final = "nothing"
# The six silhouettes differ in outline, holes and slant, so that they stay apart when the print
# is grey, blurred, turned by a third of a right angle or partly behind a finger.
CARD_COLOURS_RGB: Final[dict[str, tuple[int, int, int]]] = {
    "star": (240, 125, 0),
    "heart": (215, 20, 45),
    "bolt": (135, 40, 190),
    "ring": (0, 95, 225),
    "tree": (0, 145, 55),
    "ladder": (45, 40, 40),
}
LABELS: Final[tuple[str, ...]] = tuple(sorted((*CARD_COLOURS_RGB, NOTHING)))
"""The classes in the order in which a training numbers them."""

CARD_PROPORTION: Final = 5 / 7
"""Width of a card divided by its height."""

_SUPERSAMPLING: Final = 2
_DPI: Final = 200


@cache
def draw_card(label: str, height: int = 1200) -> Picture:
    """Draw one card, upright.

    Args:
        label: one of the six card names in `LABELS` (not "nothing").
        height: height of the picture in pixels, at least 28; the width is 5/7 of it.

    Returns:
        (height, width, 3) uint8 RGB, read-only, anti-aliased, white where nothing is printed.

    Raises:
        ValueError: if there is no card of that name or the height is too small.
    """
    if label not in CARD_COLOURS_RGB:
        raise ValueError(f"no card is called {label!r}; there are {', '.join(CARD_COLOURS_RGB)}")
    if height < 28:
        raise ValueError(f"a card must be at least 28 pixels high, not {height}")
    width = round(height * CARD_PROPORTION)
    big_w, big_h = width * _SUPERSAMPLING, height * _SUPERSAMPLING
    image = Image.new("RGB", (big_w, big_h), "white")
    pen = ImageDraw.Draw(image)
    colour = CARD_COLOURS_RGB[label]

    inset = 0.035 * big_w
    pen.rounded_rectangle(
        (inset, inset, big_w - inset, big_h - inset),
        radius=0.1 * big_w,
        outline=colour,
        width=max(1, round(0.045 * big_w)),
    )
    centre_xy, unit = np.array((0.5 * big_w, 0.46 * big_h)), 0.37 * big_w
    for outline in _OUTLINES[label]:
        pen.polygon((centre_xy + unit * np.array(outline)).ravel().tolist(), fill=colour)
    if label == "ring":
        box = [*(centre_xy - unit), *(centre_xy + unit)]
        pen.ellipse(box, outline=colour, width=round(0.5 * unit))
    font = ImageFont.load_default(size=0.07 * big_h)
    pen.text((0.5 * big_w, 0.895 * big_h), label, fill=(60, 60, 60), font=font, anchor="mm")
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))


def write_cards(folder: Path) -> list[Path]:
    """Write the cards as PNG files to print: one A6 page per card and one A4 sheet of all six.

    The files are `<label>.png` for the six cards, then `all_cards.png`; their paths are returned.
    Every file says 200 dpi, so that printing at 100 % gives the paper size. Existing files are
    replaced.

    Raises:
        OSError: the folder or a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pages = {label: _page((105, 148), 140, [label], 1) for label in CARD_COLOURS_RGB}
    pages["all_cards"] = _page((210, 297), 92, list(CARD_COLOURS_RGB), 2)
    for name, page in pages.items():
        page.save(folder / f"{name}.png", dpi=(_DPI, _DPI))
    return [folder / f"{name}.png" for name in pages]


def _page(
    size_mm: tuple[float, float], card_mm: float, labels: list[str], columns: int
) -> Image.Image:
    """Cards of this height in the middle of a page, with a thin line to cut along."""
    page = Image.new("RGB", (_pixels(size_mm[0]), _pixels(size_mm[1])), "white")
    pen = ImageDraw.Draw(page)
    card_h = _pixels(card_mm)
    card_w = round(card_h * CARD_PROPORTION)
    # Cards stand apart, so that a card cut a little beside its line shows no part of another.
    step_x, step_y = card_w + _pixels(5), card_h + _pixels(5)
    left = (page.width + _pixels(5) - columns * step_x) // 2
    top = (page.height + _pixels(5) - len(labels) // columns * step_y) // 2
    for place, label in enumerate(labels):
        x, y = left + place % columns * step_x, top + place // columns * step_y
        page.paste(Image.fromarray(draw_card(label, card_h)), (x, y))
        pen.rectangle((x, y, x + card_w - 1, y + card_h - 1), outline=(190, 190, 190))
    return page


def _pixels(millimetres: float) -> int:
    return round(millimetres / 25.4 * _DPI)


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


_STAR_TURNS: Final = np.arange(10) * math.pi / 5
_STAR: Final = np.tile((1.12, 0.46), 5) * [np.sin(_STAR_TURNS), -np.cos(_STAR_TURNS)]
# The fifth heart curve of https://mathworld.wolfram.com/HeartCurve.html.
_TURNS: Final = np.linspace(0, 2 * math.pi, 200)
_HEART_X: Final = np.sin(_TURNS) ** 3
_HEART_Y: Final = np.dot((-13, 5, 2, 1), [np.cos(times * _TURNS) for times in (1, 2, 3, 4)]) / 15
# x to the right and y down, from the centre of the pictogram, in half widths.
_OUTLINES: Final[dict[str, list[npt.ArrayLike]]] = {
    "star": [_STAR.T],
    "heart": [np.stack([_HEART_X, _HEART_Y - 0.1], axis=1)],
    "ring": [],
    "bolt": [
        [(0.0, -1.3), (0.6, -1.3), (0.1, -0.35), (-0.1, 0.2), (-0.85, 0.2)],
        [(0.85, -0.35), (0.1, -0.35), (-0.1, 0.2), (-0.5, 1.3)],
    ],
    "tree": [
        [(0.0, -1.25), (0.6, -0.45), (-0.6, -0.45)],
        [(0.0, -0.8), (0.8, 0.2), (-0.8, 0.2)],
        [(0.0, -0.3), (1.0, 0.85), (-1.0, 0.85)],
        _box(-0.2, 0.85, 0.2, 1.3),
    ],
    "ladder": [
        _box(-0.9, -1.25, -0.55, 1.25),
        _box(0.55, -1.25, 0.9, 1.25),
        *(_box(-0.6, y - 0.17, 0.6, y + 0.17) for y in (-0.76, 0.0, 0.76)),
    ],
}
