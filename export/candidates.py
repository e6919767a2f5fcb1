"""The files to export: each with its card, loaded once to see that it is what the card says."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens.card import ModelCard
from pocketlens.errors import ModelFileError
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.model_files import Signature, read_model_file


@dataclass(frozen=True)
class Candidate:
    """A `.tflite` file with its card. `data` are all its bytes, with what is behind the model."""

    path: Path
    data: bytes
    card: ModelCard
    signature: Signature

    @property
    def sha256(self) -> str:
        """The checksum of the whole file, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


def read_candidates(paths: Sequence[Path]) -> tuple[Candidate, ...]:
    """Read the files to export.

    Raises:
        UsageError: there is no such file.
        ModelFileError: a file is damaged, no image classifier, or has no card.
    """
    return tuple(_read(path) for path in paths)


def _read(path: Path) -> Candidate:
    # Before it is loaded: a float model from elsewhere would be asked for its normalisation.
    model = read_model_file(path)
    if model.card is None:
        raise ModelFileError(
            "Expected a file that pocketlens wrote, with its card inside. "
            f"Received: {path}, which has none. "
            "Convert the original model: pocketlens convert MODEL --out DIR"
        )
    with Classifier(model) as classifier:
        return Candidate(path, path.read_bytes(), model.card, classifier.signature)
