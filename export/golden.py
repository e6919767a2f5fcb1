"""Test pictures with the scores that each file gives for them here, for the app to compare."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pocketlens.errors import DataError
from pocketlens.export.models import Candidate
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.photos import existing_folder, find_pictures
from pocketlens.runtime.pictures import Pixels, decode, resize

GOLDEN_NAME = "golden.json"
COUNT = 5
# By how much MediaPipe's scores for the same pixels may differ, as `make peers` holds it to.
FLOAT_TOLERANCE = 0.01
# Two steps of an 8-bit output: each side may round its own way on the way there.
EIGHT_BIT_TOLERANCE = 2 / 256


def golden_pictures(photos: Path | None, size_wh: tuple[int, int], mode: str) -> list[Pixels]:
    """Return test pictures at a model's size: photos from all over a folder, or drawn ones.

    Returns:
        At most `COUNT` pictures, uint8 (height, width, 3), RGB.

    Raises:
        UsageError: there is no such folder.
        DataError: it holds no photos, or one of the chosen cannot be read.
    """
    if photos is None:
        return _drawn(*size_wh)
    found = sorted(find_pictures(existing_folder(photos)))
    if not found:
        raise DataError(f"Expected photos below {photos}. Received: none. Name a folder with some.")
    chosen = np.linspace(0, len(found) - 1, min(COUNT, len(found))).round().astype(int)
    return [resize(decode(found[index]), size_wh, mode) for index in chosen]


def golden_files(models: Sequence[Candidate], pictures: Sequence[Pixels]) -> dict[str, bytes]:
    """Return `golden.json` and its pictures by their names.

    Raises:
        ScoresError: a model gives NaN or infinite scores.
    """
    names = [f"golden_{index}.png" for index in range(len(pictures))]
    content = {
        "labels": models[0].card.score_labels,
        "images": names,
        "models": {f"{model.name}.tflite": _expected(model, pictures) for model in models},
    }
    files = {GOLDEN_NAME: (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()}
    return files | dict(zip(names, map(_png, pictures), strict=True))


def _expected(model: Candidate, pictures: Sequence[Pixels]) -> dict[str, Any]:
    scores = []
    with Classifier(model.model) as classifier:
        for pixels in pictures:
            row = classifier.scores(pixels)
            # For its error where they are NaN or infinite.
            classifier.best(row)
            scores.append([round(score, 6) for score in row.tolist()])
    eight_bit = model.signature.output.dtype == np.uint8
    return {
        "format": model.card.format,
        "sha256": model.sha256,
        "tolerance": EIGHT_BIT_TOLERANCE if eight_bit else FLOAT_TOLERANCE,
        "scores": scores,
    }


def _png(pixels: Pixels) -> bytes:
    from PIL import Image

    # With an opaque alpha channel, which MediaPipe asks for on iOS.
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert("RGBA").save(buffer, "PNG")
    return buffer.getvalue()


def _drawn(width: int, height: int) -> list[Pixels]:
    """Draw a ramp of colours, stripes, a disc, soft spots and noise."""
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([255 * x / width, 255 * y / height, 255 - 255 * x / width], axis=2)
    stripes = np.where(((8 * x) // width % 2 == 0)[..., None], (230, 180, 40), (30, 60, 120))
    inside = (x / width - 0.5) ** 2 + (y / height - 0.5) ** 2 < 0.1
    disc = np.where(inside[..., None], (200, 30, 60), (240, 240, 235))
    rng = np.random.default_rng(0)
    spots = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (width, height))
    noise = rng.integers(0, 256, (height, width, 3), np.uint8)
    return [picture.astype(np.uint8) for picture in (ramp, stripes, disc, spots, noise)]
