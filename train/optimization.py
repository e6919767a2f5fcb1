"""Optimizers and learning-rate schedules by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pocketlens.choices import BINARY, MULTICLASS
from pocketlens.train.settings import Settings

_MOMENTUM = 0.9
# Decoupled decay (Loshchilov and Hutter 2019, arXiv:1711.05101), by PyTorch's default share.
_WEIGHT_DECAY = 0.01
_OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamw": partial(keras.optimizers.AdamW, weight_decay=_WEIGHT_DECAY),
    "sgd": partial(keras.optimizers.SGD, momentum=_MOMENTUM),
}
# The exponential schedule ends at this share of where it started.
_EXPONENTIAL_END = 0.01

# Reduce on plateau: by this factor after so many epochs without a better validation loss.
_PLATEAU_FACTOR, _PLATEAU_PATIENCE = 0.3, 2


class Plateau(keras.callbacks.ReduceLROnPlateau):
    """Reduces the learning rate when validation gets no better, and can go on with it later."""

    def __init__(self) -> None:
        super().__init__("val_loss", factor=_PLATEAU_FACTOR, patience=_PLATEAU_PATIENCE)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the best loss and for how long there was no better; the optimizer has the rate."""
        return {"best": np.array(self.best), "wait": np.array(self.wait)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        self.best, self.wait = float(state["best"]), int(state["wait"])


def optimizer(
    settings: Settings, learning_rate: float, steps: int, *, scaled: bool
) -> keras.optimizers.Optimizer:
    """Return the optimizer of a phase.

    The schedule is a function of the optimizer's own count of steps, which is saved with its
    state; only reduce-on-plateau is done by a callback.

    Args:
        settings: name the optimizer and the schedule.
        learning_rate: where the schedule starts.
        steps: of the whole phase.
        scaled: scale the loss so that gradients in float16 do not vanish.
    """
    schedules = keras.optimizers.schedules
    rate: float | keras.optimizers.schedules.LearningRateSchedule = learning_rate
    if settings.schedule == "cosine":
        rate = schedules.CosineDecay(learning_rate, steps)
    elif settings.schedule == "exponential":
        rate = schedules.ExponentialDecay(learning_rate, steps, _EXPONENTIAL_END)
    plain = _OPTIMIZERS[settings.optimizer](rate)
    if settings.optimizer == "adamw":
        # Offsets and the factors of batch normalisation have no reason to be small.
        plain.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return keras.optimizers.LossScaleOptimizer(plain) if scaled else plain


def rate_callbacks(settings: Settings) -> dict[str, Plateau]:
    """Return what changes the learning rate between epochs, by name."""
    return {"plateau": Plateau()} if settings.schedule == "plateau" else {}


def outputs(task: str, classes: int) -> tuple[int, str]:
    """Return how many outputs the network has and the activation that makes scores of them."""
    if task == MULTICLASS:
        return classes, "softmax"
    return (1 if task == BINARY else classes), "sigmoid"


def loss(task: str, classes: int, label_smoothing: float = 0.0) -> keras.losses.Loss:
    """Return the loss between the truth and the scores.

    `label_smoothing` in 0-1 is the share of the truth that is spread over all classes
    (Szegedy et al. 2015, arXiv:1512.00567).
    """
    if task != MULTICLASS:
        return keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing)
    if not label_smoothing:
        return keras.losses.SparseCategoricalCrossentropy()
    return _SmoothedCrossentropy(classes, label_smoothing)


def accuracy(task: str) -> keras.metrics.Metric:
    """Return the metric that is called accuracy in the history of a run."""
    if task == MULTICLASS:
        return keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    return keras.metrics.BinaryAccuracy(name="accuracy")


class _SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of label indices that takes label smoothing, which Keras's own does not."""

    def __init__(self, classes: int, label_smoothing: float) -> None:
        super().__init__()
        self._classes = classes
        self._label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        truth = keras.ops.one_hot(keras.ops.reshape(y_true, (-1,)), self._classes)
        return keras.losses.categorical_crossentropy(
            truth, y_pred, label_smoothing=self._label_smoothing
        )
