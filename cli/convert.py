"""`pocketlens convert`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from pocketlens.cli.options import json_option, model_hints_options, overwrite_option
from pocketlens.convert.conversion import ConvertedFile
from pocketlens.convert.float_layers import Int8
from pocketlens.files import write_json
from pocketlens.report.terminal import NOTHING, new_console, new_table
from pocketlens.runtime.hints import ModelHints

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# How many layers the terminal shows; --json has them all.
_WORST_LAYERS = 5


def summarise(files: Sequence[ConvertedFile], json_target: str | None = None) -> None:
    """Print what was made, or write it as JSON where that was asked for."""
    if json_target is not None:
        write_json(json_target, [_payload(file) for file in files])
        return
    console = new_console()
    written = [file for file in files if not file.held_back]
    if written:
        console.print(f"Written to {written[0].path.parent}")
    console.print(_table(files))
    for file in files:
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
            file.path.name + (" (not written)" if file.held_back else ""),
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


@click.command(
    "convert",
    short_help="Turn a trained model into .tflite files.",
    epilog="Example: pocketlens convert runs/flowers --out models --format int8 --format float16",
)
@click.argument("model")
@click.option("--out", required=True, metavar="DIR", help="The folder for the files.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["float32", "float16", "dynamic", "weights8", "int8"]),
    help="A format to write; may be repeated. [default: all five]",
)
@click.option("--name", help="Name the files so. [default: the model's name]")
@click.option(
    "--data",
    metavar="PHOTOS",
    help="Labelled photos to compare the files on. [default: the run's validation photos]",
)
@click.option(
    "--representative",
    metavar="FOLDER",
    help="Photos that the 8-bit formats are measured on. [default: the run's training photos]",
)
@click.option("--samples", type=int, default=200, show_default=True, help="How many of them.")
@click.option(
    "--max-drop",
    metavar="POINTS",
    type=float,
    default=1.0,
    show_default=True,
    help="Hold a file back that loses more accuracy to the original model; int8 leaves layers in "
    "float first. One photo alone never counts.",
)
@click.option("--force", is_flag=True, help="Write files that lose more all the same.")
@click.option(
    "--sensitivity",
    is_flag=True,
    help="Measure what each layer of the int8 file adds in error and saves in time.",
)
@model_hints_options(without=("backend",))
@overwrite_option
@json_option
def convert_command(
    model: str,
    out: str,
    formats: tuple[str, ...],
    name: str | None,
    data: str | None,
    representative: str | None,
    samples: int,
    max_drop: float,
    force: bool,
    sensitivity: bool,
    hints: ModelHints,
    overwrite: bool,
    json_target: str | None,
) -> None:
    """Write MODEL as NAME_FORMAT.tflite files, each loaded again and checked.

    MODEL is a run folder or a third-party model: a .keras file, a SavedModel folder or a float32
    .tflite file. That has to be described: its labels, what its pixels are (--mean and --std, where
    it does not normalise them itself), and photos for int8 and to compare the files on.
    """
    from pathlib import Path

    from pocketlens.files import refuse_targets
    from pocketlens.imports import require_train

    require_train()
    refuse_targets(json_target, overwrite=overwrite)
    from pocketlens.convert import FORMATS, Demands, DropError, convert

    demands = Demands(max_drop, force, sensitivity)
    try:
        files = convert(
            Path(model),
            Path(out),
            formats or FORMATS,
            name=name,
            hints=hints,
            data=Path(data) if data else None,
            representative=Path(representative) if representative else None,
            samples=samples,
            demands=demands,
            overwrite=overwrite,
        )
    except DropError as error:
        summarise(error.files, json_target)
        raise
    summarise(files, json_target)
