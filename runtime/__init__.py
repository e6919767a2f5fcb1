"""From a `.tflite` file to labels, on photos, video and live cameras; no TensorFlow needed."""

from pocketlens.runtime.classifier import Category, Classifier, Result, Timing

__all__ = ["Category", "Classifier", "Result", "Timing"]
