"""The last steps of training: a temperature from validation, and what the test part says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pocketlens.evaluation.answers import to_answers
from pocketlens.evaluation.calibration import divide_logits, fit_temperature, reliability, tempered
from pocketlens.evaluation.metrics import evaluate_answers
from pocketlens.train.evaluation_page import Shown
from pocketlens.train.networks import HEAD_NAME
from pocketlens.train.phases import predict_scores
from pocketlens.train.pixel_cache import Part
from pocketlens.train.settings import Settings


@dataclass(frozen=True)
class Calibration:
    """A temperature, and the scores of the validation part without it, as the network gave them."""

    temperature: float
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Measured:
    """The figures of both held-back parts for the card, and all that is known of the test part."""

    metrics: dict[str, Any]
    test: Shown


def calibrate(network: keras.Model, validation: Part, settings: Settings) -> Calibration:
    """Fit a temperature on the validation part and put it into the network's head."""
    scores = predict_scores(network, validation, settings.batch_size)
    temperature = fit_temperature(scores, validation.labels, settings.task)
    divide_logits(network.get_layer(HEAD_NAME), temperature)
    return Calibration(temperature, scores)


def measure(
    network: keras.Model,
    parts: Mapping[str, Part],
    labels: tuple[str, ...],
    settings: Settings,
    calibration: Calibration,
) -> Measured:
    """Evaluate a calibrated network on the validation and test parts.

    The metrics say for each its `accuracy`, `macro_f1`, `ece`, `ece_uncalibrated` (without the
    temperature) and `count`.
    """
    temperature, task = calibration.temperature, settings.task
    test_scores = predict_scores(network, parts["test"], settings.batch_size)
    metrics: dict[str, Any] = {"temperature": round(temperature, 4)}
    shown = {}
    for name, before, after in (
        ("val", calibration.scores, tempered(calibration.scores, temperature, task)),
        ("test", tempered(test_scores, 1 / temperature, task), test_scores),
    ):
        part = parts[name]
        answers = to_answers(after, part.labels, labels, task)
        uncalibrated = reliability(to_answers(before, part.labels, labels, task))
        result = evaluate_answers(answers)
        paths = [photo.path for photo in part.photos]
        shown[name] = Shown(answers, result, paths, temperature, uncalibrated)
        metrics |= {
            f"{name}_accuracy": round(result.accuracy, 4),
            f"{name}_macro_f1": round(result.macro_f1, 4),
            f"{name}_ece": round(result.ece, 4),
            f"{name}_ece_uncalibrated": round(uncalibrated.ece, 4),
            f"{name}_count": result.count,
        }
    return Measured(metrics, shown["test"])
