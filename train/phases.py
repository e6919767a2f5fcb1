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
from pocketlens.train.augmentation import augment
from pocketlens.train.batches import (
    EpochPictures,
    plain_batches,
    same_every_epoch,
    to_float,
    training_batches,
)
from pocketlens.train.callbacks import BestCheckpoint, History
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
        folder: Path,
        pictures: EpochPictures | None = None,
    ) -> None:
        self.network = network
        self.history = History(folder)
        self._settings = settings
        self._classes = int(network.output.shape[-1])
        self._parts = parts
        self._folder = folder
        self._logs = folder / "logs"
        # Pictures that are new in every epoch need no augmentation.
        change = to_float if pictures else partial(augment, flip=settings.flip)
        self._training = training_batches(
            pictures or same_every_epoch(parts["train"]),
            parts["train"],
            settings.batch_size,
            settings.seed,
            change,
        )
        self._validation = plain_batches(parts["val"], settings.batch_size)

    def train(self) -> None:
        """Run all phases that the settings ask for."""
        settings = self._settings
        if settings.pretrained:
            freeze(self.network, settings.fine_tune_layers)
            if settings.grid_epochs:
                # They will not change any more, so they may as well be rounded from the start.
                round_kernels(layer for layer in self._base_layers() if not layer.trainable)
            if settings.head_epochs:
                self._train_head()
        if settings.main_epochs:
            self._train_main()
        if settings.grid_epochs:
            self._train_on_grid()

    def _train_head(self) -> None:
        """Train the head on the features of the frozen base, computed once."""
        settings, network = self._settings, self.network
        pooled = network.get_layer("pooling").output
        extractor = keras.Model(network.input, pooled)
        features = {
            name: _predict(extractor, self._parts[name], settings.batch_size, f"{name} features")
            for name in ("train", "val")
        }
        entry = keras.Input(features["train"].shape[1:])
        head = keras.Model(entry, network.get_layer(HEAD_NAME)(network.get_layer("dropout")(entry)))
        batches = {
            name: tf.data.Dataset.from_tensor_slices((values, self._parts[name].labels))
            for name, values in features.items()
        }
        shuffled = batches["train"].shuffle(len(features["train"]), seed=settings.seed)
        self._fit(
            HEAD,
            head,
            shuffled.batch(settings.batch_size),
            batches["val"].batch(settings.batch_size),
            settings.head_epochs,
            settings.head_learning_rate,
        )

    def _train_main(self) -> None:
        settings = self._settings
        pretrained = settings.pretrained
        self._fit(
            FINE_TUNE if pretrained else SCRATCH,
            self.network,
            self._training,
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
            self._training,
            self._validation,
            settings.grid_epochs,
            settings.grid_learning_rate
            if settings.pretrained
            else settings.scratch_grid_learning_rate,
            [GridTraining(layers)],
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
        callbacks: list[keras.callbacks.Callback] | None = None,
    ) -> None:
        """Train one phase with a cosine schedule and leave the model at its best epoch."""
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
        model.fit(
            training,
            validation_data=validation,
            epochs=epochs,
            shuffle=False,  # The datasets shuffle where it is wanted.
            verbose=0,
            callbacks=[
                *(callbacks or []),
                self.history,
                BestCheckpoint(self._folder, self.network),
                keras.callbacks.EarlyStopping(
                    "val_loss", patience=_PATIENCE[phase], restore_best_weights=True
                ),
                keras.callbacks.TensorBoard(str(self._logs / phase), write_graph=False),
                keras.callbacks.TerminateOnNaN(),
            ],
        )
        if not np.isfinite(self.history.epochs[-1].loss):
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
