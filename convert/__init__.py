"""From a trained Keras model to `.tflite` files, each checked and described."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketlens.lazy import lazy_names

if TYPE_CHECKING:
    from pocketlens.convert.comparison import Comparison, Reference
    from pocketlens.convert.conversion import ConvertedFile, Demands, DropError, convert
    from pocketlens.convert.descriptions import Description
    from pocketlens.convert.formats import FORMATS

__all__ = [
    "FORMATS",
    "Comparison",
    "ConvertedFile",
    "Demands",
    "Description",
    "DropError",
    "Reference",
    "convert",
]

__getattr__ = lazy_names(
    __name__,
    {
        "FORMATS": "formats",
        "Comparison": "comparison",
        "ConvertedFile": "conversion",
        "Demands": "conversion",
        "Description": "descriptions",
        "DropError": "conversion",
        "Reference": "comparison",
        "convert": "conversion",
    },
)
