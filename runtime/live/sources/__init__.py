"""Where frames come from: what `--source` names, and opening it.

Each kind of source is a module and a line in `SOURCES`; the module is imported when a source of its
kind is opened.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from pocketlens.errors import SourceError, UsageError
from pocketlens.names import shown

if TYPE_CHECKING:
    from pocketlens.runtime.pictures import Pixels

DEVICES = Path("/dev")

# Not those of `runtime.photos`, which brings OpenCV; and a GIF by itself is more often a film.
_PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)

# What may hold a password, with or without a scheme before it. Redacting too much costs nothing.
_CREDENTIALS = re.compile(r"(\w[\w+.-]*:/+)\S*@|(?<![^\s'\"(])[^\s:@'\"(]+:[^\s@]+@")
_SECRET_PARAMETERS = re.compile(
    r"([?&;][^=&;\s]*(?:pass|pwd|pw|token|secret|key|auth|sig|user|usr|login)[^=&;\s]*=)[^&;\s#]*",
    re.IGNORECASE,
)


class Source(Protocol):
    """Something that gives frames one after the other.

    `live` says whether time passes while nobody reads: from a camera only the newest frame counts,
    of a file every frame does. `fps` is the declared rate in frames per second, None if unknown.
    `time_s` is the time of the last frame in a video, in seconds; None leaves it to the rate.
    `file` is the name of the picture that it is, None where it is none of a file's own.
    `stamp` is the source's own mark of the last frame, None where it has none: the same mark again
    is the same frame again. `skipped` counts the frames so far that a newer one replaced before
    they were decoded.
    """

    live: bool
    fps: float | None
    time_s: float | None
    file: str | None
    stamp: float | None
    skipped: int

    def read(self) -> Pixels | None:
        """Return the next frame, uint8 (height, width, 3) BGR, or None at the end.

        Raises:
            PictureError: a frame came that is damaged; the next may be well.
            SourceError: the frames stopped coming before the end.
        """

    def close(self) -> None:
        """Give the device or file back. A second call does nothing."""


@dataclass(frozen=True)
class SourceRequest:
    """What to open and what to ask of it.

    `address` is what `--source` takes: a camera's number, a device below `/dev` or its name in
    `/dev/v4l/by-id`, `picamera2`, a URL, a video file, a picture, a folder or pattern of pictures,
    or a fake camera's script. It may hold a password, `name` is what may be shown. `size_wh` in
    pixels, `fps` in frames per second and `fourcc` (four characters) are wishes; None leaves them
    to the source. `begun_s` is when the capture began to open it, by its clock, and stays
    the same when it is opened again; None outside of a capture.
    """

    address: str = field(repr=False)
    size_wh: tuple[int, int] | None = None
    fps: float | None = None
    fourcc: str | None = None
    begun_s: float | None = None

    @property
    def name(self) -> str:
        """The address without passwords."""
        return redact(self.address)

    @property
    def live(self) -> bool:
        """Whether it is a camera or stream, of which only the newest frame counts.

        Raises:
            SourceError: the address is none that can be opened.
        """
        return _kind_of(self.address).live


def open_source(request: SourceRequest) -> Source:
    """Open what a request names.

    Raises:
        UsageError: something is asked of a source that has no such thing.
        SourceError: it is not there, does not open, or has no readable frame.
        MissingDependencyError: it needs a package that is not installed.
    """
    kind = _kind_of(request.address)
    check_wishes(request)
    module = import_module(f"{__name__}.{kind.module}")
    return cast(Callable[[SourceRequest], Source], getattr(module, kind.opener))(request)


def check_wishes(request: SourceRequest) -> None:
    """Raise UsageError where a request asks a source for what its kind does not have."""
    kind = _kind_of(request.address)
    asked = {"size": request.size_wh, "fps": request.fps, "fourcc": request.fourcc}
    for wish, value in asked.items():
        if value is not None and wish not in kind.wishes:
            raise UsageError(
                f"Expected --{wish} only with a source that can be asked for it. Received: "
                f"{kind.words} ({request.name}). Leave --{wish} out."
            )


def is_device(address: str) -> bool:
    """Return whether an address is that of a camera at this machine and not one on the network."""
    return _kind_of(address).device


def redact(text: str) -> str:
    """Return a text to be shown, with `***` for whatever in it may be a password in a URL.

    These are user and password before an `@`, and the values of parameters called like secrets.
    """
    text = _CREDENTIALS.sub(lambda match: f"{match[1] or ''}***@", text)
    return shown(_SECRET_PARAMETERS.sub(r"\1***", text))


def by_id(name: str, devices: Path = DEVICES) -> Path | None:
    """Return the device that has a stable name in `/dev/v4l/by-id`, or None."""
    path = devices / "v4l" / "by-id" / name
    return path if name and "/" not in name and path.exists() else None


def _is_camera(address: str) -> bool:
    path = Path(address)
    # /dev/shm is for files.
    device = path.is_relative_to(DEVICES) and not path.is_relative_to(DEVICES / "shm")
    number = address.isascii() and address.isdecimal()
    return number or device or by_id(address) is not None


def _are_pictures(address: str) -> bool:
    path = Path(address)
    if address and (path.is_dir() or path.suffix.lower() in _PICTURE_SUFFIXES):
        return True
    return glob.has_magic(address) and not path.exists()


@dataclass(frozen=True)
class _Kind:
    """A kind of source.

    `module` and `opener` say what opens it, `words` what messages call it. An address is of the
    kind that has its URL scheme or, without one, of the first whose `matches` says so. `live` ones
    have no end, `device` ones are at this machine; `wishes` are what they can be asked for.
    """

    module: str
    opener: str
    words: str
    wishes: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    matches: Callable[[str], bool] = lambda _: False
    live: bool = True
    device: bool = False


SOURCES = (
    _Kind("rtsp", "RtspStream", "an RTSP stream", ("fps",), schemes=("rtsp", "rtsps")),
    _Kind("mjpeg", "MjpegStream", "an HTTP stream", ("fps",), schemes=("http", "https")),
    _Kind(
        *("picamera", "Picamera", "picamera2", ("size", "fps")),
        matches=lambda address: address == "picamera2",
        device=True,
    ),
    _Kind(
        *("fake", "open_fake", "a fake camera", ("size", "fps")),
        matches=lambda address: address.startswith("fake:"),
    ),
    _Kind(
        *("camera", "Camera", "a camera", ("size", "fps", "fourcc")),
        matches=_is_camera,
        device=True,
    ),
    _Kind("stills", "Stills", "pictures", ("fps",), matches=_are_pictures, live=False),
    _Kind("video", "open_video", "a video file", matches=lambda _: True, live=False),
)
_SCHEMES = {scheme: kind for kind in SOURCES for scheme in kind.schemes}


def _kind_of(address: str) -> _Kind:
    scheme = _SCHEME.match(address)
    if scheme is None:
        return next(kind for kind in SOURCES if kind.matches(address))
    if re.search(r"\s", address):
        # What is before and after a space cannot be told from a password.
        raise SourceError(
            "Expected a URL without spaces as the source. Received: one that has some. "
            "Write %20 for each."
        )
    if scheme[1].lower() not in _SCHEMES:
        raise SourceError(
            f"Expected a URL that starts with {', '.join(_SCHEMES)}. Received: {redact(address)}. "
            "Choose a stream of the camera that is one of these."
        )
    return _SCHEMES[scheme[1].lower()]
