"""Drawing the answers on a frame, readable from 64x48 to 4K."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pocketlens.errors import MissingDependencyError
from pocketlens.names import OR
from pocketlens.runtime.classifier import Category
from pocketlens.runtime.live.frames import Decision
from pocketlens.runtime.pictures import Pixels

Font = ImageFont.FreeTypeFont
_Entry = tuple[str, float | None]

# Sizes relative to the frame's shorter extent; a portrait frame is narrow before it is low.
_TEXT_SHARE = 0.055
_WIDTH_SHARE = 0.8
_SMALLEST_TEXT_PX = 9
_LOWER_ROWS = 0.66
# A label that does not fit shrinks to this part of its size before it is shortened.
_SHRINK = (1.0, 0.85, 0.7)
# The share of the frame's width that rows with bars take at least.
_BARS_WIDTH = 0.4

_WHITE = 255

_BOX_BGR, _BOX_OPACITY = (24, 20, 18), 0.72
_BAR_BGR, _BAR_OPACITY = (132, 86, 16), 0.85

_ELLIPSIS = "…"
_UNKNOWN = "?"
# Pillow's own font has ASCII only. These are found by name on most systems; together they have
# Latin, Greek, Cyrillic, Arabic, Hebrew, and where installed Chinese, Japanese and Korean.
_SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "Arial Unicode.ttf",
    "arial.ttf",
    "msyh.ttc",
)
# No font has a glyph for this; what looks like it is missing.
_NO_CHARACTER = "\U000fffff"


def draw_categories(frame_bgr: Pixels, categories: Sequence[Category], answers: int = 1) -> None:
    """Draw labels into the upper left of a frame, in place.

    One is a label with its score. Of several those that are the answer are larger, and each lies on
    a bar as long as its score. Rows that the frame has no room for are left out. Texts are kept
    between frames, so that a frame costs little more than the copy of a few pixels.

    Args:
        frame_bgr: uint8 (height, width, 3), BGR, written to.
        categories: best first.
        answers: how many of them, from the first, are the answer.
    """
    _draw(frame_bgr, [(entry.label, entry.score) for entry in categories], answers)


def draw_decision(
    frame_bgr: Pixels,
    decision: Decision,
    categories: Sequence[Category] = (),
    alternatives: Sequence[Category] = (),
) -> None:
    """Draw what is decided, and below it, smaller, the labels that are not, as `draw_categories`.

    Args:
        frame_bgr: uint8 (height, width, 3), BGR, written to.
        decision: when it has no label, what that is called is drawn, without a score.
        categories: the frame's best labels, best first.
        alternatives: the other labels of the frame's set, as large as what is decided.
    """
    decided: list[_Entry] = [(entry.label, entry.score) for entry in decision.categories]
    decided = decided or [(decision.absent, None)]
    decided += [(f"{OR.lstrip()}{entry.label}", entry.score) for entry in alternatives]
    held = {entry.index for entry in (*decision.categories, *alternatives)}
    others = [(entry.label, entry.score) for entry in categories if entry.index not in held]
    _draw(frame_bgr, [*decided, *others], len(decided))


def _draw(frame_bgr: Pixels, entries: Sequence[_Entry], large: int) -> None:
    height, width = frame_bgr.shape[:2]
    first_px = max(_SMALLEST_TEXT_PX, round(_TEXT_SHARE * min(height, _WIDTH_SHARE * width)))
    margin = max(1, first_px // 3)
    room = width - 2 * margin
    if room < 1:
        return
    several = len(entries) > 1
    lower_px = max(_SMALLEST_TEXT_PX, round(_LOWER_ROWS * first_px))
    sizes = [first_px if row < large else lower_px for row in range(len(entries))]
    rows = [
        _row(label, "" if score is None else _percent(score), size_px, room)
        for (label, score), size_px in zip(entries, sizes, strict=True)
    ]
    widest = max((row.width for row in rows), default=0)
    panel_width = min(room, max(widest, round(_BARS_WIDTH * width) if several else 0))
    top = margin
    for row, (_, score) in zip(rows, entries, strict=True):
        bottom = top + row.height
        if bottom > height:
            return
        box = frame_bgr[top:bottom, margin : margin + panel_width]
        # In this order a NaN becomes 0.
        share = min(1.0, max(0.0, score or 0.0)) if several else 0.0
        bar_width = round(share * panel_width)
        _tint(box, slice(bar_width), _BAR_BGR, _BAR_OPACITY)
        _tint(box, slice(bar_width, None), _BOX_BGR, _BOX_OPACITY)
        _write(box, row.label, row.padding)
        _write(box, row.score, box.shape[1] - row.padding - row.score.shape[1])
        top = bottom


@dataclass(frozen=True)
class _Row:
    """A row's two texts, uint8 (height, width, 3), 255 where the text is."""

    label: Pixels
    score: Pixels
    padding: int

    @property
    def height(self) -> int:
        return int(self.label.shape[0])

    @property
    def width(self) -> int:
        return int(self.label.shape[1] + self.score.shape[1]) + 4 * self.padding


@lru_cache(maxsize=256)
def _row(label: str, score: str, size_px: int, room: int) -> _Row:
    padding = max(2, size_px // 3)
    score_mask = _text(score, size_px, size_px, room - 2 * padding)
    left = room - 4 * padding - score_mask.shape[1]
    return _Row(_fitting_text(label, size_px, left), score_mask, padding)


@lru_cache(maxsize=256)
def _fitting_text(label: str, size_px: int, room: int) -> Pixels:
    """Render a label so that it fits `room` pixels: smaller, then shortened."""
    if room < 1:
        return _text("", size_px, size_px, 0)
    label = "".join(c if c.isprintable() else " " for c in unicodedata.normalize("NFC", label))
    small_px = size_px
    for share in _SHRINK:
        small_px = max(_SMALLEST_TEXT_PX, round(share * size_px))
        font, text = _font_for(label, small_px)
        if font.getlength(text) <= room:
            return _text(text, small_px, size_px, room)
    for end in range(len(text) - 1, 0, -1):
        shortened = text[:end].rstrip() + _ELLIPSIS
        if font.getlength(shortened) <= room:
            return _text(shortened, small_px, size_px, room)
    return _text(text[:1], small_px, size_px, room)


def _text(text: str, size_px: int, row_px: int, room: int) -> Pixels:
    """Render a text centred in a row for texts of `row_px`, at most `room` pixels wide."""
    font, text = _font_for(text, size_px)
    ascent, descent = _built_in_font(row_px).getmetrics()
    padding = max(1, row_px // 6)
    height = ascent + descent + 2 * padding
    width = max(0, min(room, int(np.ceil(font.getlength(text)))))
    if not width:
        return np.zeros((height, 0, 3), np.uint8)
    image = Image.new("L", (width, height))
    own_ascent, own_descent = font.getmetrics()
    baseline = (height + own_ascent - own_descent) / 2
    ImageDraw.Draw(image).text((0, baseline), text, fill=_WHITE, font=font, anchor="ls")
    return np.repeat(np.asarray(image)[..., None], 3, axis=2)


def _font_for(text: str, size_px: int) -> tuple[Font, str]:
    """Return the first font that has all of a text, or the text with what the best one has."""
    built_in = _built_in_font(size_px)
    if _covers(built_in, text):
        return built_in, text
    for name in _SYSTEM_FONTS:
        font = _system_font(name, size_px)
        if font is not None and _covers(font, text):
            return font, text
    return built_in, "".join(_replacement(built_in, character) for character in text)


def _replacement(font: Font, character: str) -> str:
    if _covers(font, character):
        return character
    # "é" is "e" with an accent; without the accent it can still be read.
    base = unicodedata.normalize("NFKD", character)[:1]
    return base if base.isascii() and base.isprintable() else _UNKNOWN


def _covers(font: Font, text: str) -> bool:
    missing = bytes(font.getmask(_NO_CHARACTER))
    return all(
        character.isspace() or bytes(font.getmask(character)) != missing for character in set(text)
    )


@lru_cache(maxsize=64)
def _built_in_font(size_px: int) -> Font:
    font = ImageFont.load_default(size_px)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise MissingDependencyError(
            "Expected a Pillow with FreeType, which draws text. Received: one without. "
            "Reinstall it: pip install --force-reinstall pillow"
        )
    return font


@lru_cache(maxsize=64)
def _system_font(name: str, size_px: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size_px)
    except OSError:
        return None


def _tint(box: Pixels, columns: slice, colour_bgr: tuple[int, int, int], opacity: float) -> None:
    """Lay a colour over columns of a box, in place."""
    part = box[:, columns]
    if part.size:
        # Four times as fast as a table of what each byte becomes.
        colour = _plain(box.shape, colour_bgr)[:, columns]
        cv2.addWeighted(part, 1 - opacity, colour, opacity, 0, dst=part)


@lru_cache(maxsize=8)
def _plain(shape: tuple[int, ...], colour_bgr: tuple[int, int, int]) -> Pixels:
    return np.full(shape, colour_bgr, np.uint8)


def _percent(score: float) -> str:
    return f"{100 * score:.0f} %" if np.isfinite(score) else _UNKNOWN


def _write(box: Pixels, text: Pixels, left: int) -> None:
    left = max(0, left)
    target = box[:, left : left + text.shape[1]]
    if target.size:
        # White over a dark box: the brighter of the two is what blending would give.
        cv2.max(target, text[:, : target.shape[1]], dst=target)
