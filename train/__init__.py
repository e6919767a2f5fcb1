"""From photos to a trained Keras model and a report on how good it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketlens.imports import lazy_names

if TYPE_CHECKING:
    from pocketlens.evaluation.scorers import Elsewhere
    from pocketlens.train.scoring import ModelEvaluation, evaluate_model
    from pocketlens.train.settings import Settings
    from pocketlens.train.summary import summarise, summarise_evaluation
    from pocketlens.train.training import Training, train

__all__ = [
    "Elsewhere",
    "ModelEvaluation",
    "Settings",
    "Training",
    "evaluate_model",
    "summarise",
    "summarise_evaluation",
    "train",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Elsewhere": "pocketlens.evaluation.scorers",
        "ModelEvaluation": "pocketlens.train.scoring",
        "evaluate_model": "pocketlens.train.scoring",
        "summarise": "pocketlens.train.summary",
        "summarise_evaluation": "pocketlens.train.summary",
        "Settings": "pocketlens.train.settings",
        "Training": "pocketlens.train.training",
        "train": "pocketlens.train.training",
    },
)
