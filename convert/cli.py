"""`pocketlens convert`."""

from __future__ import annotations

import click

from pocketlens.options import json_option, overwrite_option


@click.command(
    "convert",
    short_help="Turn a trained run into .tflite files.",
    epilog="Example: pocketlens convert runs/flowers --out models --format int8 --format float16",
)
@click.argument("run")
@click.option("--out", required=True, metavar="DIR", help="The folder for the files.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["float32", "float16", "dynamic", "weights8", "int8"]),
    help="A format to write; may be repeated. [default: all five]",
)
@click.option("--name", help="Name the files so. [default: the run's name]")
@click.option(
    "--representative",
    metavar="FOLDER",
    help="Photos that int8's ranges are measured on. [default: the run's training photos]",
)
@click.option("--samples", type=int, default=200, show_default=True, help="How many of them.")
@overwrite_option
@json_option
def convert_command(
    run: str,
    out: str,
    formats: tuple[str, ...],
    name: str | None,
    representative: str | None,
    samples: int,
    overwrite: bool,
    json_target: str | None,
) -> None:
    """Write the model of RUN as NAME_FORMAT.tflite files, each loaded again and checked."""
    from pathlib import Path

    from pocketlens.extras import require_train
    from pocketlens.files import refuse_targets

    require_train()
    refuse_targets(json_target, overwrite=overwrite)
    from pocketlens.convert import FORMATS, convert
    from pocketlens.convert.summary import summarise

    files = convert(
        Path(run),
        Path(out),
        formats or FORMATS,
        name=name,
        representative=Path(representative) if representative else None,
        samples=samples,
        overwrite=overwrite,
    )
    summarise(files, json_target)
