"""`pocketlens classify`: photos, one after the other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketlens.choices import MULTILABEL
from pocketlens.cli.options import (
    EXISTING,
    STANDARD_OUTPUT,
    command,
    json_option,
    model_hints_options,
    options_of,
    overwrite_option,
)
from pocketlens.errors import PictureError, UsageError
from pocketlens.files import refuse_targets, write_json
from pocketlens.names import shown
from pocketlens.progress import track

if TYPE_CHECKING:
    from pocketlens.runtime.classifier import Classifier, Result
    from pocketlens.runtime.hints import ModelHints

classification = options_of("Classification")


@command("classify", example="pocketlens classify flowers_int8.tflite rose.jpg holiday/")
@click.argument("model", metavar="MODEL", type=EXISTING)
@click.argument("photos", metavar="PHOTOS...", nargs=-1, required=True, type=EXISTING)
@classification(
    "--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="Labels per photo."
)
@classification(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Threads per inference.",
)
@model_hints_options()
@json_option
@overwrite_option
def classify_command(
    model: Path,
    photos: tuple[Path, ...],
    top_k: int,
    threads: int,
    hints: ModelHints,
    json_target: str | None,
    overwrite: bool,
) -> int:
    """Classify photos.

    PHOTOS are image files, and folders with image files at any depth. The first label is the
    answer; with a multilabel model all labels marked with * are, possibly none. An unreadable file
    is named on standard error; the others are classified, and the exit code is 1.
    """
    refuse_targets(json_target, overwrite=overwrite)
    from pocketlens.runtime.classifier import Classifier
    from pocketlens.runtime.model_files import read_model_file

    model_file = read_model_file(model)
    paths = _pictures(photos)
    with Classifier(model_file, threads=threads, top_k=top_k, hints=hints) as classifier:
        # Each answer is printed as soon as it is known.
        answers = _classify(classifier, paths, silent=json_target == STANDARD_OUTPUT)
    if json_target:
        write_json(json_target, {"model": str(model), "pictures": answers})
    return int(any("error" in answer for answer in answers))


def _classify(classifier: Classifier, paths: list[Path], *, silent: bool) -> list[dict[str, Any]]:
    from pocketlens.runtime.classifier import to_json
    from pocketlens.runtime.photos import read_pixels

    pictures = read_pixels(paths, classifier.size_wh, classifier.resize_mode)
    if silent or not sys.stdout.isatty():
        # On a terminal the answers themselves show how far it is.
        pictures = track(pictures, "Classifying", len(paths))
    answers: list[dict[str, Any]] = []
    for path, pixels in zip(paths, pictures, strict=True):
        if isinstance(pixels, PictureError):
            click.echo(f"Error: {pixels}", err=True)
            answers.append({"path": str(path), "error": str(pixels)})
            continue
        result = classifier.best(classifier.scores(pixels))
        if not silent:
            click.echo(answer_text(path, result, mark=classifier.task == MULTILABEL))
        answers.append({"path": str(path), **to_json(result.categories, result.answers)})
    return answers


def answer_text(path: Path, result: Result, *, mark: bool) -> str:
    """Return what is said of one picture, scores below each other, answers marked or not."""
    lines = (
        f"{'*' if mark and category in result.answers else ' '} {category.score:6.4f}  "
        f"{category.label}"
        for category in result.categories
    )
    return "\n".join((shown(path), *lines))


def _pictures(photos: tuple[Path, ...]) -> list[Path]:
    """Return the pictures that were named, folders replaced by what is in them."""
    from pocketlens.runtime.photos import find_pictures

    paths: list[Path] = []
    for path in photos:
        if not path.is_dir():
            paths.append(path)
            continue
        inside = sorted(find_pictures(path))
        if not inside:
            raise UsageError(
                f"Expected pictures in the folder {path}. Received: none. Check the path."
            )
        paths.extend(inside)
    return paths
