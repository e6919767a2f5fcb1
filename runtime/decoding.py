"""Pillow's part of decoding: which formats, in how much memory, and upright RGB out of any mode."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from pocketlens.errors import PictureError
from pocketlens.names import shown
from pocketlens.runtime import pictures
from pocketlens.runtime.pictures import Pixels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Pillow warns of large pictures by its own limit, and of odd tags. For good, since threads that set
# and reset this for themselves would do it to each other.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Nothing else is opened: Pillow has 40 formats more, for some of which it starts programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
FORMATS_TEXT = "JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF or HEIC"
_PLUGINS = ("Jpeg", "Png", "WebP", "Bmp", "Gif", "Tiff", "Avif")

# What all decoders of this process hold at once. Large pictures are decoded one after the other.
MAX_BYTES = 380_000_000
_LARGE_BYTES = MAX_BYTES // 3
# Beside the pixels: a part of a picture while it becomes RGB.
_WORK_BYTES = 16_000_000
_PART_PIXELS = 1 << 19
_LARGE_FILE_BYTES = 16_000_000
_ROW_BYTES = 8

# Pillow's modes by what a pixel takes in them; the others take 4 bytes.
_MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
_SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
_LIMITS = (1, 255, 65535)

_ORIENTATION = 0x0112
_MIRRORED_X, _MIRRORED_Y, _TRANSPOSED = (2, 3, 7, 8), (3, 4, 6, 7), (5, 6, 7, 8)

# Of TIFF.
_HEIGHT, _BITS_PER_SAMPLE, _ROWS_PER_STRIP = 257, 258, 278


class _Memory:
    """Bytes that threads hold for a while; who wants more than there is waits."""

    def __init__(self) -> None:
        self._free = MAX_BYTES
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def held(self, count: int) -> Iterator[None]:
        count = MAX_BYTES if count > _LARGE_BYTES else count
        with self._changed:
            self._changed.wait_for(lambda: self._free >= count)
            self._free -= count
        if count == MAX_BYTES:
            _trim_heap()
        try:
            yield
        finally:
            with self._changed:
                self._free += count
                self._changed.notify_all()


MEMORY = _Memory()


def _trim_heap() -> None:
    """Give back what earlier pictures have left: glibc keeps it, for each thread its own."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class _Needs(NamedTuple):
    """Bytes a pixel: at most while it is decoded, and afterwards, as long as Pillow has it."""

    decoding: float
    decoded: float


class UprightPicture:
    """A loaded picture whose upright rows become RGB as they are asked for.

    `shape` is (height, width, 3) of the upright picture.
    """

    def __init__(self, image: Image.Image, name: str) -> None:
        image.load()
        self._image = image
        # Only now: Pillow turns TIFFs upright itself while it loads them.
        self._orientation = read_orientation(image)
        self._limit = _grey_limit(image, name)
        width, height = image.size
        turned = self._orientation in _TRANSPOSED
        self.shape = (width, height, 3) if turned else (height, width, 3)

    def __getitem__(self, part: tuple[slice, slice]) -> Pixels:
        """Return rows and columns as uint8 (rows, columns, 3) RGB."""
        top, bottom, _ = part[0].indices(self.shape[0])
        left, right, _ = part[1].indices(self.shape[1])
        width, height = self._image.size
        turned = self._orientation in _TRANSPOSED
        (x0, x1), (y0, y1) = ((top, bottom), (left, right))[:: 1 if turned else -1]
        flip_x, flip_y = self._orientation in _MIRRORED_X, self._orientation in _MIRRORED_Y
        if flip_x:
            x0, x1 = width - x1, width - x0
        if flip_y:
            y0, y1 = height - y1, height - y0
        whole = (x0, y0, x1, y1) == (0, 0, width, height)
        image = self._image if whole else self._image.crop((x0, y0, x1, y1))
        pixels = _to_rgb(image, self._limit)
        # By OpenCV, which is faster than NumPy's copies of such views.
        turning: NDArray[Any] = pixels
        if flip_x or flip_y:
            turning = cv2.flip(turning, 1 - flip_y if flip_x != flip_y else -1)
        return np.asarray(cv2.transpose(turning) if turned else turning)

    def parts(self, rows: int, step: int = 1) -> Iterator[slice]:
        """Yield slices of together `rows` rows, each a multiple of `step` and of limited size."""
        most = max(step, _PART_PIXELS // self.shape[1] // step * step)
        return (slice(top, min(top + most, rows)) for top in range(0, rows, most))


@contextlib.contextmanager
def opened(
    picture: str | Path | bytes, name: str | None, left_over: Callable[[int], float]
) -> Iterator[UprightPicture]:
    """Give a loaded picture; all else that decoders hold meanwhile fits into `MAX_BYTES` too.

    Args:
        picture: a path, or the bytes of a file.
        name: what errors call the picture.
        left_over: gives the bytes that the block makes of each pixel, by the shorter side.

    Raises:
        PictureError: it cannot be decoded, or not in `MAX_BYTES`.
    """
    name = shown(name or ("picture data" if isinstance(picture, bytes) else picture))
    with contextlib.ExitStack() as stack:
        data, large = picture, False
        if not isinstance(data, bytes):
            large = _file_size(data) > _LARGE_FILE_BYTES
            if large:
                # Before it is read; what it takes besides is known only then.
                stack.enter_context(MEMORY.held(MAX_BYTES))
            data = read_file(data, name)
        stack.enter_context(_errors(data, name))
        image = stack.enter_context(open_image(data))
        width, height = image.size
        if width * height > pictures.MAX_PIXELS:
            raise PictureError(
                f"Expected a picture of at most {pictures.MAX_PIXELS // 1_000_000} megapixels. "
                f"Received: {name} with {width}x{height}. Make it smaller."
            )
        needed = _needed_bytes(image, data, left_over(min(image.size)))
        if needed > MAX_BYTES:
            raise PictureError(
                f"Expected a picture that takes at most {MAX_BYTES // 1_000_000} MB to decode. "
                f"Received: {name}, {image.format} with {width}x{height} pixels, which takes "
                f"{needed // 1_000_000}. Make it smaller."
            )
        if not large:
            stack.enter_context(MEMORY.held(needed))
        yield UprightPicture(image, name)


def memory_needed(path: str | Path) -> int:
    """Return how many bytes the picture at `path` takes to decode; 0 where that is refused."""
    # Opening a pipe waits for its other end.
    if not os.path.isfile(path):
        return 0
    try:
        with open(path, "rb") as file, open_image(file) as image:
            return _needed_bytes(image, b"", 1) + os.fstat(file.fileno()).st_size
    except Exception:
        # What is wrong with it is for the decoder to say.
        return 0


@contextlib.contextmanager
def open_image(data: bytes | io.BufferedIOBase) -> Iterator[Image.Image]:
    """Open a picture with Pillow, which reads its header only."""
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    with Image.open(file, formats=_formats()) as image:  # type: ignore[arg-type]
        yield image


def read_orientation(image: Image.Image) -> int:
    """Return EXIF's orientation, 1 (upright) to 8, as far as the file has been read."""
    try:
        # That of PNG's plugin decodes all pixels where the header has no EXIF.
        found = Image.Image.getexif(image).get(_ORIENTATION, 1)
        return int(found) if found in range(1, 9) else 1
    except Exception:
        # Its readers run over damaged tags with whatever they make them do.
        return 1


def read_file(path: str | Path, name: str) -> bytes:
    """Return the content of a picture's file, which errors call `name`.

    Raises:
        PictureError: it is no file that can be read, or one that no decoder should hold.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            # A folder stands among photos where what is in it cannot be listed; this says why.
            os.listdir(path)
        if not stat.S_ISREG(status.st_mode):
            raise PictureError(
                f"Expected a picture at {name}. Received: not a regular file. Check the path."
            )
        if status.st_size > MAX_BYTES:
            raise PictureError(
                f"Expected a file of at most {MAX_BYTES // 1_000_000} MB. Received: {name} with "
                f"{status.st_size // 1_000_000}. Make it smaller."
            )
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise PictureError(
            f"Expected a picture at {name}. Received: nothing there. Check the path."
        ) from error
    except (OSError, ValueError) as error:
        if isinstance(error, PictureError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise PictureError(
            f"Expected a readable picture. Received: {name}: {reason}. Remove it or make it "
            "readable."
        ) from error


def _file_size(path: str | Path) -> int:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0


@contextlib.contextmanager
def _errors(data: bytes, name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into a PictureError about `name`."""
    try:
        yield
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(
            f"Expected a picture of at most {pictures.MAX_PIXELS // 1_000_000} megapixels. "
            f"Received: {name}, which is far larger. Make it smaller."
        ) from error
    except UnidentifiedImageError as error:
        brand = data[8:12] if data[4:8] == b"ftyp" else b""
        if brand in (b"avif", b"avis") and "AVIF" not in _formats():
            what, advice = "an AVIF picture", 'Install "pillow>=11.3", or save it as JPEG.'
        elif brand[:2] == b"he" or brand in (b"mif1", b"msf1"):
            what = "a HEIC picture"
            advice = "Save it as JPEG, or install what reads it: pip install 'pocketlens[heic]'"
            if "HEIF" in _formats():
                what, advice = "a damaged HEIC picture", "Remove it or copy it again."
        else:
            what, advice = "whose content is none of these", "Remove it or save it as a picture."
        raise PictureError(
            f"Expected a picture ({FORMATS_TEXT}). Received: {name}, {what}. {advice}"
        ) from error
    except Exception as error:
        # Decoders raise nearly everything for damaged files: RuntimeError, MemoryError, …
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise PictureError(
            f"Expected a readable picture. Received: {name}: "
            f"{shown(reason or type(error).__name__)}. Remove it or copy it again."
        ) from error


@cache
def _formats() -> tuple[str, ...]:
    for plugin in _PLUGINS:
        # Older versions of Pillow have no AVIF.
        with contextlib.suppress(ImportError):
            importlib.import_module(f"PIL.{plugin}ImagePlugin")
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    return tuple(form for form in (*FORMATS, "HEIF") if form in Image.OPEN)


def _needed_bytes(image: Image.Image, data: bytes, left_over: float) -> int:
    """Return what decoding takes at most, `left_over` bytes a pixel for its result included."""
    width, height = image.size
    needs = _needs(image, data)
    most = max(needs.decoding, needs.decoded + left_over)
    # Some formats' plugins copy the file.
    copies = 2 if image.format in ("WEBP", "AVIF", "HEIF") else 1
    return copies * len(data) + int(width * height * most) + _ROW_BYTES * height + _WORK_BYTES


def _needs(image: Image.Image, data: bytes) -> _Needs:
    """Return what decoding takes; measured with Pillow 13 on pictures of 16 megapixels."""
    pixel = _MODE_BYTES.get(image.mode, 4)
    if image.format == "WEBP":
        # Two canvases of the animation that it may be, their copy and the picture itself.
        return _Needs(16.5, 12.5)
    if image.format in ("AVIF", "HEIF"):
        at = data.find(b"av1C")
        deep = not data or image.format == "HEIF" or (at >= 0 and data[at + 6 : at + 7] >= b"\x40")
        return _Needs(20, 14) if deep else _Needs(14, 10)
    if image.format == "TIFF":
        # A strip as it is stored, up to the whole picture; then Pillow turns it upright.
        tags = getattr(image, "tag_v2", {})
        bits, rows = tags.get(_BITS_PER_SAMPLE), tags.get(_ROWS_PER_STRIP)
        share = min(1.0, rows / max(1, tags.get(_HEIGHT, 0))) if isinstance(rows, int) else 1.0
        strip = share * max(4.0, sum(bits) / 8 if isinstance(bits, tuple) else 4.0)
        turned = 0 if read_orientation(image) == 1 else pixel
        return _Needs(pixel + max(strip, turned), pixel)
    if image.format in ("JPEG", "MPO"):
        return _Needs(pixel + _coefficient_bytes(image), pixel)
    return _Needs(pixel, pixel)


def _coefficient_bytes(image: Image.Image) -> float:
    """Return what libjpeg keeps of each pixel of a JPEG in several scans: its coefficients."""
    layers = getattr(image, "layer", [])
    file = getattr(image, "fp", None)
    if not layers or file is None:
        return 0
    # Pillow has read the header of the first scan, whose length says how many layers it has.
    place = file.tell()
    file.seek(max(0, place - 8 - 2 * len(layers)))
    marker = file.read(2)
    file.seek(place)
    if not image.info.get("progressive") and marker == b"\xff\xda":
        return 0
    finest = max(layer[1] for layer in layers) * max(layer[2] for layer in layers)
    return float(2 * sum(layer[1] * layer[2] for layer in layers) / max(1, finest))


def _grey_limit(image: Image.Image, name: str) -> int:
    """Return what white is in a picture of 16- or 32-bit greys, 0 for the others.

    Raises:
        PictureError: its values are in no known range.
    """
    if image.mode in _SIXTEEN_BIT_MODES or (image.mode == "I" and image.format == "PNG"):
        return 65535
    if image.mode not in ("I", "F"):
        return 0
    low, high = _extremes(image)
    for limit in _LIMITS:
        # Written this way round, NaN is refused too.
        if low >= 0 and high <= limit:
            return limit
    raise PictureError(
        "Expected greys between 0 and 1, 255 or 65535 in a picture of 32 bits. Received: "
        f"{name} with {low:g} to {high:g}. Save it with 8 or 16 bits."
    )


def _extremes(image: Image.Image) -> tuple[float, float]:
    width, height = image.size
    rows = max(1, _PART_PIXELS // width)
    low, high = np.inf, -np.inf
    for top in range(0, height, rows):
        part = np.asarray(image.crop((0, top, width, min(top + rows, height))))
        # NaN stays NaN, other than with Python's own.
        low, high = np.minimum(low, part.min()), np.maximum(high, part.max())
    return float(low), float(high)


def _to_rgb(image: Image.Image, grey_limit: int) -> Pixels:
    if grey_limit:
        values = np.asarray(image).astype(np.float64) * (255 / grey_limit)
        grey: Pixels = np.floor(values + 0.5).astype(np.uint8)
        return np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2))
    if image.has_transparency_data:
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
    return np.asarray(image.convert("RGB"))
