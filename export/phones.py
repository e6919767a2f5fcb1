"""What a phone app needs: files, proof, source code, and a page that says how to put them in."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from pocketlens import __version__
from pocketlens.card import CARD_NAME, LABELS_NAME, labels_text
from pocketlens.errors import UsageError
from pocketlens.export.candidates import Candidate
from pocketlens.export.golden import golden_files, golden_pictures

ANDROID, IOS = PHONES = ("android", "ios")
README_NAME = "README.md"
# The only one that MediaPipe Tasks knows.
RESIZE_MODE = "stretch"

_SOURCES = {
    ANDROID: ("LiveClassifier.kt", "GoldenTest.kt"),
    IOS: ("LiveClassifier.swift", "GoldenTests.swift"),
}
_MEGA = 1_000_000


def phone_files(target: str, models: Sequence[Candidate], images: Path | None) -> dict[str, bytes]:
    """Return the files of a phone's folder by their names.

    Args:
        target: "android" or "ios".
        models: files of one model in different formats.
        images: a folder with photos to make the test pictures of; None draws some.

    Raises:
        UsageError: the models are of different kinds, or want a picture cropped or padded.
        DataError: a photo cannot be read.
    """
    _check_alike(models)
    card = models[0].card
    pictures = golden_pictures(images, models[0].signature.size_wh, card.resize_mode)
    folder = files("pocketlens.export") / "phone"
    contents = {f"{model.name}.tflite": model.data for model in models}
    contents[CARD_NAME] = card.to_json().encode()
    contents[LABELS_NAME] = labels_text(card.score_labels).encode()
    contents |= golden_files(models, pictures)
    contents |= {name: (folder / name).read_bytes() for name in _SOURCES[target]}
    page = (folder / f"{target}.md").read_text("utf-8")
    for key, value in _values(models, len(pictures), images is not None).items():
        page = page.replace(f"@{key}@", value)
    return contents | {README_NAME: page.encode()}


def _check_alike(models: Sequence[Candidate]) -> None:
    first = models[0]
    for model in models:
        if model.card.resize_mode != RESIZE_MODE:
            raise UsageError(
                f"Expected models that take the whole picture stretched, as MediaPipe does it. "
                f"Received: {model.model.path} with the resize mode {model.card.resize_mode}. "
                f"Train it with --resize {RESIZE_MODE}."
            )
        if _kind(model) != _kind(first):
            raise UsageError(
                "Expected files of one model in different formats. Received: "
                f"{first.model.path} and {model.model.path}, which differ in labels, task, size or "
                "threshold. Export them into folders of their own."
            )


def _kind(model: Candidate) -> tuple[object, ...]:
    card = model.card
    return card.labels, card.task, card.threshold, model.signature.size_wh


def _values(models: Sequence[Candidate], pictures: int, photos: bool) -> dict[str, str]:
    card = models[0].card
    width, height = models[0].signature.size_wh
    rows = [
        f"| `{model.name}.tflite` | {model.card.format} | {len(model.data) / _MEGA:.2f} |"
        for model in models
    ]
    return {
        "VERSION": __version__,
        "MODEL": f"{models[0].name}.tflite",
        "MODELS": "\n".join(rows),
        "TASK": card.task,
        "LABELS": str(len(card.labels)),
        "THRESHOLD": f"{card.threshold:g}",
        "SIZE": f"{width}×{height}",
        "PICTURES": f"{pictures} {'photos' if photos else 'drawn pictures'}",
    }
