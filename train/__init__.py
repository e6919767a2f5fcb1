"""From photos to a trained Keras model and a report on how good it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketlens.imports import lazy_names

if TYPE_CHECKING:
    from pocketlens.cli.evaluate import summarise, summarise_evaluation
    from pocketlens.train.scoring import ModelEvaluation, evaluate_model
    from pocketlens.train.settings import Settings
    from pocketlens.train.training import Training, train

__all__ = [
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
        "ModelEvaluation": "pocketlens.train.scoring",
        "evaluate_model": "pocketlens.train.scoring",
        "summarise": "pocketlens.cli.evaluate",
        "summarise_evaluation": "pocketlens.cli.evaluate",
        "Settings": "pocketlens.train.settings",
        "Training": "pocketlens.train.training",
        "train": "pocketlens.train.training",
    },
)
