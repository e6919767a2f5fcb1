"""From photos to a trained Keras model and a report on how good it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketlens.lazy import lazy_names

if TYPE_CHECKING:
    from pocketlens.train.scoring import ModelEvaluation, evaluate_model
    from pocketlens.train.settings import Settings
    from pocketlens.train.training import Training, train

__all__ = ["ModelEvaluation", "Settings", "Training", "evaluate_model", "train"]

__getattr__ = lazy_names(
    __name__,
    {
        "ModelEvaluation": "scoring",
        "evaluate_model": "scoring",
        "Settings": "settings",
        "Training": "training",
        "train": "training",
    },
)
