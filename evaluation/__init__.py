"""How good answers are: metrics, agreement, calibration, intervals and mistakes, with NumPy only.

from pocketlens.evaluation import evaluate_model

evaluate_model("flowers_int8.tflite", "photos/").result.accuracy
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketlens.imports import lazy_names

if TYPE_CHECKING:
    from pocketlens.evaluation.comparing import compare_models
    from pocketlens.evaluation.comparison import ModelComparison
    from pocketlens.evaluation.models import ModelEvaluation, evaluate_model

__all__ = ["ModelComparison", "ModelEvaluation", "compare_models", "evaluate_model"]

__getattr__ = lazy_names(
    __name__,
    {
        "ModelComparison": "pocketlens.evaluation.comparison",
        "ModelEvaluation": "pocketlens.evaluation.models",
        "compare_models": "pocketlens.evaluation.comparing",
        "evaluate_model": "pocketlens.evaluation.models",
    },
)
