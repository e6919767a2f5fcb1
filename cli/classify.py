"""`pocketlens classify`: photos, one after the other."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from pocketlens.choices import MULTILABEL
from pocketlens.cli.options import (
    EXISTING,
    STANDARD_OUTPUT,
    TARGET,
    command,
    json_option,
    model_hints_options,
    options_of,
    output,
    overwrite_option,
)
from pocketlens.errors import PictureError, UsageError
from pocketlens.files import (
    json_text,
    open_new,
    output_errors,
    refuse_targets,
    standard_output,
    write_json,
)
from pocketlens.names import OR, shown
from pocketlens.progress import track

if TYPE_CHECKING:
    from pocketlens.runtime.classifier import Classifier, Result
    from pocketlens.runtime.hints import ModelHints

# What a row of --csv has several labels of in one cell.
_LISTS = ("answers", "label_set")

classification = options_of("Classification")


@command(
    "classify",
    example="pocketlens classify flowers_int8.tflite rose.jpg holiday/",
    project={"model": "model file"},
)
@click.argument("model", metavar="MODEL", type=EXISTING)
@click.argument("photos", metavar="PHOTOS...", nargs=-1, required=True, type=EXISTING)
@classification(
    "--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="Labels per photo."
)
@classification(
    "--sets",
    type=float,
    metavar="LEVEL",
    help="Also print a label set, which has the right label for this share of photos, if they are "
    "like the validation photos. LEVEL: 0.8, 0.9, 0.95 or 0.99.",
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
@output(
    "--jsonl",
    metavar="FILE|-",
    type=TARGET,
    help="Write a line of JSON for each photo, as soon as it is classified.",
)
@output(
    "--csv",
    "csv_target",
    metavar="FILE|-",
    type=TARGET,
    help="Write a row for each photo, as soon as it is classified.",
)
@overwrite_option
def classify_command(
    model: Path,
    photos: tuple[Path, ...],
    top_k: int,
    sets: float | None,
    threads: int,
    hints: ModelHints,
    json_target: str | None,
    jsonl: str | None,
    csv_target: str | None,
    overwrite: bool,
) -> int:
    """Classify photos.

    PHOTOS are image files, and folders with image files at any depth. The first label is the
    answer; with a multilabel model all labels marked with * are, possibly none. An unreadable file
    is named on standard error; the others are classified, and the exit code is 1.

    A row of --csv has the path, the error if there is one, the answers with | between them, with
    --sets the label set likewise, the novelty of a model that has one (0 to 1, see --jsonl), and
    the best labels with their scores.
    """
    targets = [target for target in (json_target, jsonl, csv_target) if target is not None]
    refuse_targets(*targets, overwrite=overwrite)
    from pocketlens.runtime.classifier import Classifier
    from pocketlens.runtime.model_files import read_model_file

    model_file = read_model_file(model)
    paths = _pictures(photos)
    silent = STANDARD_OUTPUT in targets
    kept: list[dict[str, Any]] = []
    failed = False
    with Classifier(model_file, threads=threads, top_k=top_k, hints=hints, sets=sets) as classifier:
        labels = len(classifier.card.labels)
        # All that reach the threshold are answers, or in the set, however few were asked for.
        any_number = classifier.task == MULTILABEL or sets is not None
        columns = labels if any_number else min(top_k, labels)
        lists = _LISTS if sets is not None else _LISTS[:1]
        card = classifier.card
        values = ("novelty",) if card.unknown or card.novelty is not None else ()
        with contextlib.ExitStack() as stack:
            # Each answer goes everywhere as soon as it is known, but into --json.
            writers = [
                stack.enter_context(_lines(target, form, header))
                for target, form, header in (
                    (jsonl, functools.partial(_as_json, jsonl), None),
                    (
                        csv_target,
                        functools.partial(_as_row, lists, values),
                        _header((*lists, *values), columns),
                    ),
                )
                if target is not None
            ]
            for answer in _classify(classifier, paths, silent=silent):
                failed = failed or "error" in answer
                for write in writers:
                    write(answer)
                if json_target:
                    kept.append(answer)
    if json_target:
        write_json(json_target, {"model": str(model), "pictures": kept})
    return int(failed)


def _classify(
    classifier: Classifier, paths: list[Path], *, silent: bool
) -> Iterator[dict[str, Any]]:
    from pocketlens.runtime.classifier import to_json
    from pocketlens.runtime.photos import read_pixels

    pictures = read_pixels(paths, classifier.size_wh, classifier.resize_mode)
    if silent or not sys.stdout.isatty():
        # On a terminal the answers themselves show how far it is.
        pictures = track(pictures, "Classifying", len(paths))
    for path, pixels in zip(paths, pictures, strict=True):
        if isinstance(pixels, PictureError):
            click.echo(f"Error: {shown(pixels)}", err=True)
            yield {"path": str(path), "error": str(pixels)}
            continue
        result = classifier.classify_pixels(pixels)
        if not silent:
            click.echo(answer_text(path, result, mark=classifier.task == MULTILABEL))
        parts = to_json(result.categories, result.answers, result.label_set, result.novelty)
        yield {"path": str(path), **parts}


@contextlib.contextmanager
def _lines(
    target: str, form: Callable[[dict[str, Any]], str], header: str | None
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give a function that writes an answer as a line of `target` at once."""
    path = Path(target)
    stream: IO[bytes] = (
        standard_output().buffer if target == STANDARD_OUTPUT else io.BufferedWriter(open_new(path))
    )

    def write(line: str) -> None:
        # A name that is no UTF-8 has what JSON takes for such bytes in their place.
        stream.write(line.encode("utf-8", "backslashreplace"))
        stream.flush()

    def write_answer(answer: dict[str, Any]) -> None:
        # A closed pipe is the business of whoever calls the command.
        with contextlib.nullcontext() if target == STANDARD_OUTPUT else output_errors(path):
            write(form(answer))

    try:
        if header is not None:
            write(header)
        yield write_answer
    finally:
        if target != STANDARD_OUTPUT:
            stream.close()


def _as_json(target: str | None, answer: dict[str, Any]) -> str:
    encoding = standard_output().encoding if target == STANDARD_OUTPUT else None
    return json_text(answer, encoding) + "\n"


def _as_row(lists: Sequence[str], values: Sequence[str], answer: dict[str, Any]) -> str:
    joined = ["|".join(answer.get(name, ())) for name in lists]
    joined += [answer.get(name, "") for name in values]
    best = [value for entry in answer.get("categories", ()) for value in entry.values()]
    return _row([answer["path"], answer.get("error", ""), *joined, *best])


def _header(said: Sequence[str], columns: int) -> str:
    best = [f"{what}_{place}" for place in range(1, columns + 1) for what in ("label", "score")]
    return _row(["path", "error", *said, *best])


def _row(cells: list[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue()


def answer_text(path: Path, result: Result, *, mark: bool) -> str:
    """Return what is said of one picture: its label set, scores, answers marked or not."""
    label_set = [f"  {OR.join(result.label_set)}"] if result.label_set else []
    lines = (
        f"{'*' if mark and category in result.answers else ' '} {category.score:6.4f}  "
        f"{category.label}"
        for category in result.categories
    )
    return "\n".join((shown(path), *label_set, *lines))


def _pictures(photos: tuple[Path, ...]) -> list[Path]:
    """Return the pictures that were named, folders replaced by what is in them."""
    from pocketlens.runtime.photos import find_pictures, in_natural_order

    paths: list[Path] = []
    for path in photos:
        if not path.is_dir():
            paths.append(path)
            continue
        inside = sorted(find_pictures(path), key=in_natural_order)
        if not inside:
            raise UsageError(
                f"Expected pictures in the folder {path}. Received: none. Check the path."
            )
        paths.extend(inside)
    return paths
