"""The card of a converted file: what it came from and what it costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from pocketlens.card import ModelCard
from pocketlens.convert.adaptation import Adaptation
from pocketlens.convert.comparison import Comparison
from pocketlens.convert.formats import EIGHT_BIT
from pocketlens.convert.search import Choice
from pocketlens.runtime.operators import Operators

_PACKAGES = ("tensorflow", "keras", "ai-edge-quantizer", "ai-edge-litert")


def calibration(photos: int, chosen: bool) -> dict[str, Any]:
    """Return what the card says of the representative photos."""
    source = "a folder that was given" if chosen else "training part, stratified"
    return {"photos": photos, "source": source}


def for_format(card: ModelCard, entry: str, calibrated: Mapping[str, Any]) -> ModelCard:
    """Return the card of a format's file, before it is measured."""
    return dataclasses.replace(
        card,
        format=entry,
        calibration=dict(calibrated) if entry in EIGHT_BIT else {},
        versions={**card.versions, **{package: version(package) for package in _PACKAGES}},
    )


def with_figures(
    card: ModelCard,
    operators: Operators,
    comparison: Comparison,
    choice: Choice | None,
    adaptation: Adaptation | None,
) -> ModelCard:
    """Return the card with what was measured on the file.

    Times are left out: the same model and photos are to give the same bytes.
    """
    metrics = {
        **card.metrics,
        "agreement_with_original": round(comparison.agreement, 4),
        "compared_photos": comparison.photos,
        "operators": operators.counts,
        "partitions": operators.partitions,
    }
    if comparison.accuracy is not None:
        metrics["converted_accuracy"] = round(comparison.accuracy, 4)
        metrics["lost_to_original_points"] = round(comparison.drop_points, 2)
    if adaptation is not None:
        metrics["adaptation"] = {
            "photos": adaptation.photos,
            "epochs": adaptation.epochs,
            "kept": adaptation.kept,
            **{
                f"{what}_{when}": round(getattr(getattr(adaptation, when), what), 4)
                for when in ("before", "after")
                for what in ("agreement", "accuracy")
                if getattr(adaptation.after, what) is not None
            },
        }
    calibrated = dict(card.calibration)
    if choice is not None:
        calibrated["chosen"] = choice.candidate.to_json()
        calibrated["candidates"] = [
            {
                **trial.candidate.to_json(),
                "agreement": round(trial.comparison.agreement, 4),
                "distance": round(trial.comparison.distance, 5),
            }
            for trial in choice.trials
        ]
        calibrated["float_layers"] = [name.split(";")[0] for name in choice.float_layers]
    return dataclasses.replace(card, metrics=metrics, calibration=calibrated)
