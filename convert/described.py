"""The card of a converted file: what it came from and what it costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from pocketlens.card import ModelCard
from pocketlens.convert.comparison import Comparison
from pocketlens.convert.float_layers import Int8
from pocketlens.convert.formats import EIGHT_BIT
from pocketlens.runtime.interpreters import Operators

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
    int8: Int8 | None,
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
    calibrated = dict(card.calibration)
    if int8 is not None:
        calibrated["float_layers"] = [name.split(";")[0] for name in int8.float_layers]
    return dataclasses.replace(card, metrics=metrics, calibration=calibrated)
