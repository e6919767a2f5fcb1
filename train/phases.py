"""The three phases of training: the head, the layers above, and all of it on the int8 grid."""

from __future__ import annotations

import logging
import time
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketlens.errors import DataError
from pocketlens.report.html import counted
from pocketlens.train.augmentation import PRESETS, augment
from pocketlens.train.batches import (
    Change,
    EpochPictures,
    Shuffling,
    class_weights,
    photo_weights,
    plain_batches,
    same_every_epoch,
    training_batches,
)
from pocketlens.train.callbacks import BestWeights, History, Phase, PredictionBar
from pocketlens.train.checkpoints import Checkpoints, Stateful
from pocketlens.train.devices import FLOAT16, compile_with_xla, computing_in, precision
from pocketlens.train.grid import GridTraining, round_kernels
from pocketlens.train.head import (
    FeatureExtractor,
    feature_change,
    features_of,
    head_model,
    rounds,
)
from pocketlens.train.networks import BASE_NAME, HEAD_NAME, flat_layers, freeze
from pocketlens.train.optimization import accuracy, loss, optimizer, rate_callbacks
from pocketlens.train.pixel_cache import SplitPixels
from pocketlens.train.settings import FINE_TUNE, GRID, HEAD, SCRATCH, Settings

LOGGER = logging.getLogger("pocketlens")

# Epochs without a better validation loss before a phase ends early. From scratch that loss is
# restless until the learning rate is low, so there it is this share of the epochs, if that is more.
_PATIENCE = {HEAD: 5, FINE_TUNE: 5, SCRATCH: 12, GRID: 5}
_SCRATCH_PATIENCE = 0.25


class Trainer:
    """A network in training: what the phases share."""

    def __init__(
        self,
        network: keras.Model,
        settings: Settings,
        splits: dict[str, SplitPixels],
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
        self._splits = splits
        self._precision = precision(settings.mixed_precision)
        # Pictures that are new in every epoch need no augmentation.
        self._pictures = pictures or same_every_epoch(
            splits["train"].pixels, splits["train"].labels
        )
        self.augmentation = None if pictures else _augmentation(settings)
        weights = class_weights(splits["train"].labels) if settings.balance != "none" else None
        # Validation asks for what training aims at: every class counts the same in both.
        self._validation_weights = weights
        self._training_weights = weights if settings.balance == "weights" else None

    def train(self) -> None:
        """Run all phases that the settings ask for."""
        # What phases build on the network has to be on the same GPUs as the network.
        gpus = self.network.distribute_strategy.scope()
        with gpus, computing_in(self._precision, self.network):
            self._train_phases()

    def _train_phases(self) -> None:
        settings = self._settings
        if settings.pretrained:
            freeze(self.network, settings.fine_tune_layers)
            if settings.grid_epochs:
                # They will not change any more, so they may as well be rounded from the start.
                round_kernels(layer for layer in self._base_layers() if not layer.trainable)
            if settings.head_epochs and not self._checkpoints.is_past(HEAD):
                self._train_head()
        epochs = settings.main_epochs(len(self._splits["train"].labels))
        if epochs and not self._checkpoints.is_past(self._main_phase):
            self._train_main(epochs)
        if settings.grid_epochs:
            self._train_on_grid()

    def _train_head(self) -> None:
        """Train the head on the features of the frozen base."""
        settings = self._settings
        extractor = FeatureExtractor(self.network)
        train = self._splits["train"]
        started = time.perf_counter()
        features, val_features = (
            features_of(extractor, self._splits[name], self._scratch / f"{name}.npy")
            for name in ("train", "val")
        )
        self.history.pass_s = time.perf_counter() - started
        change = self.augmentation and feature_change(
            extractor, train, features, self.augmentation, settings.seed
        )
        self._fit(
            HEAD,
            head_model(self.network),
            self._training(
                same_every_epoch(features, train.labels),
                features,
                change,
                rounds(len(features), settings.batch_size),
            ),
            self._validation(val_features),
            settings.head_epochs,
            settings.rates.head,
        )

    def _train_main(self, epochs: int) -> None:
        settings = self._settings
        self._fit(
            self._main_phase,
            self.network,
            self._training(self._pictures, self._splits["train"].pixels, self.augmentation),
            self._validation(self._splits["val"].pixels),
            epochs,
            settings.rates.main,
        )

    def _train_on_grid(self) -> None:
        settings = self._settings
        # Every layer of a network that was trained from nothing goes on learning.
        trained = settings.fine_tune_layers if settings.pretrained else len(self._base_layers())
        freeze(self.network, trained)
        layers = [*self._base_layers(), self.network.get_layer(HEAD_NAME)]
        training_on_grid = GridTraining(layers)
        # What this phase must be better than is what rounding alone leaves.
        training_on_grid.on_train_begin()
        self._fit(
            GRID,
            self.network,
            self._training(self._pictures, self._splits["train"].pixels, self.augmentation),
            self._validation(self._splits["val"].pixels),
            settings.grid_epochs,
            settings.rates.grid,
            {"grid": training_on_grid},
        )

    def _in_one_graph(self, phase: str) -> bool:
        """Return whether an epoch of the phase is one call of TensorFlow.

        The head's steps take less than what lies between two of them outside the graph. Keras'
        loop over the steps inside it does not run where several devices share each of them.
        """
        return phase == HEAD and self.network.distribute_strategy.num_replicas_in_sync == 1

    @property
    def _main_phase(self) -> str:
        return FINE_TUNE if self._settings.pretrained else SCRATCH

    def _training(
        self, pictures: EpochPictures, like: Any, change: Change | None, rounds: int = 1
    ) -> Any:
        settings = self._settings
        return training_batches(
            pictures,
            (like, self._splits["train"].labels),
            self._batch_size(len(like)),
            Shuffling(settings.seed, change, settings.balance == "oversample", rounds),
            first_epoch=len(self.history.epochs),
            weights=self._training_weights,
        )

    def _validation(self, values: Any) -> Any:
        labels = self._splits["val"].labels
        size = self._batch_size(len(labels))
        return plain_batches(values, labels, size, self._validation_weights)

    def _batch_size(self, count: int) -> int:
        return shared_batch_size(self.network, self._settings.batch_size, count)

    def _validation_loss(self) -> float:
        """Return the loss on the validation photos, as `fit` computes it after an epoch.

        Not by `evaluate`, which would start one more dataset that is fed from Python.
        """
        split, size = self._splits["val"], self._settings.batch_size
        blocks = (
            np.asarray(split.pixels[start : start + size], np.float32)
            for start in range(0, len(split.labels), size)
        )
        # Called, not by `predict_on_batch`: that gives the scores once for each of several devices.
        answer = tf.function(lambda block: self.network(block, training=False))
        scores = np.concatenate([answer(block) for block in blocks])
        weights = photo_weights(split.labels, self._validation_weights)
        measure = loss(self._settings.task, self._classes, self._settings.label_smoothing)
        return float(measure(split.labels, scores, weights))

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
        """Train one phase and leave the model at its best epoch.

        `stateful` are callbacks of the phase with a state that checkpoints keep.
        """
        settings = self._settings
        steps = epochs * int(training.cardinality())
        model.compile(
            optimizer(settings, learning_rate, steps, scaled=self._precision == FLOAT16),
            loss(settings.task, self._classes, settings.label_smoothing),
            metrics=[accuracy(settings.task)],
            jit_compile=compile_with_xla(),
            steps_per_execution=int(training.cardinality()) if self._in_one_graph(phase) else 1,
        )
        # Variables that the first step made itself would have it traced twice.
        model.optimizer.build(model.trainable_variables)
        first_epoch = self._checkpoints.first_epoch(phase)
        before = None
        if phase in (FINE_TUNE, GRID) and not first_epoch:
            before = self._validation_loss()
        self.history.begin(Phase(phase, epochs, before))
        kept = {
            **(stateful or {}),
            **rate_callbacks(settings),
            "best": BestWeights(_patience(phase, epochs), before),
        }
        try:
            model.fit(
                training,
                validation_data=validation,
                initial_epoch=first_epoch,
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
        finally:
            self.history.close_bar()
        if not np.isfinite(self.history.epochs[-1].loss):
            self._checkpoints.discard()
            raise DataError(
                "Training diverged: the loss is NaN. Check the photos, lower --learning-rate or "
                "train with another --seed."
            )
        LOGGER.info("%s", self.history.outcomes()[-1].text)


def _patience(phase: str, epochs: int) -> int:
    share = _SCRATCH_PATIENCE if phase == SCRATCH else 0.0
    return max(_PATIENCE[phase], int(share * epochs))


def shared_batch_size(network: keras.Model, batch_size: int, count: int) -> int:
    """Return the size of the batches of so many photos, at most `batch_size` with one device.

    Where several devices share each batch, none may be left without a photo in the last one, and
    the first must divide evenly: Keras 3.15 averages their shares of it to learn the shape.
    """
    devices = network.distribute_strategy.num_replicas_in_sync
    if devices == 1:
        return batch_size
    most = max(1, min(batch_size, count) // devices) * devices
    sizes = range(most, 0, -devices)
    return next((size for size in sizes if count % size == 0 or count % size >= devices), most)


def predict_scores(network: keras.Model, split: SplitPixels, batch_size: int) -> Any:
    """Return float32 (N, classes): the network's scores for a split, in its order.

    Of a network with a second output, the novelty, it is a list of both.
    """
    LOGGER.info("Computing the scores of %s …", counted(len(split.labels)))
    size = shared_batch_size(network, batch_size, len(split.labels))
    batches = plain_batches(split.pixels, split.labels, size)
    bar = PredictionBar("Computing scores", int(batches.cardinality()))
    return network.predict(batches.map(lambda pixels, *_: pixels), verbose=0, callbacks=[bar])


def _augmentation(settings: Settings) -> Change | None:
    ranges = PRESETS[settings.augmentation]
    return partial(augment, ranges=ranges, flip=settings.flip) if ranges else None
