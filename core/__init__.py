"""pocketlens: from a folder of photos to a classifier that runs live on a small device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketlens.imports import lazy_names

if TYPE_CHECKING:
    from pocketlens.card import ModelCard
    from pocketlens.errors import PocketlensError
    from pocketlens.runtime.classifier import Classifier, Result
    from pocketlens.runtime.hints import ModelHints

__version__ = "0.1.0"

__all__ = ["Classifier", "ModelCard", "ModelHints", "PocketlensError", "Result", "__version__"]

# Lazily, so that `import pocketlens` costs next to nothing and needs no NumPy.
__getattr__ = lazy_names(
    __name__,
    {
        "Classifier": "pocketlens.runtime.classifier",
        "ModelCard": "pocketlens.card",
        "ModelHints": "pocketlens.runtime.hints",
        "PocketlensError": "pocketlens.errors",
        "Result": "pocketlens.runtime.classifier",
    },
)
