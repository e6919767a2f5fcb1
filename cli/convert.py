"""`pocketlens convert`."""

from __future__ import annotations

import click

from pocketlens.cli.options import (
    json_option,
    labels_option,
    mean_option,
    overwrite_option,
    std_option,
)


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
    help="Hold a file back that loses more accuracy to the original model. "
    "One photo alone never counts.",
)
@click.option("--force", is_flag=True, help="Write files that lose more all the same.")
@click.option(
    "--search/--no-search",
    default=True,
    help="Compare several ways to make the int8 file, and leave layers in float where the limit "
    "asks for it; or take the way that is usually best.  [default: search]",
)
@click.option(
    "--sensitivity",
    is_flag=True,
    help="Measure what each layer of the int8 file adds in error and saves in time.",
)
@click.option(
    "--adapt",
    metavar="FOLDER",
    help="Train the model on the int8 grid first, with its own answers on these photos, which "
    "need no labels. For models that were trained without the grid.",
)
@labels_option
@mean_option
@std_option
@click.option(
    "--resize",
    "resize_mode",
    type=click.Choice(["stretch", "crop", "pad"]),
    default="stretch",
    help="For a model from elsewhere: how a photo is brought to its size. [default: stretch]",
)
@click.option(
    "--image-size", type=int, help="For a model from elsewhere that takes any: pixels a side."
)
@click.option(
    "--task",
    type=click.Choice(["multiclass", "binary", "multilabel"]),
    default="multiclass",
    help="For a model from elsewhere: what its scores mean. [default: multiclass]",
)
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
    search: bool,
    sensitivity: bool,
    adapt: str | None,
    labels_file: str | None,
    mean: float | None,
    std: float | None,
    resize_mode: str,
    image_size: int | None,
    task: str,
    overwrite: bool,
    json_target: str | None,
) -> None:
    """Write MODEL as NAME_FORMAT.tflite files, each loaded again and checked.

    MODEL is a run folder; or, from elsewhere, a .keras file, a SavedModel folder or a float32
    .tflite file. That has to be described: its labels, what its pixels are (--mean and --std, where
    it does not normalise them itself), and photos for int8 and to compare the files on.
    """
    from pathlib import Path

    from pocketlens.files import refuse_targets
    from pocketlens.imports import require_train

    require_train()
    refuse_targets(json_target, overwrite=overwrite)
    from pocketlens.convert import FORMATS, Demands, Description, DropError, convert
    from pocketlens.convert.summary import summarise

    demands = Demands(max_drop, force, search, sensitivity, Path(adapt) if adapt else None)
    labels = Path(labels_file) if labels_file else None
    description = Description(labels, mean, std, resize_mode, task, image_size)
    try:
        files = convert(
            Path(model),
            Path(out),
            formats or FORMATS,
            name=name,
            description=description,
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
