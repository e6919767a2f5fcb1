"""From a picture to pixels: the one decode and the one resize that every part calls.

Training, calibration, evaluation, the runtime and the benchmarks see the same pixels for the same
picture because all of them come through here.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pocketlens.card import RESIZE_MODES
from pocketlens.errors import PictureError

Pixels = NDArray[np.uint8]

# Larger pictures are refused before they are unpacked: 100 megapixels take 300 MB as RGB.
MAX_PIXELS = 100_000_000

_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Header:
    """What a picture file says about itself: Pillow's name of its format, size, orientation.

    `size_wh` is that of the stored pixels; `orientation` is EXIF's, 1 (upright) to 8.
    """

    format: str
    size_wh: tuple[int, int]
    orientation: int


def decode(picture: str | Path | bytes, name: str | None = None) -> Pixels:
    """Decode a picture file to upright 8-bit RGB.

    The EXIF orientation is applied. Greys, palettes and CMYK become RGB, 16-bit greys keep their
    range (divided by 257), transparency is laid over white, an animation gives its first frame.

    Args:
        picture: a path, or the bytes of a file.
        name: what errors call the picture; its path where nothing is said.

    Returns:
        uint8 (height, width, 3), RGB, 0-255.

    Raises:
        PictureError: the file is missing, no picture, damaged, or larger than `MAX_PIXELS`.
    """
    name = name or ("picture data" if isinstance(picture, bytes) else str(picture))
    try:
        with (
            warnings.catch_warnings(),
            Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as image,
        ):
            # Pillow warns of large pictures by its own limit; ours is the one that counts.
            warnings.simplefilter("ignore")
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise PictureError(
                    f"Expected a picture of at most {MAX_PIXELS // 1_000_000} megapixels. "
                    f"Received: {name} with {width}x{height}. Make it smaller."
                )
            return _to_rgb(ImageOps.exif_transpose(image))
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(
            f"Expected a picture of at most {MAX_PIXELS // 1_000_000} megapixels. "
            f"Received: {name}, which is far larger. Make it smaller."
        ) from error
    except UnidentifiedImageError as error:
        raise PictureError(
            f"Expected a picture (JPEG, PNG, WebP, BMP, GIF, …). Received: {name}, whose content "
            "is none of these. Remove it or save it as a picture."
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, IndexError) as error:
        # Pillow's decoders raise all of these for damaged files.
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise PictureError(
            f"Expected a readable picture. Received: {name}: {reason}. Remove it or copy it again."
        ) from error


def read_header(data: bytes) -> Header | None:
    """Read what the bytes of a picture file say about it, without decoding; None if it is none."""
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
            warnings.simplefilter("ignore")
            orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
            known = isinstance(orientation, int) and 1 <= orientation <= 8
            return Header(image.format or "", image.size, orientation if known else 1)
    except (Image.DecompressionBombError, OSError, ValueError, SyntaxError, EOFError, IndexError):
        # What is wrong with the file is for `decode` to say.
        return None


def resize(pixels: Pixels, size_wh: tuple[int, int], mode: str = "stretch") -> Pixels:
    """Bring pixels to a model's input size.

    While both sides are at least twice as long as needed, both are halved exactly by averaging
    2x2 pixels, then bilinear interpolation does the rest: linear alone would skip pixels and
    alias, averaging over the whole picture costs ten times as much. An odd last row or column is
    left out of a halving. The order of the channels does not matter.

    Args:
        pixels: uint8 (height, width, 3).
        size_wh: width and height of the result.
        mode: "stretch" ignores the proportions, "crop" takes the largest centred part with the
            model's proportions, "pad" keeps all and fills with black on both sides.

    Returns:
        uint8 (size_wh[1], size_wh[0], 3). May be `pixels` itself where nothing is to be done.
    """
    if mode == "stretch":
        return _stretch(pixels, size_wh)
    if mode == "crop":
        return _stretch(_centre(pixels, size_wh), size_wh)
    if mode == "pad":
        return _pad(pixels, size_wh)
    raise ValueError(f"Expected one of {', '.join(RESIZE_MODES)}. Received: mode={mode!r}.")


def _to_rgb(image: Image.Image) -> Pixels:
    if image.mode in _SIXTEEN_BIT_MODES:
        grey = np.asarray(image).astype(np.int64)
        grey8 = np.clip((grey + 128) // 257, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(np.repeat(grey8[..., None], 3, axis=2))
    if image.has_transparency_data:
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
    return np.asarray(image.convert("RGB"))


def _stretch(pixels: Pixels, size_wh: tuple[int, int]) -> Pixels:
    width, height = size_wh
    while pixels.shape[0] >= 2 * height and pixels.shape[1] >= 2 * width:
        rows, columns = pixels.shape[0] // 2, pixels.shape[1] // 2
        pixels = cv2.resize(  # type: ignore[assignment]
            pixels[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA
        )
    if pixels.shape[:2] != (height, width):
        pixels = cv2.resize(  # type: ignore[assignment]
            pixels, (width, height), interpolation=cv2.INTER_LINEAR
        )
    return pixels


def _centre(pixels: Pixels, size_wh: tuple[int, int]) -> Pixels:
    height, width = pixels.shape[:2]
    scale = min(width / size_wh[0], height / size_wh[1])
    part_width = max(1, round(size_wh[0] * scale))
    part_height = max(1, round(size_wh[1] * scale))
    left, top = (width - part_width) // 2, (height - part_height) // 2
    return pixels[top : top + part_height, left : left + part_width]


def _pad(pixels: Pixels, size_wh: tuple[int, int]) -> Pixels:
    height, width = pixels.shape[:2]
    scale = min(size_wh[0] / width, size_wh[1] / height)
    inner_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    inner = _stretch(pixels, inner_wh)
    result = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    left, top = (size_wh[0] - inner_wh[0]) // 2, (size_wh[1] - inner_wh[1]) // 2
    result[top : top + inner_wh[1], left : left + inner_wh[0]] = inner
    return result
