"""The six printable cards: their drawings and the files to print."""

import math
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Picture = npt.NDArray[np.uint8]
Points = list[tuple[float, float]]

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
LABELS: Final[tuple[str, ...]] = (*CARD_COLOURS_RGB, NOTHING)

CARD_PROPORTION: Final = 5 / 7
"""Width of a card divided by its height."""

_SUPERSAMPLING: Final = 2
_DPI: Final = 200
_MM_PER_INCH: Final = 25.4


def draw_card(label: str, height: int = 1200) -> Picture:
    """Draw one card, upright.

    Args:
        label: one of the six card names in `LABELS` (not "nothing").
        height: height of the picture in pixels, at least 28; the width is 5/7 of it.

    Returns:
        (height, width, 3) uint8 RGB, anti-aliased, white where nothing is printed.

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
    _draw_pictogram(pen, label, (0.5 * big_w, 0.46 * big_h), 0.37 * big_w)
    font = ImageFont.load_default(size=0.07 * big_h)
    pen.text((0.5 * big_w, 0.895 * big_h), label, fill=(60, 60, 60), font=font, anchor="mm")
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))


def write_cards(folder: Path) -> list[Path]:
    """Write the cards as PNG files to print: one A6 page per card and one A4 sheet of all six.

    Args:
        folder: where the files go; it is made if it is missing, and files there are replaced.

    Returns:
        The paths written: `<label>.png` for the six cards, then `all_cards.png`. Every file says
        200 dpi, so that printing at 100 % gives the paper size.

    Raises:
        OSError: if the folder or a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for label in CARD_COLOURS_RGB:
        page = Image.new("RGB", (_pixels(105), _pixels(148)), "white")
        card = Image.fromarray(draw_card(label, _pixels(140)))
        page.paste(card, ((page.width - card.width) // 2, (page.height - card.height) // 2))
        paths.append(_saved(page, folder / f"{label}.png"))
    paths.append(_saved(_sheet_of_all(), folder / "all_cards.png"))
    return paths


def _sheet_of_all() -> Image.Image:
    sheet = Image.new("RGB", (_pixels(210), _pixels(297)), "white")
    pen = ImageDraw.Draw(sheet)
    columns, rows = 2, 3
    card_h = _pixels(92)
    card_w = round(card_h * CARD_PROPORTION)
    # Cards stand apart, so that a card cut a little beside its line shows no part of another.
    gap = _pixels(5)
    left = (sheet.width - columns * card_w - (columns - 1) * gap) // 2
    top = (sheet.height - rows * card_h - (rows - 1) * gap) // 2
    for place, label in enumerate(CARD_COLOURS_RGB):
        x = left + (place % columns) * (card_w + gap)
        y = top + (place // columns) * (card_h + gap)
        sheet.paste(Image.fromarray(draw_card(label, card_h)), (x, y))
        pen.rectangle((x, y, x + card_w - 1, y + card_h - 1), outline=(190, 190, 190))
    return sheet


def _pixels(millimetres: float) -> int:
    return round(millimetres / _MM_PER_INCH * _DPI)


def _saved(image: Image.Image, path: Path) -> Path:
    image.save(path, dpi=(_DPI, _DPI))
    return path


def _draw_pictogram(
    pen: ImageDraw.ImageDraw, label: str, centre_xy: tuple[float, float], unit: float
) -> None:
    """Draw the filled shape around the centre; `unit` is half its width in pixels."""
    x, y = centre_xy
    colour = CARD_COLOURS_RGB[label]
    if label == "ring":
        pen.ellipse((x - unit, y - unit, x + unit, y + unit), fill=colour)
        hole = 0.5 * unit
        pen.ellipse((x - hole, y - hole, x + hole, y + hole), fill="white")
        return
    for outline in _OUTLINES[label]:
        pen.polygon([(x + unit * px, y + unit * py) for px, py in outline], fill=colour)


def _star() -> Points:
    radii = (1.12, 0.46)
    turns = [math.pi * corner / 5 for corner in range(10)]
    return [
        (radii[corner % 2] * math.sin(turn), 0.06 - radii[corner % 2] * math.cos(turn))
        for corner, turn in enumerate(turns)
    ]


def _heart() -> Points:
    turns = [2 * math.pi * step / 200 for step in range(200)]
    return [
        (
            math.sin(turn) ** 3,
            -0.1
            - (13 * math.cos(turn) - 5 * math.cos(2 * turn) - 2 * math.cos(3 * turn)) / 15
            + math.cos(4 * turn) / 15,
        )
        for turn in turns
    ]


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


# x to the right and y down, from the centre of the pictogram, in half widths.
_OUTLINES: Final[dict[str, list[Points]]] = {
    "star": [_star()],
    "heart": [_heart()],
    "bolt": [
        [
            (0.0, -1.3),
            (-0.85, 0.2),
            (-0.1, 0.2),
            (-0.5, 1.3),
            (0.85, -0.35),
            (0.1, -0.35),
            (0.6, -1.3),
        ]
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
