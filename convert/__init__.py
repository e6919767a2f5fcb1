"""From a trained Keras model to `.tflite` files, each checked and described."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketlens.lazy import lazy_names

if TYPE_CHECKING:
    from pocketlens.convert.conversion import ConvertedFile, convert
    from pocketlens.convert.formats import FORMATS

__all__ = ["FORMATS", "ConvertedFile", "convert"]

__getattr__ = lazy_names(
    __name__, {"FORMATS": "formats", "ConvertedFile": "conversion", "convert": "conversion"}
)
