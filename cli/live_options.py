"""What the options of `pocketlens live` may be, and those that say how decisions are made."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import click

from pocketlens.errors import UsageError

_NAMES = ("smooth_s", "confirm", "hysteresis", "threshold", "allow", "deny")

_OPTIONS = (
    click.option(
        "--smooth",
        "smooth_s",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="Average the scores with this time constant (exponential): a step is followed to "
        "63 % within it, at any frame rate.",
    ),
    click.option(
        "--confirm",
        metavar="N/M",
        callback=lambda _ctx, _option, text: _parse_confirm(text),
        default="1/1",
        show_default=True,
        help="An answer becomes the decision when N of the last M frames gave it.",
    ),
    click.option(
        "--hysteresis",
        type=float,
        default=0.0,
        metavar="MARGIN",
        help="What is decided stays until its score is this far below the threshold, or another "
        "label's is this far above its own.",
    ),
    click.option(
        "--threshold",
        type=float,
        help="Score from which a label is an answer; below it the answer is 'unknown' (binary: "
        "the negative label).  [default: the model's; multiclass: none]",
    ),
    click.option(
        "--allow",
        multiple=True,
        metavar="LABEL",
        help="Decide for no other label; may be repeated. Where another is the answer, the "
        "decision is 'unknown'.",
    ),
    click.option(
        "--deny",
        multiple=True,
        metavar="LABEL",
        help="Never decide for this label; may be repeated.",
    ),
)


def decision_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which gets them together as `decision`."""

    @functools.wraps(command)
    def gather(**values: Any) -> Any:
        return command(decision={name: values.pop(name) for name in _NAMES}, **values)

    decorated: Callable[..., Any] = gather
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Return a width and a height in pixels."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,4})[xX]([1-9][0-9]{0,4})", text)
    if match is None:
        raise UsageError(
            f"Expected --size as width and height in pixels. Received: {text}. "
            "Write it like 1280x720."
        )
    return int(match[1]), int(match[2])


def check_fourcc(text: str | None) -> str | None:
    """Return a pixel format's four characters."""
    if text is not None and not re.fullmatch(r"[ -~]{4}", text):
        raise UsageError(
            f"Expected --fourcc to be four characters. Received: {text}. Write it like MJPG."
        )
    return text


def parse_threads(text: str) -> int | None:
    """Return a number of threads, or None to measure which is best."""
    if text == "auto":
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text):
        raise UsageError(
            f"Expected --threads as a number from 1 up, or auto. Received: {text}. "
            "Leave it out for one thread."
        )
    return int(text)


def _parse_confirm(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None:
        raise UsageError(f"Expected --confirm as N/M. Received: {text}. Write it like 3/5.")
    return int(match[1]), int(match[2])
