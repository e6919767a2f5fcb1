"""`pocketlens convert`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketlens.choices import DEFAULT_KNOWN_KEPT, FORMATS
from pocketlens.cli.options import (
    EXISTING,
    LocalPath,
    command,
    deliver,
    json_option,
    model_hints_options,
    options_of,
    output,
    overwrite_option,
)
from pocketlens.names import shown
from pocketlens.report.terminal import NOTHING, new_console, new_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from pocketlens.convert.conversion import ConvertedFile
    from pocketlens.convert.float_layers import Int8
    from pocketlens.runtime.hints import ModelHints

# How many layers the terminal shows; --json has them all.
_WORST_LAYERS = 5


def summarise(files: Sequence[ConvertedFile], json_target: str | None = None) -> None:
    """Print what was made, and write it as JSON if that was asked for."""
    deliver(json_target, lambda: [_payload(file) for file in files], lambda: _print(files))


def _print(files: Sequence[ConvertedFile]) -> None:
    console = new_console()
    written = [file for file in files if not file.held_back]
    if written:
        console.print(f"Written to {shown(written[0].path.parent)}", soft_wrap=True)
    console.print(_table(files))
    for file in files:
        if file.shortfall:
            console.print(f"{file.format}: {file.shortfall}")
        if file.comparison.hardest:
            losses = ", ".join(
                f"{entry.label} {entry.net_lost} of {entry.photos}"
                for entry in file.comparison.hardest
            )
            console.print(f"{file.format} loses most photos of: {losses}")
        if file.int8:
            _print_int8(console, file.int8)


def _table(files: Sequence[ConvertedFile]) -> Table:
    first = files[0].comparison
    accuracy = "" if first.original_accuracy is None else f" ({first.original_accuracy:.1%})"
    title = f"Compared with the original model{accuracy} on {first.photos} photos"
    headers = ("file", "MB", "same answer", "accuracy", "lost/won", "ops", "partitions")
    table = new_table(*headers, title=title)
    for file in files:
        comparison = file.comparison
        table.add_row(
            shown(file.path.name) + (" (not written)" if file.held_back else ""),
            f"{file.size_bytes / 1e6:.2f}",
            f"{comparison.agreement:.1%}",
            _percent(comparison.accuracy),
            f"{comparison.flips.lost}/{comparison.flips.won}",
            str(sum(file.operators.counts.values())),
            str(file.operators.partitions),
        )
    return table


def _print_int8(console: Console, int8: Int8) -> None:
    if int8.float_layers:
        console.print(
            f"{len(int8.float_layers)} of int8's layers in float, for {int8.float_cost_ms:.2f} ms "
            f"of an inference: {', '.join(map(short_name, int8.float_layers))}"
        )
    if int8.sensitivity:
        title = "The layers whose rounding adds most error"
        table = new_table("layer", "error added", "ms saved", title=title)
        for row in int8.sensitivity[:_WORST_LAYERS]:
            table.add_row(
                short_name(row.layer), f"{row.error_added:.5f}", f"{row.time_saved_ms:.3f}"
            )
        console.print(table)


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{share:.1%}"


def short_name(layer: str) -> str:
    """Return the first of the operations that were folded into a layer."""
    return layer.split(";")[0]


def _payload(file: ConvertedFile) -> dict[str, Any]:
    comparison = file.comparison
    payload = {
        "path": str(file.path),
        "format": file.format,
        "held_back": file.held_back,
        "size_bytes": file.size_bytes,
        "seconds": file.seconds,
        "photos": comparison.photos,
        "agreement": comparison.agreement,
        "accuracy": comparison.accuracy,
        "original_accuracy": comparison.original_accuracy,
        "lost": comparison.flips.lost,
        "won": comparison.flips.won,
        "distance": comparison.distance,
        "hardest": [
            {"label": entry.label, "lost": entry.net_lost, "photos": entry.photos}
            for entry in comparison.hardest
        ],
        "drop_points": comparison.drop_points,
        "operators": file.operators._asdict(),
    }
    if file.int8:
        payload["int8"] = {
            "float_layers": list(map(short_name, file.int8.float_layers)),
            "float_cost_ms": file.int8.float_cost_ms,
            "sensitivity": [
                {**asdict(row), "layer": short_name(row.layer)} for row in file.int8.sensitivity
            ],
        }
    return payload


formats_options = options_of("Formats")
photos_options = options_of("Photos")


@command(
    "convert",
    example="pocketlens convert runs/flowers --out models --format int8 --format float16",
    renamed={"--data": ("--photos",), "--representative": ("--calibration-photos",)},
    project={"model": "newest run", "out": "new models"},
)
@click.argument("model", metavar="MODEL", type=EXISTING)
@formats_options(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(FORMATS),
    help="Format to write; may be repeated.  [default: all five]",
)
@formats_options(
    "--max-drop",
    metavar="POINTS",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    help="Reject a file that loses more accuracy than this against the original model; int8 first "
    "keeps some layers in float. A loss of a single photo counts only if this is 0.",
)
@formats_options("--force", is_flag=True, help="Write files that lose more than --max-drop anyway.")
@formats_options(
    "--sensitivity",
    is_flag=True,
    help="Measure how much error each layer of the int8 file adds and how much time it saves.",
)
@photos_options(
    "--photos",
    metavar="PHOTOS",
    type=EXISTING,
    help="Labelled photos to compare the files on. With this option files get no label sets (see "
    "classify --sets).  [default: the run's validation photos]",
)
@photos_options(
    "--calibration-photos",
    metavar="PHOTOS",
    type=EXISTING,
    help="Folder of photos to calibrate the 8-bit formats on; they need no labels.  "
    "[default: the run's training photos]",
)
@photos_options(
    "--samples",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Number of calibration photos.",
)
@photos_options(
    "--unknown",
    metavar="PHOTOS",
    type=EXISTING,
    help="Add the label unknown, for photos that show none of the classes, to a .keras file. "
    "PHOTOS is a folder with photos of the classes, if possible ones that it was not trained on; "
    "they need no labels.",
)
@photos_options(
    "--known-kept",
    type=float,
    metavar="SHARE",
    default=DEFAULT_KNOWN_KEPT,
    show_default=True,
    help="With --unknown: share of the known photos that keep their label, from 0.5 to less than "
    "1.",
)
@model_hints_options(without=("backend",))
@output("--out", required=True, metavar="DIR", type=LocalPath(), help="Folder for the files.")
@output("--name", help="First part of the file names.  [default: the model's name]")
@overwrite_option
@json_option
def convert_command(
    model: Path,
    out: Path,
    formats: tuple[str, ...],
    name: str | None,
    photos: Path | None,
    calibration_photos: Path | None,
    samples: int,
    unknown: Path | None,
    known_kept: float,
    max_drop: float,
    force: bool,
    sensitivity: bool,
    hints: ModelHints,
    overwrite: bool,
    json_target: str | None,
) -> None:
    """Write MODEL as NAME_FORMAT.tflite files; each is loaded and checked.

    MODEL is a run folder or a third-party model: a .keras file, a SavedModel folder or a float32
    .tflite file. A third-party model needs --labels, --mean and --std if it does not normalize
    pixels itself, and photos to calibrate and compare on. If these show that it outputs logits, a
    softmax or a sigmoid is appended. A format that it cannot be converted to is left out.
    """
    from pocketlens.files import refuse_targets
    from pocketlens.imports import require_train

    require_train()
    refuse_targets(json_target, overwrite=overwrite)
    from pocketlens.convert.demands import Demands, plan_files

    demands = Demands(max_drop, force, sensitivity)
    asked: dict[str, Any] = {
        "name": name,
        "hints": hints,
        "data": photos,
        "representative": calibration_photos,
        "samples": samples,
        "unknown": unknown,
        "known_kept": known_kept,
        "overwrite": overwrite,
    }
    plan_files(model, out, formats or FORMATS, **asked)
    # Only now, since TensorFlow takes seconds to load.
    from pocketlens.convert import IncompleteError, convert

    try:
        files = convert(model, out, formats or FORMATS, demands=demands, **asked)
    except IncompleteError as error:
        if error.files:
            summarise(error.files, json_target)
        raise
    summarise(files, json_target)
