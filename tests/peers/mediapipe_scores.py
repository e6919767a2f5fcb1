"""Whether MediaPipe Tasks reads converted files as pocketlens does: same labels, same scores.

Both get the same pixels, resized by pocketlens, so that MediaPipe's own resizing plays no part.
Needs `mediapipe` beside pocketlens: make peers PHOTOS=folder-per-class MODELS='models/*.tflite'
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

from pocketlens.runtime import Classifier
from pocketlens.runtime.photos import find_pictures
from pocketlens.runtime.pictures import decode, resize

MAX_DIFFERENCE = 0.01
# Two steps of an 8-bit output: each side may round its own way on the way there.
MAX_DIFFERENCE_8_BIT = 2 / 256
_NEARLY_0 = 1e-9


def main() -> int:
    """Compare each model; 0 if all agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="a folder with photos")
    parser.add_argument("models", type=Path, nargs="+", help=".tflite files")
    parser.add_argument("--count", type=int, default=50, help="how many photos")
    arguments = parser.parse_args()
    found = sorted(find_pictures(arguments.photos))
    photos = found[:: max(1, len(found) // arguments.count)][: arguments.count]
    print(f"MediaPipe {mediapipe.__version__}, {len(photos)} photos")
    print("same labels  same top-1  largest score difference  file")
    agree = [compare(model, photos) for model in arguments.models]
    return int(not all(agree))


def compare(model: Path, photos: list[Path]) -> bool:
    """Print the figures of one model and return whether they are good enough."""
    with Classifier(model) as classifier:
        pixels = [resize(decode(photo), classifier.size_wh, "stretch") for photo in photos]
        ours = np.stack([classifier.scores(entry) for entry in pixels])
        card = classifier.model.card
        # A binary model has one score, that of its positive label.
        labels = card.score_labels if card else classifier.labels
        eight_bit = classifier.signature.output.dtype == np.uint8
    # Every score is to be compared, so the file's own threshold is not to count; MediaPipe takes 0
    # for none given.
    options = ImageClassifierOptions(
        BaseOptions(model_asset_path=str(model)), max_results=-1, score_threshold=_NEARLY_0
    )
    theirs = np.zeros_like(ours)
    names = [""] * len(labels)
    with ImageClassifier.create_from_options(options) as peer:
        for row, entry in zip(theirs, pixels, strict=True):
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=entry)
            for category in peer.classify(image).classifications[0].categories:
                row[category.index] = category.score
                names[category.index] = category.category_name
    difference = float(np.abs(ours - theirs).max())
    top = int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
    same_labels = tuple(names) == labels
    print(f"{same_labels!s:>11}  {top:4}/{len(photos):<5}  {difference:24.6f}  {model.name}")
    return same_labels and difference <= (MAX_DIFFERENCE_8_BIT if eight_bit else MAX_DIFFERENCE)


if __name__ == "__main__":
    sys.exit(main())
