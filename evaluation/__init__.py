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
    from pocketlens.evaluation.run_table import RunTable, list_runs

__all__ = [
    "ModelComparison",
    "ModelEvaluation",
    "RunTable",
    "compare_models",
    "evaluate_model",
    "list_runs",
]

__getattr__ = lazy_names(
    __name__,
    {
        "ModelComparison": "pocketlens.evaluation.comparison",
        "ModelEvaluation": "pocketlens.evaluation.models",
        "RunTable": "pocketlens.evaluation.run_table",
        "compare_models": "pocketlens.evaluation.comparing",
        "evaluate_model": "pocketlens.evaluation.models",
        "list_runs": "pocketlens.evaluation.run_table",
    },
)
