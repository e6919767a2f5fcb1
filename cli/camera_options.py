"""The options by which commands are told a camera, stream or file."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pocketlens.cli.options import TARGET, options_of
from pocketlens.errors import UsageError

if TYPE_CHECKING:
    from pocketlens.runtime.live.sources import SourceRequest

source = options_of("Source")


def camera_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--source`, `--size`, `--fps` and `--fourcc`; `size_wh` has the second's pixels."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def refuse_missing(request: SourceRequest) -> None:
    """Raise UsageError for a file that does not exist, before anything is opened."""
    import glob
    from pathlib import Path

    if request.live or Path(request.address).exists() or glob.has_magic(request.address):
        return
    raise UsageError(
        "Expected a camera, a video file, pictures or a URL as the source. Received: "
        f"{request.name or 'an empty name'} (nothing there). Check the path, or give 0 for the "
        "first camera."
    )


def read_with(parse: Callable[[Any], Any]) -> Callable[[Any, Any, Any], Any]:
    """Return a callback for an option whose text `parse` reads."""
    return lambda _context, _option, text: parse(text)


def _parse_size(text: str | None) -> tuple[int, int] | None:
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


def _check_fourcc(text: str | None) -> str | None:
    """Return a pixel format's four characters."""
    if text is not None and not re.fullmatch(r"[ -~]{4}", text):
        raise UsageError(
            f"Expected --fourcc to be four characters. Received: {text}. Write it like MJPG."
        )
    return text


_OPTIONS = (
    source(
        "--source",
        once=True,
        default="0",
        show_default=True,
        metavar="N|FILE|URL",
        type=TARGET,
        # Everybody sees a command line, and a URL may hold a password.
        envvar="POCKETLENS_SOURCE",
        show_envvar=True,
        help="A camera: its number, /dev/video*, a name in /dev/v4l/by-id or picamera2. A stream: "
        "an RTSP or HTTP MJPEG URL. A file: a video, an image, a folder of images or a pattern "
        "like 'photos/*.jpg'. A scripted camera: fake:hang=300.",
    ),
    source(
        "--size",
        "size_wh",
        metavar="WxH",
        callback=read_with(_parse_size),
        help="Frame size in pixels to request from a camera.",
    ),
    source(
        "--fps",
        type=click.FloatRange(min=0.01, max=1000),
        help="Frames per second: requested from a camera, assumed for images. A stream with fewer "
        "than 1.5 needs it.",
    ),
    source(
        "--fourcc",
        metavar="CODE",
        callback=read_with(_check_fourcc),
        help="Pixel format to request from a camera; MJPG allows large sizes over USB.",
    ),
)
