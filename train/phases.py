"""The three phases of training: the head, the layers above, and all of it on the int8 grid."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketlens.errors import DataError
from pocketlens.train.arrays import write_array
from pocketlens.train.augmentation import augment
from pocketlens.train.batches import (
    EpochPictures,
    ordered_batches,
    plain_batches,
    same_every_epoch,
    shuffled_batches,
    to_float,
    training_batches,
)
from pocketlens.train.callbacks import BestWeights, History
from pocketlens.train.checkpoints import Checkpoints, Stateful
from pocketlens.train.grid import GridTraining, round_kernels
from pocketlens.train.networks import BASE_NAME, HEAD_NAME, flat_layers, freeze
from pocketlens.train.objectives import accuracy, loss
from pocketlens.train.pixel_cache import Part
from pocketlens.train.settings import Settings

LOGGER = logging.getLogger("pocketlens")

HEAD, FINE_TUNE, SCRATCH, GRID = "head", "fine-tune", "scratch", "grid"

# Epochs without a better validation loss before a phase ends early.
_PATIENCE = {HEAD: 5, FINE_TUNE: 5, SCRATCH: 12, GRID: 5}


class Trainer:
    """A network in training: what the phases share."""

    def __init__(
        self,
        network: keras.Model,
        settings: Settings,
        parts: dict[str, Part],
        history: History,
        checkpoints: Checkpoints,
        scratch: Path,
        pictures: EpochPictures | None = None,
    ) -> None:
        self.network = network
        self.history = history
        self._checkpoints = checkpoints
        self._scratch = scratch
        self._settings = settings
        self._classes = int(network.output.shape[-1])
        self._parts = parts
        self._pictures = pictures
        self._validation = plain_batches(parts["val"], settings.batch_size)

    def train(self) -> None:
        """Run all phases that the settings ask for."""
        settings = self._settings
        if settings.pretrained:
            freeze(self.network, settings.fine_tune_layers)
            if settings.grid_epochs:
                # They will not change any more, so they may as well be rounded from the start.
                round_kernels(layer for layer in self._base_layers() if not layer.trainable)
            if settings.head_epochs and not self._checkpoints.is_past(HEAD):
                self._train_head()
        if settings.main_epochs and not self._checkpoints.is_past(self._main_phase):
            self._train_main()
        if settings.grid_epochs:
            self._train_on_grid()

    def _train_head(self) -> None:
        """Train the head on the features of the frozen base, computed once."""
        settings, network = self._settings, self.network
        pooled = network.get_layer("pooling").output
        extractor = keras.Model(network.input, pooled)
        features = {name: self._features(extractor, name) for name in ("train", "val")}
        entry = keras.Input(features["train"].shape[1:])
        head = keras.Model(entry, network.get_layer(HEAD_NAME)(network.get_layer("dropout")(entry)))
        labels = {name: self._parts[name].labels for name in features}
        shuffled = shuffled_batches(
            lambda _epoch: (features["train"], labels["train"]),
            features["train"],
            len(labels["train"]),
            settings.batch_size,
            settings.seed,
            len(self.history.epochs),
        )
        self._fit(
            HEAD,
            head,
            shuffled.map(lambda values, labels, _draw: (values, labels)),
            ordered_batches(features["val"], labels["val"], settings.batch_size),
            settings.head_epochs,
            settings.head_learning_rate,
        )

    def _features(self, extractor: keras.Model, name: str) -> Any:
        """Return float32 (N, channels) for a part, mapped from disk."""
        LOGGER.info("Computing %s features …", name)
        part = self._parts[name]
        shape = (len(part.labels), extractor.output.shape[-1])
        batches = plain_batches(part, self._settings.batch_size)
        rows = (extractor.predict_on_batch(pixels) for pixels, _ in batches)
        return write_array(self._scratch / f"{name}.npy", shape, np.float32, rows)

    def _train_main(self) -> None:
        settings = self._settings
        pretrained = settings.pretrained
        self._fit(
            self._main_phase,
            self.network,
            self._training_batches(),
            self._validation,
            settings.main_epochs,
            settings.fine_tune_learning_rate if pretrained else settings.scratch_learning_rate,
        )

    def _train_on_grid(self) -> None:
        settings = self._settings
        # Every layer of a network that was trained from nothing goes on learning.
        trained = settings.fine_tune_layers if settings.pretrained else len(self._base_layers())
        freeze(self.network, trained)
        layers = [*self._base_layers(), self.network.get_layer(HEAD_NAME)]
        self._fit(
            GRID,
            self.network,
            self._training_batches(),
            self._validation,
            settings.grid_epochs,
            settings.grid_learning_rate
            if settings.pretrained
            else settings.scratch_grid_learning_rate,
            {"grid": GridTraining(layers)},
        )

    @property
    def _main_phase(self) -> str:
        return FINE_TUNE if self._settings.pretrained else SCRATCH

    def _training_batches(self) -> Any:
        settings, part = self._settings, self._parts["train"]
        # Pictures that are new in every epoch need no augmentation.
        change = (
            (lambda pixels, _seed: to_float(pixels))
            if self._pictures
            else partial(augment, flip=settings.flip)
        )
        return training_batches(
            self._pictures or same_every_epoch(part),
            part,
            settings.batch_size,
            settings.seed,
            len(self.history.epochs),
            change,
        )

    def _base_layers(self) -> list[keras.layers.Layer]:
        return flat_layers(self.network.get_layer(BASE_NAME))

    def _fit(
        self,
        phase: str,
        model: keras.Model,
        training: Any,
        validation: Any,
        epochs: int,
        learning_rate: float,
        stateful: dict[str, Stateful] | None = None,
    ) -> None:
        """Train one phase with a cosine schedule and leave the model at its best epoch.

        `stateful` are callbacks of the phase with a state that checkpoints keep.
        """
        settings = self._settings
        steps = -(-len(self._parts["train"].labels) // settings.batch_size)
        schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * steps)
        model.compile(
            keras.optimizers.Adam(schedule),
            loss(settings.task, self._classes),
            metrics=[accuracy(settings.task)],
            # XLA compiles for minutes and gains nothing on a CPU.
            jit_compile=bool(tf.config.list_physical_devices("GPU")),
        )
        self.history.phase = phase
        kept = {**(stateful or {}), "best": BestWeights(_PATIENCE[phase])}
        model.fit(
            training,
            validation_data=validation,
            initial_epoch=self._checkpoints.first_epoch(phase),
            epochs=epochs,
            shuffle=False,  # The datasets shuffle where it is wanted.
            verbose=0,
            callbacks=[
                *kept.values(),
                self.history,
                self._checkpoints.keeper(phase, kept),
                keras.callbacks.TerminateOnNaN(),
            ],
        )
        if not np.isfinite(self.history.epochs[-1].loss):
            self._checkpoints.discard()
            raise DataError(
                "Expected a loss that goes down. Received: one that is no number. "
                "Look at the photos or train with another --seed."
            )


def _predict(model: keras.Model, part: Part, batch_size: int, what: str) -> Any:
    LOGGER.info("Computing %s …", what)
    batches = plain_batches(part, batch_size).map(lambda pixels, _labels: pixels)
    return model.predict(batches, verbose=0)


def predict_scores(network: keras.Model, part: Part, batch_size: int) -> Any:
    """Return float32 (N, classes): the network's scores for a part, in its order."""
    return _predict(network, part, batch_size, "scores")
