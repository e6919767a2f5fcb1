"""From a picture to pixels: the one decode and the one resize that every part calls.

Training, calibration, evaluation, the runtime and the benchmarks see the same pixels for the same
picture because all of them come through here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from pocketlens.choices import RESIZE_MODES

if TYPE_CHECKING:
    from pathlib import Path

    from pocketlens.runtime.decoding import UprightPicture

# `numpy.typing.NDArray[np.uint8]`, written out: its module would be one more to import.
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
_Part = tuple[slice, slice]
# The part of what came before, the size and the interpolation it is resized with, and into what.
_Step = tuple[_Part, tuple[int, int], int, Pixels]

# Larger pictures are refused before they are unpacked: 100 megapixels take 300 MB as RGB.
MAX_PIXELS = 100_000_000

_WHOLE = (slice(None), slice(None))


class Header(NamedTuple):
    """What a picture file says about itself: Pillow's name of its format, size, orientation.

    `size_wh` is that of the stored pixels; `orientation` is EXIF's, 1 (upright) to 8.
    """

    format: str
    size_wh: tuple[int, int]
    orientation: int


def decode(picture: str | Path | bytes, name: str | None = None) -> Pixels:
    """Decode a picture file to upright 8-bit RGB.

    The EXIF orientation is applied. Greys, palettes and CMYK become RGB, 16-bit greys keep their
    range (divided by 257), 32-bit ones theirs if it is 0-1, 0-255 or 0-65535; transparency is laid
    over white, an animation gives its first frame. All threads together take some 400 MB.

    Args:
        picture: a path, or the bytes of a file.
        name: what errors call the picture; its path where nothing is said.

    Returns:
        uint8 (height, width, 3), RGB, 0-255.

    Raises:
        PictureError: the file is missing, no picture, damaged, larger than `MAX_PIXELS`, or takes
            more memory than that to decode.
    """
    # Imported here and below, since a camera's frames need no Pillow.
    from pocketlens.runtime.decoding import opened

    with opened(picture, name, lambda _: 3) as upright:
        pixels = np.empty(upright.shape, np.uint8)
        for part in upright.parts(len(pixels)):
            pixels[part] = upright[part, _WHOLE[1]]
        return pixels


def decode_resized(
    picture: str | Path | bytes,
    size_wh: tuple[int, int],
    mode: str = "stretch",
    name: str | None = None,
) -> Pixels:
    """Do what `resize(decode(picture, name), size_wh, mode)` does, in less memory.

    A large picture is halved part by part, so that it is never there as a whole twice.

    Raises:
        PictureError: as by `decode`, or the picture cannot be brought to this size.
    """
    from pocketlens.runtime.decoding import opened

    resizer = Resizer(size_wh, mode)
    # Of a picture that is halved at least once, a quarter and ever smaller ones are made.
    longest = max(size_wh)
    with opened(picture, name, lambda side: 1 if side >= 2 * longest else 3) as upright:
        return resizer.shrink(upright)


def read_header(data: bytes) -> Header | None:
    """Read what the bytes of a picture file say about it, without decoding; None if it is none."""
    from pocketlens.runtime.decoding import open_image, read_orientation

    try:
        with open_image(data) as image:
            return Header(image.format or "", image.size, read_orientation(image))
    except Exception:
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
    return Resizer(size_wh, mode)(pixels)


class Resizer:
    """Does what `resize` does again and again, for one size, in buffers that stay.

    What a call returns is overwritten by the next. It may be used by one thread at a time.

    Args:
        size_wh: width and height of the result.
        mode: see `resize`.
    """

    def __init__(self, size_wh: tuple[int, int], mode: str = "stretch") -> None:
        if mode not in RESIZE_MODES:
            raise ValueError(f"Expected one of {', '.join(RESIZE_MODES)}. Received: mode={mode!r}.")
        self._size_wh = size_wh
        self._mode = mode
        self._shape: tuple[int, ...] = ()
        self._part = _WHOLE
        self._steps: list[_Step] = []
        self._result: Pixels = np.empty((0, 0, 3), np.uint8)

    def __call__(self, pixels: Pixels) -> Pixels:
        """Return `pixels`, uint8 (height, width, 3), in the size, as `resize` does."""
        if pixels.shape != self._shape:
            self._prepare(pixels.shape)
        if self._part is not _WHOLE:
            pixels = pixels[self._part]
        return self._run(pixels, self._steps)

    def shrink(self, upright: UprightPicture) -> Pixels:
        """Return a loaded picture in the size, as `resize` does with all of its pixels."""
        self._prepare(upright.shape)
        (top, bottom, _), (left, right, _) = (
            part.indices(side) for part, side in zip(self._part, upright.shape[:2], strict=True)
        )
        if not self._steps or self._steps[0][2] != cv2.INTER_AREA:
            pixels = np.empty((bottom - top, right - left, 3), np.uint8)
            for part in upright.parts(len(pixels)):
                pixels[part] = upright[top + part.start : top + part.stop, left:right]
            return self._run(pixels, self._steps)
        _, (width, height), interpolation, target = self._steps[0]
        for part in upright.parts(2 * height, step=2):
            source = upright[top + part.start : top + part.stop, left : left + 2 * width]
            into = target[part.start // 2 : part.stop // 2]
            cv2.resize(source, (width, len(into)), dst=into, interpolation=interpolation)
        return self._run(target, self._steps[1:])

    def _run(self, pixels: Pixels, steps: list[_Step]) -> Pixels:
        for part, size_wh, interpolation, target in steps:
            source = pixels if part is _WHOLE else pixels[part]
            cv2.resize(source, size_wh, dst=target, interpolation=interpolation)
            pixels = target
        return self._result if self._steps else pixels

    def _prepare(self, shape: tuple[int, ...]) -> None:
        """Plan the steps for pictures of a shape, and make room for what each gives."""
        width, height = shape[1], shape[0]
        inner_wh, self._part, inside = self._size_wh, _WHOLE, _WHOLE
        if self._mode == "crop":
            scale = min(width / inner_wh[0], height / inner_wh[1])
            part_wh = _scaled(inner_wh, scale)
            self._part = _centred(part_wh, (width, height))
            width, height = part_wh
        elif self._mode == "pad":
            inner_wh = _scaled((width, height), min(inner_wh[0] / width, inner_wh[1] / height))
            inside = _centred(inner_wh, self._size_wh)
        planned = []
        while height >= 2 * inner_wh[1] and width >= 2 * inner_wh[0]:
            width, height = width // 2, height // 2
            planned.append((_first(2 * width, 2 * height), (width, height), cv2.INTER_AREA))
        # Of equal size, it copies: a picture goes into its frame as it is.
        if (width, height) != inner_wh or (self._mode == "pad" and not planned):
            planned.append((_WHOLE, inner_wh, cv2.INTER_LINEAR))
        self._result = np.zeros((self._size_wh[1], self._size_wh[0], *shape[2:]), np.uint8)
        targets = [np.empty((size[1], size[0], *shape[2:]), np.uint8) for _, size, _ in planned]
        targets[-1:] = [self._result[inside]] if targets else []
        self._steps = [(*step, target) for step, target in zip(planned, targets, strict=True)]
        self._shape = shape


def _scaled(size_wh: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(size_wh[0] * scale)), max(1, round(size_wh[1] * scale))


def _centred(inner_wh: tuple[int, int], outer_wh: tuple[int, int]) -> _Part:
    left, top = (outer_wh[0] - inner_wh[0]) // 2, (outer_wh[1] - inner_wh[1]) // 2
    return slice(top, top + inner_wh[1]), slice(left, left + inner_wh[0])


def _first(width: int, height: int) -> _Part:
    return slice(height), slice(width)
