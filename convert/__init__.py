"""From a trained Keras model to `.tflite` files, each checked and described."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketlens.imports import lazy_names

if TYPE_CHECKING:
    from pocketlens.choices import FORMATS
    from pocketlens.convert.conversion import (
        ConvertedFile,
        DropError,
        IncompleteError,
        convert,
    )
    from pocketlens.convert.demands import Demands
    from pocketlens.evaluation.agreement import Comparison, Reference

__all__ = [
    "FORMATS",
    "Comparison",
    "ConvertedFile",
    "Demands",
    "DropError",
    "IncompleteError",
    "Reference",
    "convert",
]

__getattr__ = lazy_names(
    __name__,
    {
        "FORMATS": "pocketlens.choices",
        "Comparison": "pocketlens.evaluation.agreement",
        "ConvertedFile": "pocketlens.convert.conversion",
        "Demands": "pocketlens.convert.demands",
        "DropError": "pocketlens.convert.conversion",
        "IncompleteError": "pocketlens.convert.conversion",
        "Reference": "pocketlens.evaluation.agreement",
        "convert": "pocketlens.convert.conversion",
    },
)
