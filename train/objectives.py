"""What a task asks of the network: its outputs, its loss and what is reported of each epoch.

The truth of a batch is as `truth` gives it: int64 (batch,) for multiclass and binary, where 1 is
the positive class, and float32 (batch, classes) of zeros and ones for multilabel.
"""

from __future__ import annotations

from typing import Any

import keras

from pocketlens.card import BINARY, MULTICLASS


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
