"""`convert --unknown`: the label for unknown photos in a model that was trained elsewhere."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import keras
import numpy as np
from numpy.typing import NDArray

from pocketlens.choices import MULTICLASS, NO_ACTIVATION, SOFTMAX
from pocketlens.convert.graphs import trace
from pocketlens.convert.origins import Origin, keras_scores
from pocketlens.errors import DataError, ModelFileError, PictureError, UsageError
from pocketlens.progress import track
from pocketlens.report.html import counted
from pocketlens.runtime.photos import read_pixels, report_skipped
from pocketlens.train.splits import place
from pocketlens.train.unknown import Head, counter_class, fit_unknown, labelled, with_unknown

LOGGER = logging.getLogger("pocketlens")

# Of 50 flowers half is best, of 200 and more three quarters are as good.
_SPANNING_SHARE = 0.6
# Of fewer, a part may get none.
_LEAST_IN_PART = 4
_BATCH = 32

_PASSING = (keras.layers.Dropout, keras.layers.Identity, keras.layers.ActivityRegularization)


def add_unknown_label(
    path: Path,
    origin: Origin,
    photos: Sequence[Path],
    known_kept: float,
    activation: str | None = None,
) -> Origin:
    """Return a third-party Keras model with an output for unknown photos.

    Args:
        path: of the `.keras` file, for messages.
        origin: what was read from it.
        photos: of what the model knows. Their contents decide which part of them spans that and
            which part sets the threshold.
        known_kept: the share of the latter that are to keep their label.
        activation: what the user says makes scores of its outputs, if anything.

    Raises:
        UsageError: the model is not multiclass, or does not end in what the user says.
        ModelFileError: its features cannot be found.
        DataError: the photos are too few.
    """
    card = origin.card
    network: Any = origin.network
    if card.task != MULTICLASS:
        raise UsageError(
            f"Expected a multiclass model for --unknown. Received: {path}, a {card.task} one, "
            "which has no other label to choose. Leave --unknown out."
        )
    features, layer, is_softmax = _find_head(path, network)
    _check_activation(path, activation, is_softmax)
    head = Head(*_weights(layer), counter_class(card.labels))
    extractor = keras.Model(network.inputs, features)
    known, held_back = _features(extractor, photos, card)
    outside = fit_unknown(known, held_back, head, known_kept)
    scores = with_unknown(features, features, head, outside)
    added = labelled(
        card.labels, head.counter, keras.Model(network.inputs, scores, name=network.name)
    )
    metrics = {**card.metrics, "unknown_photos": [len(known), len(held_back)]}
    if not is_softmax:
        LOGGER.info("%s ends in logits, so a softmax is appended.", path)
        metrics["appended_activation"] = SOFTMAX
    card = dataclasses.replace(
        card,
        labels=added.labels,
        unknown=added.label,
        activation=NO_ACTIVATION,
        metrics=metrics,
    )
    whole = added.network
    return Origin(card, keras_scores(whole), lambda: trace(whole), network=whole)


def _find_head(path: Path, model: keras.Model) -> tuple[Any, keras.layers.Dense, bool]:
    """Return a model's features, the dense layer after them, and whether a softmax follows.

    The features are a tensor (batch, channels) that is calculated from the model's input.
    """
    outputs, is_softmax = model.outputs[0], False
    while True:
        # Keras has no public way from a tensor to the layer that it is from.
        history = outputs._keras_history
        layer = history.operation
        (inputs, *others) = layer._inbound_nodes[history.node_index].input_tensors or [None]
        if inputs is None or others:
            _refuse(path, f"{type(layer).__name__} at its end")
        if isinstance(layer, keras.Model):
            inner, dense, ends = _find_head(path, layer)
            below = keras.Model(layer.inputs, inner, name=f"{layer.name}_features")
            return below(inputs), dense, is_softmax or ends
        if isinstance(layer, keras.layers.Dense):
            kind = layer.activation
            if kind not in (keras.activations.linear, keras.activations.softmax) or (
                is_softmax and kind is keras.activations.softmax
            ):
                _refuse(path, f"the activation {kind.__name__} after its last Dense layer")
            if len(inputs.shape) != 2:
                _refuse(path, f"features of {len(inputs.shape)} dimensions before its last layer")
            return inputs, layer, is_softmax or kind is keras.activations.softmax
        if _is_softmax(layer) and not is_softmax:
            is_softmax = True
        elif not _passes(layer):
            _refuse(path, f"{type(layer).__name__} ({layer.name}) in the place of it")
        outputs = inputs


def _passes(layer: Any) -> bool:
    """Whether a layer changes nothing when a model is not trained."""
    if isinstance(layer, keras.layers.Activation):
        return layer.activation is keras.activations.linear
    return isinstance(layer, _PASSING)


def _is_softmax(layer: Any) -> bool:
    if isinstance(layer, keras.layers.Activation):
        return layer.activation is keras.activations.softmax
    # The layer and what `keras.ops.softmax` makes are called alike.
    return type(layer).__name__ == "Softmax" and layer.axis in (-1, 1)


def _weights(layer: keras.layers.Dense) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    kernel = np.asarray(layer.kernel, np.float32)
    bias = np.zeros(kernel.shape[1]) if layer.bias is None else np.asarray(layer.bias)
    return kernel, bias.astype(np.float32)


def _check_activation(path: Path, said: str | None, is_softmax: bool) -> None:
    """Refuse what a user says of the output where the layers say something else."""
    fitting = NO_ACTIVATION if is_softmax else SOFTMAX
    if said not in (None, fitting):
        raise UsageError(
            f"Expected --activation {fitting} for {path}, "
            f"which ends in {'a softmax' if is_softmax else 'logits'}. Received: {said}. "
            "Leave it out, or --unknown."
        )


def _refuse(path: Path, received: str) -> NoReturn:
    raise ModelFileError(
        "Expected a last Dense layer, alone or with a softmax, over features [batch, channels] for "
        f"--unknown. Received: {path} with {received}. Leave --unknown out."
    )


def _features(
    extractor: keras.Model, photos: Sequence[Path], card: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return float64 (N, channels) and (M, channels): what spans, and what sets the threshold."""
    skipped: list[PictureError] = []
    spanning: list[bool] = []

    def each() -> Iterator[NDArray[np.uint8]]:
        read = read_pixels(photos, card.input_size_wh, card.resize_mode)
        for path, pixels in zip(track(photos, "Computing features"), read, strict=True):
            if isinstance(pixels, PictureError):
                skipped.append(pixels)
                continue
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            spanning.append(place(digest, 0) < _SPANNING_SHARE)
            yield pixels

    blocks, pictures = [], each()
    compute = keras_scores(extractor)
    while block := list(islice(pictures, _BATCH)):
        blocks.append(compute(np.stack(block)).astype(np.float64))
    report_skipped(skipped, len(photos))
    spans = np.array(spanning, bool)
    smaller = int(min(spans.sum(), (~spans).sum()))
    if smaller < _LEAST_IN_PART:
        raise DataError(
            "Expected at least 20 different photos of what the model knows for --unknown. "
            f"Received: {counted(len(spans))} that can be read. Give more, of each class."
        )
    features = np.concatenate(blocks)
    return features[spans], features[~spans]
