"""From photos to a trained Keras model and a report on how good it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketlens.imports import lazy_names

if TYPE_CHECKING:
    from pocketlens.evaluation.models import ModelEvaluation, evaluate_model
    from pocketlens.train.report import evaluate_with_report
    from pocketlens.train.settings import Settings
    from pocketlens.train.training import Training, train

__all__ = [
    "ModelEvaluation",
    "Settings",
    "Training",
    "evaluate_model",
    "evaluate_with_report",
    "train",
]

__getattr__ = lazy_names(
    __name__,
    {
        "ModelEvaluation": "pocketlens.evaluation.models",
        "evaluate_model": "pocketlens.evaluation.models",
        "evaluate_with_report": "pocketlens.train.report",
        "Settings": "pocketlens.train.settings",
        "Training": "pocketlens.train.training",
        "train": "pocketlens.train.training",
    },
)
