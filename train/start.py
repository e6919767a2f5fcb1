"""What a training starts from: the weights of an earlier run, or others if these are better.

Which are better is asked of the validation photos, of which neither has learned: a head is trained
on the features that each gives of the training photos, like the first phase of a training, and the
validation loss decides. That takes two passes of the photos through the network, about as long as
an epoch of fine-tuning.

The run's weights have to be better by more than the standard error of the difference, photo by
photo. A run has chosen its epochs by some of these photos, which favours it, and a head says only
roughly what fine-tuning will come to. Of 1,000 flowers, two seeds: on a run on 60 % of them a head
had a loss of 0.626 and 0.559, on ImageNet's weights of 0.651 and 0.549. With the first, fine-tuning
from the run won 5 test photos and lost 14.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pocketlens.choices import MULTICLASS
from pocketlens.train.batches import (
    Shuffling,
    class_weights,
    photo_weights,
    plain_batches,
    same_every_epoch,
    training_batches,
)
from pocketlens.train.devices import all_gpus
from pocketlens.train.head import FeatureExtractor, features_of, head_model, rounds
from pocketlens.train.networks import build
from pocketlens.train.optimization import accuracy, loss, optimizer
from pocketlens.train.phases import shared_batch_size
from pocketlens.train.pixel_cache import SplitPixels
from pocketlens.train.settings import WEIGHTS_IMAGENET, Settings

LOGGER = logging.getLogger("pocketlens")

# As many epochs without a lower validation loss end the comparison of a head as the head's phase.
_EPOCHS, _PATIENCE = 30, 5


@dataclass(frozen=True)
class Tried:
    """What a head on the features of `weights` came to on the validation photos."""

    weights: str
    val_loss: float
    val_accuracy: float


@dataclass(frozen=True)
class Start:
    """The weights that a training starts from, as in `Settings`.

    `tried` are both that were compared, the chosen ones first; `difference` is by how much the
    validation loss of the second is higher, `error` the standard error of that. `alone` says that
    there was nothing to compare a run's weights with.
    """

    weights: str
    tried: tuple[Tried, ...] = ()
    difference: float = 0.0
    error: float = 0.0
    alone: bool = False

    @property
    def text(self) -> str:
        """Say what was compared, by how much it differed and what was chosen; "" without a run."""
        if self.alone:
            return (
                f"Started from the weights of {called(self.weights)}: there are no others to "
                "compare them with."
            )
        if not self.tried:
            return ""
        best, other = self.tried
        apart = f"{abs(self.difference):.3f} ± {self.error:.3f}"
        is_chance = abs(self.difference) <= self.error
        return (
            f"Started from the weights of {called(best.weights)}: with these a head has a "
            f"validation loss of {best.val_loss:.3f} (accuracy {best.val_accuracy:.1%}), with "
            f"those of {called(other.weights)} {other.val_loss:.3f} ({other.val_accuracy:.1%}); "
            f"the difference of {apart} {'may be' if is_chance else 'is more than'} chance."
        )

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Start:
        """Return what `to_json` has made values of."""
        tried = tuple(Tried(**entry) for entry in values["tried"])
        return cls(**{**values, "tried": tried})


def called(weights: str) -> str:
    """Return what weights are called in a sentence: their name without their folder."""
    return "ImageNet" if weights == WEIGHTS_IMAGENET else Path(weights).name


def choose_start(
    settings: Settings, classes: int, splits: Mapping[str, SplitPixels], scratch: Path
) -> Start:
    """Compare the weights of `settings.from_run` with the others of the settings.

    Args:
        settings: how to train.
        classes: how many there are.
        splits: "train" to train heads with and "val" to compare them by.
        scratch: a folder for files that nobody needs later.

    Raises:
        WeightsError: weights cannot be had or do not fit.
    """
    run = settings.from_run
    if run is None:
        return Start(settings.weights)
    if run == settings.weights:
        start = Start(run, alone=True)
        LOGGER.info("%s", start.text)
        return start
    LOGGER.info(
        "Comparing the weights of %s and %s by the validation photos …",
        called(run),
        called(settings.weights),
    )
    others, other_losses = _try(settings, classes, splits, scratch)
    from_run = dataclasses.replace(settings, weights=run)
    start = better(others, other_losses, *_try(from_run, classes, splits, scratch))
    LOGGER.info("%s", start.text)
    return start


def better(
    others: Tried, other_losses: NDArray[np.float64], run: Tried, run_losses: NDArray[np.float64]
) -> Start:
    """Return the run's weights if they are better by more than chance, else the others.

    The losses are float64 (N,), of the same validation photos in the same order.
    """
    gains = other_losses - run_losses
    difference = float(gains.mean())
    error = float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else math.inf
    if difference > error:
        return Start(run.weights, (run, others), difference, error)
    return Start(others.weights, (others, run), -difference, error)


def _try(
    settings: Settings, classes: int, splits: Mapping[str, SplitPixels], scratch: Path
) -> tuple[Tried, NDArray[np.float64]]:
    """Return what a head on the weights of the settings came to, and each photo's loss (N,)."""
    keras.utils.set_random_seed(settings.seed)
    with all_gpus():
        network = build(classes, settings)
    train, val = splits["train"], splits["val"]
    extractor = FeatureExtractor(network)
    features, val_features = (
        features_of(extractor, split, scratch / f"tried-{number}.npy")
        for number, split in enumerate((train, val))
    )
    weights = class_weights(train.labels) if settings.balance != "none" else None
    size = shared_batch_size(network, settings.batch_size, len(train.labels))
    shuffling = Shuffling(
        settings.seed,
        None,
        settings.balance == "oversample",
        rounds(len(features), settings.batch_size),
    )
    batches = training_batches(
        same_every_epoch(features, train.labels),
        (features, train.labels),
        size,
        shuffling,
        weights=weights if settings.balance == "weights" else None,
    )
    epochs = settings.head_epochs or _EPOCHS
    measure = loss(settings.task, int(network.output.shape[-1]), settings.label_smoothing)
    with network.distribute_strategy.scope():
        head = head_model(network)
        steps = epochs * int(batches.cardinality())
        head.compile(
            optimizer(settings, settings.rates.head, steps, scaled=False),
            measure,
            metrics=[accuracy(settings.task)],
        )
        history = head.fit(
            batches,
            validation_data=plain_batches(
                val_features,
                val.labels,
                shared_batch_size(network, settings.batch_size, len(val.labels)),
                weights,
            ),
            epochs=epochs,
            shuffle=False,
            verbose=0,
            callbacks=[
                keras.callbacks.EarlyStopping(
                    "val_loss", patience=_PATIENCE, restore_best_weights=True
                )
            ],
        ).history
        scores = head(keras.ops.convert_to_tensor(np.asarray(val_features)), training=False)
    val_loss, val_accuracy = min(zip(history["val_loss"], history["val_accuracy"], strict=True))
    tried = Tried(settings.weights, float(val_loss), float(val_accuracy))
    truth = val.labels
    if settings.task != MULTICLASS:
        truth = truth.reshape(len(truth), -1).astype(np.float32)
    losses = keras.ops.convert_to_numpy(measure.call(keras.ops.convert_to_tensor(truth), scores))
    return tried, losses.astype(np.float64) * photo_weights(val.labels, weights)
