"""From `.tflite` files to what an app or a microcontroller takes them in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketlens.imports import lazy_names

if TYPE_CHECKING:
    from pocketlens.export.folders import TARGETS, Exported, export

__all__ = ["TARGETS", "Exported", "export"]

__getattr__ = lazy_names(__name__, dict.fromkeys(__all__, "pocketlens.export.folders"))
