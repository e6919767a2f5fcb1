"""What is written while training goes on: the history, the best model so far, a progress line."""

from __future__ import annotations

import logging
import time
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import keras

from pocketlens.files import replacing, write_csv
from pocketlens.quiet import quiet
from pocketlens.runtime.runs import HISTORY_NAME, MODEL_NAME

LOGGER = logging.getLogger("pocketlens")


@dataclass(frozen=True)
class Epoch:
    """One row of the history. Accuracies are shares of 1."""

    phase: str
    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float


class History(keras.callbacks.Callback):
    """Writes `history.csv` anew after each epoch, so that it is always whole."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.epochs: list[Epoch] = []
        self.phase = ""
        self._folder = folder
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the epoch's clock."""
        del epoch, logs
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the epoch's row."""
        values = dict(logs or {})
        row = Epoch(
            self.phase,
            epoch + 1,
            float(values["loss"]),
            float(values["accuracy"]),
            float(values["val_loss"]),
            float(values["val_accuracy"]),
            float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            time.perf_counter() - self._started,
        )
        self.epochs.append(row)
        names = [field.name for field in fields(Epoch)]
        write_csv(self._folder / HISTORY_NAME, names, map(astuple, self.epochs))
        LOGGER.info(
            "%-9s epoch %2d/%d  loss %.3f  accuracy %.3f  val_loss %.3f  val_accuracy %.3f  %.0f s",
            self.phase,
            epoch + 1,
            self.params["epochs"],
            row.loss,
            row.accuracy,
            row.val_loss,
            row.val_accuracy,
            row.seconds,
        )


class BestCheckpoint(keras.callbacks.Callback):
    """Keeps the whole network at its best epoch of a phase as `model.keras`.

    `network` may hold the trained model as a part of it, as the head's own model is.
    """

    def __init__(self, folder: Path, network: keras.Model) -> None:
        super().__init__()
        self._path = folder / MODEL_NAME
        self._network = network
        self._best = float("inf")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save if the epoch was the best."""
        del epoch
        loss = float((logs or {})["val_loss"])
        if loss < self._best:
            self._best = loss
            save_model(self._network, self._path)


def save_model(model: keras.Model, path: Path) -> None:
    """Write a `.keras` file, whole or not at all."""
    with replacing(path) as partial, quiet():
        model.save(partial)
