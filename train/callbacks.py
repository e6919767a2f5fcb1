"""What is watched while training goes on: the history, the best weights so far, the time left."""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pocketlens.errors import OutputError
from pocketlens.files import write_csv
from pocketlens.progress import track
from pocketlens.report.html import counted
from pocketlens.runtime.runs import HISTORY_NAME, LOGS_NAME
from pocketlens.train.settings import GRID, HEAD

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


@dataclass(frozen=True)
class Phase:
    """What a phase was to be: its epochs at most, and the validation loss before it, if it counts.

    If no epoch has a lower one, the weights from before it are kept.
    """

    name: str
    epochs: int
    loss_before: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What has become of a phase: which of its epochs was kept, None for none, and why it ended."""

    phase: str
    planned: int
    epochs: int
    kept: int | None
    val_loss: float
    val_accuracy: float
    loss_before: float | None

    @property
    def text(self) -> str:
        """The same as a sentence."""
        figures = f"val_loss {self.val_loss:.3f}, val_accuracy {self.val_accuracy:.3f}"
        early = self.epochs < self.planned
        if self.kept is None:
            # Rounding changes the loss, so that it is not the one that the phase before ended with.
            before = "from before this phase"
            if self.phase == GRID:
                before += ", rounded to the int8 quantization grid"
            return (
                f"{self.phase}: none of {counted(self.epochs, 'epoch')} improved validation "
                f"(lowest val_loss {self.val_loss:.3f}); kept are the weights {before} (val_loss "
                f"{self.loss_before:.3f})."
            )
        waited = self.epochs - self.kept
        ended = (
            f"ended after epoch {self.epochs}: no lower validation loss in "
            f"{counted(waited, 'epoch')}"
        )
        ended = ended if early else "all epochs done"
        return f"{self.phase}: epoch {self.kept} of {self.planned} kept ({figures}); {ended}."


def outcome(phase: Phase, epochs: Sequence[Epoch]) -> Outcome:
    """Return what has become of a phase, of which `epochs` are all that were done, one at least."""
    best = min(epochs, key=lambda epoch: epoch.val_loss)
    better = phase.loss_before is None or best.val_loss < phase.loss_before
    return Outcome(
        phase.name,
        phase.epochs,
        len(epochs),
        best.epoch if better else None,
        best.val_loss,
        best.val_accuracy,
        phase.loss_before,
    )


# An epoch of the network before one was measured, as passes of its photos through the frozen base
# alone: steps forwards and backwards, and augmentation.
_PASSES_AN_EPOCH = 3.0


def seconds_left(
    planned: Mapping[str, int], epochs: Sequence[Epoch], phase: str, pass_s: float | None = None
) -> float | None:
    """Return how long the rest of a training takes, None where nobody can tell.

    Phases may end early: then it is less.

    Args:
        planned: the epochs of each phase, in their order.
        epochs: those that are done.
        phase: the one that is going on.
        pass_s: seconds of one pass of the photos through the base, where that was measured.
    """
    left, an_epoch, begun = 0.0, pass_s and _PASSES_AN_EPOCH * pass_s, False
    for name, count in planned.items():
        done = [epoch.seconds for epoch in epochs if epoch.phase == name]
        # The first one compiles the step as well.
        usual = statistics.median((done[1:] or done)[-3:]) if done else None
        if name != HEAD:
            # The head's epochs, on features, say nothing of those of the network.
            usual = an_epoch = usual or an_epoch
        begun = begun or name == phase
        if begun and usual is None:
            return None
        if begun and usual is not None:
            left += (count - len(done)) * usual
    return left


def _in_words(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class Bar:
    """A progress bar over the batches of something, on a terminal."""

    def __init__(self, text: str, batches: int) -> None:
        self._steps: Iterator[int] = track(range(batches), text, batches)
        self._at = next(self._steps, batches)

    def move(self, batches: int) -> None:
        """Show that so many are done."""
        while self._at < batches:
            self._at = next(self._steps, batches)

    def close(self) -> None:
        """Take it away."""
        self._steps.close()  # type: ignore[attr-defined]


class PredictionBar(keras.callbacks.Callback):
    """A progress bar for `predict`."""

    def __init__(self, text: str, batches: int) -> None:
        super().__init__()
        self._bar = Bar(text, batches)

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Move it."""
        del logs
        self._bar.move(batch + 1)

    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        """Take it away."""
        del logs
        self._bar.close()


class History(keras.callbacks.Callback):
    """Keeps one row an epoch: in `history.csv`, written anew each time, and for TensorBoard.

    Args:
        folder: that of the run.
        planned: the epochs of each phase to come, in their order, for the time left.
    """

    def __init__(self, folder: Path, planned: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self.epochs: list[Epoch] = []
        self.phases: list[Phase] = []
        self.pass_s: float | None = None
        self._planned = planned or {}
        self._folder = folder
        self._writers: dict[Path, Any] = {}
        self._started = 0.0
        self._bar: Bar | None = None

    @property
    def phase(self) -> str:
        """The phase that is going on."""
        return self.phases[-1].name

    def begin(self, phase: Phase) -> None:
        """Go on with a phase; one that was begun in another process is what it was."""
        if phase.name not in [known.name for known in self.phases]:
            self.phases.append(phase)

    def outcomes(self) -> list[Outcome]:
        """Return what has become of each phase."""
        return [
            outcome(phase, [epoch for epoch in self.epochs if epoch.phase == phase.name])
            for phase in self.phases
        ]

    def restore(self, epochs: Iterable[Epoch], phases: Iterable[Phase] = ()) -> None:
        """Go on from the epochs and phases of an earlier process."""
        self.phases = list(phases)
        for epoch in epochs:
            self._add(epoch)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the epoch's clock and bar."""
        del logs
        self._started = time.perf_counter()
        text = f"{self.phase} epoch {epoch + 1}/{self.params['epochs']}{self._time_left()}"
        self._bar = Bar(text, self.params["steps"] or 0)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Move the bar."""
        del logs
        if self._bar:
            self._bar.move(batch + 1)

    def close_bar(self) -> None:
        """Leave the terminal as it was, also in the middle of an epoch."""
        if self._bar:
            self._bar.close()
            self._bar = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the epoch's row."""
        self.close_bar()
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
            "%-9s epoch %2d/%d  loss %.3f  accuracy %.3f  val_loss %.3f  val_accuracy %.3f  "
            "%.0f s%s",
            self.phase,
            epoch + 1,
            self.params["epochs"],
            row.loss,
            row.accuracy,
            row.val_loss,
            row.val_accuracy,
            row.seconds,
            self._time_left(),
        )

    def _time_left(self) -> str:
        left = seconds_left(self._planned, self.epochs, self.phase, self.pass_s)
        return f", about {_in_words(left)} left" if left else ""

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
                f"Cannot write {logs}: {reason}. Choose a place with room where you may write."
            ) from error

    def _log(self, folder: Path, row: Epoch, names: Iterable[str]) -> None:
        if folder not in self._writers:
            self._writers[folder] = tf.summary.create_file_writer(str(folder))
        with self._writers[folder].as_default(step=row.epoch):
            for name in names:
                tf.summary.scalar(name.removeprefix("val_"), getattr(row, name))
        self._writers[folder].flush()


def _comparable(loss: float) -> float:
    """Return a loss, or infinity for NaN, below which nothing is."""
    return float("inf") if math.isnan(loss) else loss


class BestWeights(keras.callbacks.Callback):
    """Leaves the model at its best validation loss and ends a phase that no longer gets better.

    Keras's own EarlyStopping begins anew with every `fit`; this one can go on. With the loss before
    the phase, the weights from before it are the best until an epoch has a lower one.
    """

    def __init__(self, patience: int, loss_before: float | None = None) -> None:
        super().__init__()
        self._patience = patience
        self._before = loss_before
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

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Keep the weights from before the phase, if they count."""
        del logs
        if self._before is not None:
            self._best, self._weights = _comparable(self._before), self.model.get_weights()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the weights if the epoch was the best; stop if the best is too long ago."""
        del epoch
        loss = _comparable(float((logs or {})["val_loss"]))
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
