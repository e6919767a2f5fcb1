"""What a user says of a third-party model, which has no card that says it."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pocketlens.choices import ACTIVATIONS, RESIZE_MODES, TASKS
from pocketlens.errors import UsageError

# Fields that are not named like their option.
_OPTIONS = {"resize_mode": "--resize"}
# What may be said of a model with a card too: its classes renamed, and what runs it.
_BESIDE_CARD = ("labels", "backend")


@dataclass(frozen=True)
class ModelHints:
    """What a user says of a third-party model.

    None leaves a value to the file, to its metadata or to a default. A model with a card takes
    `labels`, which rename its classes, and `backend`; the rest is in the card.

    Args:
        labels: names of the classes in the order of the scores, or a path of a file with one a
            line. For a binary model, which has one score, the negative and the positive.
        mean, std: the model takes (pixel - mean) / std of pixels in 0-255.
        task: "multiclass", "binary" or "multilabel": what the scores mean.
        threshold: score in 0-1 from which a label of a binary or multilabel model is an answer.
        resize_mode: "stretch", "crop" or "pad": how a photo is brought to the model's size.
        image_size: pixels a side, for a model that takes any size.
        backend: name of the interpreter that runs a `.tflite` file; None takes the first that is
            installed.
        activation: "softmax", "sigmoid" or "none": what makes scores of the model's outputs.
        output: name of the output with the scores, for a model that has several.
        locale: language of the labels, for a model that has them in several ("de", "pt-BR").

    Raises:
        UsageError: a value that no model could have.
    """

    labels: Sequence[str] | str | os.PathLike[str] | None = None
    mean: float | None = None
    std: float | None = None
    task: str | None = None
    threshold: float | None = None
    resize_mode: str | None = None
    image_size: int | None = None
    backend: str | None = None
    activation: str | None = None
    output: str | None = None
    locale: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that no model could have."""
        if self.labels is not None and not isinstance(self.labels, str | os.PathLike):
            object.__setattr__(self, "labels", tuple(self.labels))
        mean, std = self.mean, self.std
        given = [value for value in (mean, std) if value is not None]
        if len(given) == 1 or not all(map(math.isfinite, given)) or (std is not None and std <= 0):
            raise UsageError(
                "Expected both --mean and --std as numbers, the latter above 0. "
                f"Received: {mean=}, {std=}."
            )
        for option, value, known in (
            ("--task", self.task, TASKS),
            ("--resize", self.resize_mode, RESIZE_MODES),
            ("--activation", self.activation, ACTIVATIONS),
        ):
            if value is not None and value not in known:
                raise UsageError(
                    f"Expected {option} as one of {', '.join(known)}. Received: {value!r}."
                )
        # Written this way round, NaN is refused too.
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise UsageError(
                f"Expected --threshold above 0, up to 1. Received: {self.threshold:g}."
            )
        if self.image_size is not None and self.image_size < 1:
            raise UsageError(
                f"Expected --image-size in pixels, 1 or more. Received: {self.image_size}."
            )

    @property
    def given(self) -> dict[str, Any]:
        """What was said, by the names of the fields."""
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def beside_card(self) -> ModelHints:
        """What of it may be said of a model with a card too."""
        return ModelHints(**{name: self.given.get(name) for name in _BESIDE_CARD})

    def read_labels(self) -> tuple[str, ...] | None:
        """Return the labels, read if they are in a file; None where none were given.

        Raises:
            UsageError: there is no such file.
            LabelsError: it holds no text.
        """
        if isinstance(self.labels, str | os.PathLike):
            # Imported only here: it brings NumPy, and many processes only hand hints on.
            from pocketlens.runtime.model_files import read_labels

            return read_labels(os.fspath(self.labels))
        return None if self.labels is None else tuple(self.labels)

    def refuse_beside_card(
        self, path: str | os.PathLike[str], but: Sequence[str] = _BESIDE_CARD
    ) -> None:
        """Raise UsageError where something was said that the card of `path` says, `but` that."""
        said = ", ".join(
            f"{_OPTIONS.get(name, '--' + name.replace('_', '-'))} {value}"
            for name, value in self.given.items()
            if name not in but
        )
        if said:
            raise UsageError(
                f"Expected no option for {path} about what its card says. Received: {said}. "
                "Leave it out."
            )
