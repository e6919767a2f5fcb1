"""What is watched while training goes on: the history, the best weights so far."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pocketlens.errors import OutputError
from pocketlens.files import write_csv
from pocketlens.runtime.runs import HISTORY_NAME, LOGS_NAME

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
    """Keeps one row an epoch: in `history.csv`, written anew each time, and for TensorBoard."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.epochs: list[Epoch] = []
        self.phase = ""
        self._folder = folder
        self._writers: dict[Path, Any] = {}
        self._started = 0.0

    def restore(self, epochs: Iterable[Epoch]) -> None:
        """Go on from the epochs of an earlier process."""
        for epoch in epochs:
            self._add(epoch)

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
        self._add(row)
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

    def _add(self, row: Epoch) -> None:
        self.epochs.append(row)
        names = [field.name for field in fields(Epoch)]
        write_csv(self._folder / HISTORY_NAME, names, map(astuple, self.epochs))
        logs = self._folder / LOGS_NAME / row.phase
        try:
            self._log(logs / "train", row, ("loss", "accuracy", "learning_rate"))
            self._log(logs / "validation", row, ("val_loss", "val_accuracy"))
        except tf.errors.OpError as error:
            # "path; reason", and below it what else could not be done because of it.
            reason = error.message.splitlines()[0].rpartition("; ")[2]
            raise OutputError(
                f"Expected to be able to write {logs}. Received: {reason}. "
                "Choose a place with room where you may write."
            ) from error

    def _log(self, folder: Path, row: Epoch, names: Iterable[str]) -> None:
        if folder not in self._writers:
            self._writers[folder] = tf.summary.create_file_writer(str(folder))
        with self._writers[folder].as_default(step=row.epoch):
            for name in names:
                tf.summary.scalar(name.removeprefix("val_"), getattr(row, name))
        self._writers[folder].flush()


class BestWeights(keras.callbacks.Callback):
    """Leaves the model at its best validation loss and ends a phase that no longer gets better.

    Keras's own EarlyStopping begins anew with every `fit`; this one can go on.
    """

    def __init__(self, patience: int) -> None:
        super().__init__()
        self._patience = patience
        self._best = float("inf")
        self._waited = 0
        self._weights: list[NDArray[Any]] = []

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the best loss and its weights, these only where they are not the model's now."""
        weights = self._weights if self._waited else []
        return {
            "best": np.array(self._best),
            "waited": np.array(self._waited),
            **{f"weights/{index}": value for index, value in enumerate(weights)},
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        self._best, self._waited = float(state["best"]), int(state["waited"])
        self._weights = self.model.get_weights()
        if self._waited:
            self._weights = [state[f"weights/{index}"] for index in range(len(self._weights))]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the weights if the epoch was the best; stop if the best is too long ago."""
        del epoch
        loss = float((logs or {})["val_loss"])
        if loss < self._best or not self._weights:
            self._best, self._waited = loss, 0
            self._weights = self.model.get_weights()
            return
        self._waited += 1
        if self._waited >= self._patience:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Give the model its best weights."""
        del logs
        if self._weights:
            self.model.set_weights(self._weights)
