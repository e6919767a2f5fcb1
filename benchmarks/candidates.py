"""The model files that a benchmark compares: found, loaded, named."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pocketlens.errors import ModelFileError, UsageError
from pocketlens.names import distinct_names
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.model_files import ModelFile, read_model_file
from pocketlens.runtime.third_party import complete

LOGGER = logging.getLogger("pocketlens")

REFERENCE_FORMAT = "float32"


@dataclass(frozen=True)
class Candidate:
    """One file, read, and how to load it."""

    name: str
    model: ModelFile
    hints: ModelHints = field(default_factory=ModelHints)

    @property
    def format(self) -> str | None:
        """The format that the card names, or None for a third-party file."""
        return self.model.card.format if self.model.card else None

    def load(self, threads: int = 1) -> Classifier:
        """Return a new classifier for the file."""
        return Classifier(self.model, threads=threads, hints=self.hints)


@dataclass(frozen=True)
class LeftOut:
    """A file that cannot be measured beside the others, and the sentence that says why."""

    name: str
    path: Path
    reason: str


def read_candidates(
    paths: Sequence[str | Path], hints: ModelHints | None = None
) -> tuple[tuple[Candidate, ...], tuple[LeftOut, ...]]:
    """Read the files to be compared, and return those that are models and those that are not.

    What hints say of third-party files is kept from those that have a card, unless all have one:
    then it is passed on and refused.

    Raises:
        UsageError: there are none, one is missing, or one was given twice.
        ModelFileError: none is a `.tflite` file.
    """
    if not paths:
        raise UsageError("Expected at least one .tflite file. Received: none. Name the files.")
    places = [Path(path) for path in paths]
    hints = hints or ModelHints()
    read = {
        name: _read(name, path, hints)
        for name, path in zip(distinct_names(places), places, strict=True)
    }
    left_out = tuple(entry for entry in read.values() if isinstance(entry, LeftOut))
    models = {name: entry for name, entry in read.items() if not isinstance(entry, LeftOut)}
    _warn(left_out, all_of_them=not models)
    beside_card = hints if all(model.card for model in models.values()) else hints.beside_card
    candidates = (
        Candidate(name, model, beside_card if model.card else hints)
        for name, model in models.items()
    )
    return tuple(candidates), left_out


def load_candidates(
    candidates: Sequence[Candidate], threads: Sequence[int], stack: ExitStack
) -> tuple[tuple[tuple[Candidate, tuple[Classifier, ...]], ...], tuple[LeftOut, ...]]:
    """Load each file with each number of threads and try it on a picture.

    Args:
        candidates: the files.
        threads: numbers of threads.
        stack: what closes the classifiers.

    Returns:
        the files that work, each with its classifiers in the order of `threads`, and the others.

    Raises:
        ModelFileError: none works.
        LabelsError, UsageError: see `Classifier`.
    """
    tried = [(candidate, _load(candidate, threads, stack)) for candidate in candidates]
    loaded = tuple((entry, own) for entry, own in tried if not isinstance(own, LeftOut))
    left_out = tuple(own for _, own in tried if isinstance(own, LeftOut))
    _warn(left_out, all_of_them=not loaded)
    return loaded, left_out


def find_reference(candidates: Sequence[Candidate]) -> int:
    """Return the index of the first file whose card says float32, or 0 where none does."""
    formats = [candidate.format for candidate in candidates]
    return formats.index(REFERENCE_FORMAT) if REFERENCE_FORMAT in formats else 0


def _read(name: str, path: Path, hints: ModelHints) -> ModelFile | LeftOut:
    try:
        return complete(read_model_file(path), hints)
    except ModelFileError as error:
        return LeftOut(name, path, str(error))
    except OSError as error:
        reason = (
            f"Expected a .tflite file that can be read. Received: {path} ({error.strerror}). "
            "Check its permissions."
        )
        return LeftOut(name, path, reason)


def _load(
    candidate: Candidate, threads: Sequence[int], stack: ExitStack
) -> tuple[Classifier, ...] | LeftOut:
    try:
        own = tuple(stack.enter_context(candidate.load(count)) for count in threads)
        own[0].classify(np.full((*own[0].size_wh[::-1], 3), 127, np.uint8))
    except ModelFileError as error:
        return LeftOut(candidate.name, Path(candidate.model.path), str(error))
    return own


def _warn(left_out: Sequence[LeftOut], *, all_of_them: bool) -> None:
    if all_of_them:
        raise ModelFileError(left_out[0].reason)
    for entry in left_out:
        LOGGER.warning("%s is left out. %s", entry.name, entry.reason)
