"""The pictures that accuracy is measured on: a folder, a run's test photos, or pixels in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import LabelsError, PictureError, UsageError
from pocketlens.runtime.photos import LabelledPhotos, Photo, read_pixels, scan
from pocketlens.runtime.pictures import Pixels, resize


@dataclass(frozen=True)
class Samples:
    """Pictures already decoded.

    `pixels` is uint8 (count, height, width, 3) in RGB, `label_indices` (count,) are indices into
    `labels`.

    Raises:
        UsageError: the two do not fit each other.
    """

    labels: tuple[str, ...]
    pixels: Pixels
    label_indices: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuse arrays that cannot be pictures with labels."""
        fits = (
            self.pixels.dtype == np.uint8
            and self.pixels.ndim == 4
            and self.pixels.shape[3] == 3
            and self.label_indices.shape == self.pixels.shape[:1]
        )
        if not fits:
            raise UsageError(
                "Expected pixels as uint8 (count, height, width, 3) and as many label indices. "
                f"Received: {self.pixels.dtype} {self.pixels.shape} and "
                f"{self.label_indices.shape}."
            )

    def __len__(self) -> int:
        return len(self.pixels)

    def with_labels(self, labels: tuple[str, ...]) -> Samples:
        """Return the same pictures with their indices in a model's `labels`.

        Raises:
            LabelsError: a class of the pictures is none of the model's.
        """
        unknown = sorted(set(self.labels) - set(labels))
        if unknown:
            raise LabelsError(
                f"Expected pictures of the model's labels ({', '.join(labels[:6])}). "
                f"Received: {', '.join(unknown[:6])}. Choose the model that was trained on them."
            )
        index = np.array([labels.index(label) for label in self.labels], np.int64)
        return Samples(labels, self.pixels, index[self.label_indices])

    def stream(
        self, size_wh: tuple[int, int], resize_mode: str, skipped: list[PictureError]
    ) -> Iterator[tuple[Pixels, int]]:
        """Yield the pictures, resized; see `PhotoSamples.stream`."""
        for pixels, index in zip(self.pixels, self.label_indices, strict=True):
            yield resize(pixels, size_wh, resize_mode), int(index)


@dataclass(frozen=True)
class PhotoSamples:
    """Photos on disk, decoded while they are needed."""

    photos: LabelledPhotos

    @property
    def labels(self) -> tuple[str, ...]:
        """What the photos' label indices stand for."""
        return self.photos.labels

    def __len__(self) -> int:
        return len(self.photos.photos)

    def with_labels(self, labels: tuple[str, ...]) -> PhotoSamples:
        """Return the same photos with their indices in a model's `labels`.

        Raises:
            LabelsError: a class of the photos is none of the model's.
        """
        return PhotoSamples(self.photos.with_labels(labels))

    def stream(
        self, size_wh: tuple[int, int], resize_mode: str, skipped: list[PictureError]
    ) -> Iterator[tuple[Pixels, int]]:
        """Yield pixels uint8 (height, width, 3) in RGB with their label indices, in order.

        Photos that cannot be read are left out, and why is appended to `skipped`.
        """
        photos: tuple[Photo, ...] = self.photos.photos
        pixels = read_pixels((photo.path for photo in photos), size_wh, resize_mode)
        for photo, result in zip(photos, pixels, strict=True):
            if isinstance(result, PictureError):
                skipped.append(result)
            else:
                yield result, photo.label_index


Data = Samples | PhotoSamples


def find_samples(data: str | Path | LabelledPhotos | Samples) -> Data:
    """Take pixels or photos as they are, a run's held-back test photos, or a folder per class.

    Raises:
        UsageError: there is no such folder.
        DataError: it holds no photos.
    """
    if isinstance(data, Samples):
        return data
    if isinstance(data, LabelledPhotos):
        return PhotoSamples(data)
    from pocketlens.runtime.runs import is_run, read_run

    folder = Path(data)
    if folder.is_dir() and is_run(folder):
        return PhotoSamples(read_run(folder).photos("test"))
    return PhotoSamples(scan(folder))
