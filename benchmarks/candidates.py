"""The files that stand for election."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens.errors import UsageError
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.model_files import ModelFile, read_model_file, with_labels

REFERENCE_FORMAT = "float32"


@dataclass(frozen=True)
class Candidate:
    """One file, read, and how to load it. `mean` and `std` are None for a file with a card."""

    name: str
    model: ModelFile
    labels_file: Path | None = None
    mean: float | None = None
    std: float | None = None

    @property
    def format(self) -> str | None:
        """The format that the card names, or None for a file from elsewhere."""
        return self.model.card.format if self.model.card else None

    def load(self, threads: int = 1) -> Classifier:
        """Return a new classifier for the file."""
        return Classifier(self.model, threads=threads, mean=self.mean, std=self.std)


def read_candidates(
    paths: Sequence[str | Path],
    *,
    labels_file: Path | None = None,
    mean: float | None = None,
    std: float | None = None,
) -> tuple[Candidate, ...]:
    """Read the files to be compared.

    `mean` and `std` are for files from elsewhere and are kept from those that have a card, unless
    all have one: then they are passed on and refused.

    Raises:
        UsageError: there are none, one is missing, or one was given twice.
        ModelFileError: one is not a `.tflite` file.
    """
    if not paths:
        raise UsageError("Expected at least one .tflite file. Received: none. Name the files.")
    names = distinct_names([Path(path) for path in paths])
    models = [with_labels(read_model_file(path), labels_file) for path in paths]
    all_have_cards = all(model.card for model in models)
    return tuple(
        Candidate(name, model, labels_file, mean, std)
        if model.card is None or all_have_cards
        else Candidate(name, model, labels_file)
        for name, model in zip(names, models, strict=True)
    )


def find_reference(candidates: Sequence[Candidate]) -> int:
    """Return the index of the first file whose card says float32, or 0 where none does."""
    formats = [candidate.format for candidate in candidates]
    return formats.index(REFERENCE_FORMAT) if REFERENCE_FORMAT in formats else 0


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that tell them apart: names where they differ.

    Raises:
        UsageError: a path was given twice.
    """
    parts = [Path(os.path.abspath(path)).parts for path in paths]
    twice = [path for path, count in Counter(parts).items() if count > 1]
    if twice:
        raise UsageError(
            f"Expected each file once. Received: {Path(*twice[0])} more than once. "
            "Leave the repetition out."
        )
    lengths = [1] * len(parts)
    while True:
        names = ["/".join(entry[-length:]) for entry, length in zip(parts, lengths, strict=True)]
        taken = {name for name, count in Counter(names).items() if count > 1}
        if not taken:
            return names
        lengths = [length + (name in taken) for name, length in zip(names, lengths, strict=True)]
