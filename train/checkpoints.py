"""The state of a training after an epoch, in one file, so that it can go on from there."""

from __future__ import annotations

import json
import math
import time
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import ModelFileError
from pocketlens.files import replacing
from pocketlens.train.callbacks import Epoch, History, Phase
from pocketlens.train.networks import flat_layers

# To be raised when checkpoints change their form.
_VERSION = 2
_PROGRESS = "progress"

# The share of the time that writing may take: epochs of the head last less than a checkpoint.
_WRITING_SHARE = 0.1

State = Mapping[str, NDArray[Any]]


class Stateful(Protocol):
    """A callback whose state counts when training goes on in another process."""

    def state(self) -> State:
        """Return the state as arrays by name."""

    def restore(self, state: State) -> None:
        """Take over what `state` returned; the model's weights are those of that moment."""


@dataclass(frozen=True)
class Checkpoint:
    """What an earlier process has left: `next_epoch` of `phase` is to come, counted from 0.

    `plan` is what the training is about, as JSON values; `arrays` are the states, named
    "owner/name".
    """

    plan: Any
    phase: str
    next_epoch: int
    history: tuple[Epoch, ...]
    phases: tuple[Phase, ...]
    arrays: State


def read_checkpoint(path: Path) -> Checkpoint | None:
    """Read a checkpoint, or return None where there is none.

    Raises:
        ModelFileError: it is damaged or of another version.
    """
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            arrays = dict(kept)
        progress = json.loads(arrays.pop(_PROGRESS).tobytes())
        if progress["version"] != _VERSION:
            raise ValueError(f"version {progress['version']}")
        return Checkpoint(
            progress["plan"],
            str(progress["phase"]),
            int(progress["next_epoch"]),
            tuple(Epoch(**row) for row in progress["history"]),
            tuple(Phase(**entry) for entry in progress["phases"]),
            arrays,
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ModelFileError(
            f"Expected the checkpoint of an unfinished run. Received: {path}: {error}. "
            "Start over with --overwrite."
        ) from error


class Checkpoints:
    """Writes the checkpoint of a training, and goes on from one that was found.

    A checkpoint has the weights and random states of the whole network, the optimizer with its
    step (on which the schedule depends), the states of the phase's callbacks, and the history.
    """

    def __init__(
        self,
        path: Path,
        network: keras.Model,
        history: History,
        plan: Any,
        found: Checkpoint | None = None,
    ) -> None:
        self._path = path
        self._network = network
        self._history = history
        self._plan = plan
        self._found = found
        if found:
            history.restore(found.history, found.phases)

    def is_past(self, phase: str) -> bool:
        """Tell whether what was found is of a later phase; phases are asked for in their order."""
        return self._found is not None and self._found.phase != phase

    def first_epoch(self, phase: str) -> int:
        """Return the epoch to go on with, from 0; all of them where the phase has been ended."""
        return self._found.next_epoch if self._found and self._found.phase == phase else 0

    def keeper(self, phase: str, stateful: Mapping[str, Stateful]) -> keras.callbacks.Callback:
        """Return the callback, to be put last, that restores a phase and keeps it as it goes on.

        It does so after every epoch that is longer than ten times the writing, and after the last.
        """
        return _Keeper(self, phase, stateful)

    def discard(self) -> None:
        """Remove the file: going on from it would lead nowhere."""
        self._path.unlink(missing_ok=True)

    def restore(self, model: keras.Model, stateful: Mapping[str, Stateful]) -> None:
        """Put back what was found, once."""
        if self._found is None:
            return
        arrays, self._found = self._found.arrays, None
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        _assign(_variables(self._network), _below(arrays, "network"))
        _assign(model.optimizer.variables, _below(arrays, "optimizer"))
        for name, callback in stateful.items():
            callback.restore(_below(arrays, name))

    def save(
        self, phase: str, next_epoch: int, model: keras.Model, stateful: Mapping[str, Stateful]
    ) -> None:
        """Write the state; what was there before goes when it is on the disk."""
        states = {
            "network": _numbered(_variables(self._network)),
            "optimizer": _numbered(model.optimizer.variables),
            **{name: callback.state() for name, callback in stateful.items()},
        }
        progress = {
            "version": _VERSION,
            "plan": self._plan,
            "phase": phase,
            "next_epoch": next_epoch,
            "history": [asdict(epoch) for epoch in self._history.epochs],
            "phases": [asdict(phase) for phase in self._history.phases],
        }
        arrays: dict[str, Any] = {
            f"{owner}/{name}": value
            for owner, state in states.items()
            for name, value in state.items()
        }
        arrays[_PROGRESS] = np.frombuffer(json.dumps(progress).encode(), np.uint8)
        with replacing(self._path) as partial:
            np.savez(partial, **arrays)


class _Keeper(keras.callbacks.Callback):
    def __init__(
        self, checkpoints: Checkpoints, phase: str, stateful: Mapping[str, Stateful]
    ) -> None:
        super().__init__()
        self._checkpoints = checkpoints
        self._phase = phase
        self._stateful = stateful
        self._due_s = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        del logs
        self._checkpoints.restore(self.model, self._stateful)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not math.isfinite((logs or {})["loss"]):
            return
        epochs = self.params["epochs"]
        next_epoch = epochs if self.model.stop_training else epoch + 1
        started_s = time.monotonic()
        if next_epoch < epochs and started_s < self._due_s:
            return
        self._checkpoints.save(self._phase, next_epoch, self.model, self._stateful)
        self._due_s = started_s + (time.monotonic() - started_s) / _WRITING_SHARE


def _variables(network: keras.Model) -> list[Any]:
    """Return the weights and the random states of a network, without what `compile` adds."""
    return [variable for layer in flat_layers(network) for variable in layer.variables]


def _numbered(variables: list[Any]) -> State:
    return {str(index): np.asarray(variable) for index, variable in enumerate(variables)}


def _below(arrays: State, owner: str) -> State:
    start = f"{owner}/"
    return {
        name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)
    }


def _assign(variables: list[Any], state: State) -> None:
    for index, variable in enumerate(variables):
        variable.assign(state[str(index)])
