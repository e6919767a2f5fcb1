"""What a phone app needs: files, proof, source code, and a page that says how to put them in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

from pocketlens.card import CARD_NAME, LABELS_NAME, labels_text
from pocketlens.errors import UsageError
from pocketlens.export.golden import golden_files, golden_pictures
from pocketlens.export.models import Candidate, Target, require_one_model
from pocketlens.export.readme import README_NAME, filled, readme_values

# The only one that MediaPipe Tasks knows.
RESIZE_MODE = "stretch"

_FORMATS = ("int8", "float16")


def phone_files(
    page: str, sources: Sequence[str], models: Sequence[Candidate], images: Path | None
) -> dict[str, bytes]:
    """Return the files of a phone's folder by their names.

    Args:
        page: the name of the template of the folder's README.
        sources: the names of the source files to put in.
        models: files of one model in different formats.
        images: a folder with photos to make the test pictures of; None draws some.

    Raises:
        UsageError: the models are of different kinds, or want a picture cropped or padded.
        DataError: a photo cannot be read.
    """
    _check_resizing(models)
    require_one_model(models)
    card = models[0].card
    pictures = golden_pictures(images, models[0].signature.size_wh, card.resize_mode)
    folder = files("pocketlens.export") / "phone"
    contents = {f"{model.name}.tflite": model.data for model in models}
    contents[CARD_NAME] = card.to_json().encode()
    contents[LABELS_NAME] = labels_text(card.score_labels).encode()
    contents |= golden_files(models, pictures)
    contents |= {name: (folder / name).read_bytes() for name in sources}
    values = readme_values(models, len(pictures), photos=images is not None)
    text = filled((folder / page).read_text("utf-8"), values)
    return contents | {README_NAME: text.encode()}


def _check_resizing(models: Sequence[Candidate]) -> None:
    for model in models:
        if model.card.resize_mode != RESIZE_MODE:
            raise UsageError(
                f"Expected models that take the whole picture stretched, as MediaPipe does it. "
                f"Received: {model.model.path} with the resize mode {model.card.resize_mode}. "
                f"Train it with --resize {RESIZE_MODE}."
            )


PHONES = (
    Target(
        "android",
        "Kotlin code for the camera, test images with their expected scores, and a README",
        _FORMATS,
        partial(phone_files, "android.md", ("LiveClassifier.kt", "GoldenTest.kt")),
    ),
    Target(
        "ios",
        "the same in Swift",
        _FORMATS,
        partial(phone_files, "ios.md", ("LiveClassifier.swift", "GoldenTests.swift")),
    ),
)
