"""The photos that accuracy is measured on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pocketlens.errors import PictureError
from pocketlens.runtime.photos import LabelledPhotos, read_pixels, scan
from pocketlens.runtime.pictures import Pixels
from pocketlens.runtime.runs import is_run, read_run


def find_photos(data: str | Path | LabelledPhotos) -> LabelledPhotos:
    """Return a run's held-back test photos, those of a folder per class, or what is given.

    Raises:
        UsageError: there is no such folder.
        DataError: it holds no photos.
    """
    if isinstance(data, LabelledPhotos):
        return data
    folder = Path(data)
    return read_run(folder).photos("test") if is_run(folder) else scan(folder)


def stream(
    photos: LabelledPhotos,
    size_wh: tuple[int, int],
    resize_mode: str,
    skipped: list[PictureError],
) -> Iterator[tuple[Pixels, int]]:
    """Yield pixels uint8 (height, width, 3) in RGB with their label indices, in order.

    Photos that cannot be read are left out, and why is appended to `skipped`.
    """
    pixels = read_pixels((photo.path for photo in photos.photos), size_wh, resize_mode)
    for photo, result in zip(photos.photos, pixels, strict=True):
        if isinstance(result, PictureError):
            skipped.append(result)
        else:
            yield result, photo.label_index
