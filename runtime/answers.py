"""What a model's scores mean, and which labels they give a photo, by task."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pocketlens.card import ModelCard
from pocketlens.choices import (
    BINARY,
    MULTICLASS,
    MULTILABEL,
    NO_ACTIVATION,
    SET_LEVELS,
    SIGMOID,
    SOFTMAX,
)
from pocketlens.errors import LabelsError, ModelFileError, UsageError
from pocketlens.names import to_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pocketlens.runtime.hints import ModelHints

# Up to so many, Python has sorted them before NumPy's code is back in the processor's cache.
_FEW = 32

# Beside a score, so that 0 has a logarithm.
_SMALLEST = 1e-12

# Among fewer classes, five guesses are right too easily to mean something.
MIN_CLASSES_FOR_TOP5 = 10

_INSTEAD_OF_SETS = {
    BINARY: "Use its score, which says how sure the answer is.",
    MULTILABEL: "Use its answers, which are a set already: every label from the threshold up.",
}

Answer = tuple[int, ...]
"""The indices of a photo's labels, ascending: one but where a task is multilabel."""


def describe(
    path: str | os.PathLike[str],
    size_wh: tuple[int, int],
    outputs: int,
    *,
    card: ModelCard | None = None,
    labels: Sequence[str] | None = None,
    hints: ModelHints | None = None,
) -> ModelCard:
    """Return what a model's scores mean: its card, or the one that a third-party model would have.

    Every command and export takes task, labels, threshold and resize mode from here. A third-party
    model with one score is binary and one with several is multiclass, unless the hints say
    otherwise. Without labels classes are called by their number. Labels are brought into one form
    and made distinct (`to_labels`).

    Args:
        path: what the model is called in errors.
        size_wh: width and height of its input in pixels.
        outputs: how many scores it gives.
        card: its own card.
        labels: those that come with a file without a card.
        hints: what a user says of it; its labels count first.

    Raises:
        LabelsError: there are more or fewer labels than the scores need.
        ModelFileError: a binary model gives several scores.
        UsageError: the hints do not go with the model.
    """
    labels = (hints.read_labels() if hints else None) or labels
    if card is None:
        card = _third_party_card(path, size_wh, outputs, hints)
    elif hints is not None:
        hints.refuse_beside_card(path)
    if card.task == BINARY and outputs != 1:
        raise ModelFileError(
            f"Expected one score from the binary model {path}. Received: {outputs}. "
            "Convert it again, or set another --task."
        )
    expected = 2 if card.task == BINARY else outputs
    found = to_labels(card.labels if labels is None else labels)
    if len(found) != expected:
        raise LabelsError(
            f"Expected {expected} labels for {path}, a {card.task} model. Received: {len(found)}. "
            "Give a file with one label per line for each output (some models have a 'background' "
            "first; a binary one needs the negative and the positive label)."
        )
    if found == card.labels:
        return card
    index = card.unknown_index
    unknown = "" if index is None else found[index]
    return dataclasses.replace(card, labels=found, unknown=unknown)


def require_labels(path: str | os.PathLike[str], labels: Sequence[str] | None) -> tuple[str, ...]:
    """Return the labels of a third-party model; raise UsageError where there are none."""
    if labels is None:
        raise UsageError(
            f"Expected labels for {path}, a third-party model. Received: none. Add --labels FILE "
            "with one per line, in the order of its scores."
        )
    return tuple(labels)


def _third_party_card(
    path: str | os.PathLike[str],
    size_wh: tuple[int, int],
    outputs: int,
    hints: ModelHints | None,
) -> ModelCard:
    """Return a card whose classes are called by their number."""
    said = hints.given if hints else {}
    task = said.get("task") or (BINARY if outputs == 1 else MULTICLASS)
    if task == MULTICLASS and "threshold" in said:
        raise UsageError(
            f"Expected no --threshold for {path}, a multiclass model, whose answer is the label "
            f"with the highest score. Received: {said['threshold']:g}. Leave it out, or set --task."
        )
    return ModelCard(
        name=os.path.splitext(os.path.basename(path))[0],
        labels=tuple(f"class {index}" for index in range(2 if task == BINARY else outputs)),
        input_size_wh=size_wh,
        task=task,
        resize_mode=said.get("resize_mode", "stretch"),
        threshold=said.get("threshold", 0.0),
        activation=said.get("activation", NO_ACTIVATION),
    )


def softmax(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the softmax of logits, float32 (classes,)."""
    powers = np.exp(outputs - outputs.max())
    return np.asarray(powers / powers.sum(), np.float32)


def sigmoid(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sigmoid of each logit, float32 (classes,)."""
    # The same as 1 / (1 + exp(-x)), which overflows.
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * outputs), np.float32)


ACTIVATE: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    SOFTMAX: softmax,
    SIGMOID: sigmoid,
}
"""Functions from outputs to scores by a card's `activation`; "none" has none."""


def answer_of(scores: NDArray[np.float32], task: str, threshold: float) -> Answer:
    """Return what a model answers for one photo.

    Args:
        scores: float32 (outputs,): one for each label, or that of the positive label, which is
            the second, for a binary task.
        task: "multiclass": the best label; "binary": the positive one from `threshold` up, else
            the negative; "multilabel": every label from `threshold` up, maybe none.
        threshold: in 0-1.
    """
    if task == MULTICLASS:
        return (int(scores.argmax()),)
    if task == BINARY:
        return (int(scores[0] >= threshold),)
    return tuple(np.flatnonzero(scores >= threshold).tolist())


def set_score(card: ModelCard, level: float, path: str | os.PathLike[str]) -> float:
    """Return the score from which a label is in the label sets of a level.

    Args:
        card: of the model.
        level: the share of photos whose set is to hold the right label, in 0-1.
        path: what the model is called in errors.

    Raises:
        UsageError: the model is not multiclass, or its card has no such level.
    """
    if card.task in _INSTEAD_OF_SETS:
        raise UsageError(
            f"Expected a multiclass model for --sets. Received: {path}, a {card.task} one. "
            f"{_INSTEAD_OF_SETS[card.task]}"
        )
    if not card.sets:
        raise UsageError(
            f"{path} has no label sets, which --sets needs. Convert its run again, without "
            "--photos: they are fitted on the run's validation photos, of which they need at "
            f"least {photos_needed(SET_LEVELS[0])}."
        )
    name = f"{level:g}"
    if name not in card.sets:
        advice = "Choose one of these."
        if level in SET_LEVELS:
            advice = f"Choose one of these, or train with {photos_needed(level)} validation photos."
        raise UsageError(
            f"Expected --sets to be a level that {path} has: {', '.join(card.sets)}. "
            f"Received: {name}. {advice}"
        )
    return card.sets[name]


def surprise(scores: NDArray[np.floating], unknown: int) -> NDArray[np.float64]:
    """Return (...): by how much the label for unknown photos is ahead of the best other one.

    That is the logarithm of the ratio of their scores, and where these come of a softmax, the
    difference of the logits.

    Args:
        scores: (..., labels), one for each label.
        unknown: the index of the label.
    """
    best = np.delete(scores, unknown, axis=-1).max(axis=-1).astype(np.float64)
    own = scores[..., unknown].astype(np.float64)
    return np.asarray(np.log(own + _SMALLEST) - np.log(best + _SMALLEST))


def photos_needed(level: float) -> int:
    """Return the number of photos from which on label sets of a level can be fitted."""
    # Rounded first: 0.95 / (1 - 0.95) is a little more than 19.
    return math.ceil(round(level / (1 - level), 6))


def in_label_set(scores: NDArray[np.floating], score: float) -> NDArray[np.bool_]:
    """Return which labels are in the label set: those from `score` up, and always the best.

    Args:
        scores: (..., labels), one for each label.
        score: what `set_score` returns.

    Returns:
        bool, of the same shape. Labels that share the best score are all in it.
    """
    return np.asarray((scores >= score) | (scores == scores.max(axis=-1, keepdims=True)))


def best_scores(scores: NDArray[np.float32], count: int) -> list[tuple[int, float]]:
    """Return the indices of the `count` best scores, best first, each with its score.

    Of equal scores the first comes first.

    Args:
        scores: float32 (labels,), finite: a NaN is neither before nor after another.
        count: how many; all where there are fewer.
    """
    if len(scores) <= _FEW:
        values = scores.tolist()
        order = sorted(range(len(values)), key=values.__getitem__, reverse=True)
        return [(index, values[index]) for index in order[:count]]
    first = max(0, len(scores) - count)
    chosen = np.flatnonzero(scores >= np.partition(scores, first)[first])
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")][:count]
    return list(zip(chosen.tolist(), scores[chosen].tolist(), strict=True))


def label_scores(scores: NDArray[np.float32], task: str) -> NDArray[np.float32]:
    """Return a score for each label, float32 (labels,): for a binary task those of both."""
    return np.append(1 - scores, scores) if task == BINARY else scores
