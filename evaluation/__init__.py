"""How good answers are: metrics, agreement, calibration, intervals and mistakes, with NumPy only.

from pocketlens.evaluation import evaluate_model

evaluate_model("flowers_int8.tflite", "photos/").result.accuracy
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketlens.imports import lazy_names

if TYPE_CHECKING:
    from pocketlens.evaluation.models import ModelEvaluation, evaluate_model

__all__ = ["ModelEvaluation", "evaluate_model"]

__getattr__ = lazy_names(
    __name__,
    {
        "ModelEvaluation": "pocketlens.evaluation.models",
        "evaluate_model": "pocketlens.evaluation.models",
    },
)
