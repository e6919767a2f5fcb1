"""Whether MediaPipe Tasks gives the scores of an exported folder's golden.json, rotation included.

Each model is exported for Android, and its folder judged by what is in it alone.
Needs `mediapipe` beside pocketlens: make peers PHOTOS=folder-per-class MODELS='models/*.tflite'
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions
from mediapipe.tasks.python.vision.core.image_processing_options import ImageProcessingOptions
from PIL import Image

from pocketlens.export import export

# As in the Kotlin and Swift files: the file's own threshold is not to count.
_NEARLY_0 = 1e-9
# MediaPipe samples a picture anew to turn it; the wrong way round differs by far more.
_MAX_ROTATED = 0.02


def main() -> int:
    """Export and compare each model; 0 if all agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="a folder with photos")
    parser.add_argument("models", type=Path, nargs="+", help=".tflite files")
    arguments = parser.parse_args()
    print(f"MediaPipe {mediapipe.__version__}")
    print("within  largest difference  rotated  tolerance  file")
    agree = []
    with tempfile.TemporaryDirectory() as home:
        for index, model in enumerate(arguments.models):
            folder = Path(home) / str(index)
            export([model], folder, "android", images=arguments.photos)
            golden = json.loads((folder / "golden.json").read_text("utf-8"))
            agree += [compare(folder, golden, name) for name in golden["models"]]
    return int(not all(agree))


def compare(folder: Path, golden: dict[str, Any], name: str) -> bool:
    """Print the figures of one model and return whether they are within its tolerance."""
    expected = golden["models"][name]
    options = ImageClassifierOptions(
        BaseOptions(model_asset_path=str(folder / name)), score_threshold=_NEARLY_0
    )
    upright, rotated = [], []
    with ImageClassifier.create_from_options(options) as peer:
        for image, row in zip(golden["images"], expected["scores"], strict=True):
            pixels = np.asarray(Image.open(folder / image).convert("RGB"))
            upright.append(difference(peer, golden["labels"], pixels, row, 0))
            # As a sensor gives it that has to be turned clockwise to be upright.
            for turns in (1, 2, 3):
                turned = np.ascontiguousarray(np.rot90(pixels, turns))
                rotated.append(difference(peer, golden["labels"], turned, row, 90 * turns))
    within = max(upright) <= expected["tolerance"] and max(rotated) <= _MAX_ROTATED
    print(
        f"{within!s:>6}  {max(upright):18.6f}  {max(rotated):7.4f}  {expected['tolerance']:9.5f}"
        f"  {name}"
    )
    return within


def difference(
    peer: Any, labels: list[str], pixels: Any, row: list[float], rotation_degrees: int
) -> float:
    """Return the largest difference between MediaPipe's scores and the expected ones."""
    image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
    result = peer.classify(image, ImageProcessingOptions(rotation_degrees=rotation_degrees))
    scores = np.zeros(len(row))
    for category in result.classifications[0].categories:
        assert category.category_name == labels[category.index]
        scores[category.index] = category.score
    return float(np.abs(scores - row).max())


if __name__ == "__main__":
    sys.exit(main())
