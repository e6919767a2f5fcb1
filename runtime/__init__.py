"""From a `.tflite` file to labels, on photos, video and live cameras; no TensorFlow needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketlens.imports import lazy_names

if TYPE_CHECKING:
    from pocketlens.runtime.classifier import Category, Classifier, Result, Timing

__all__ = ["Category", "Classifier", "Result", "Timing"]

# Lazily, so that `doctor` can say what is wrong where OpenCV or NumPy do not even import.
__getattr__ = lazy_names(__name__, dict.fromkeys(__all__, "pocketlens.runtime.classifier"))
