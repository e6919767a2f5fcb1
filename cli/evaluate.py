"""`pocketlens evaluate`."""

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
    "evaluate",
    short_help="Measure a run, a .keras or a .tflite file on labelled photos.",
    epilog="Example: pocketlens evaluate models/flowers_int8.tflite new_photos/ --report page",
)
@click.argument("model")
@click.argument("photos")
@click.option(
    "--report",
    metavar="DIR",
    help="Write a page with everything, its pictures and JSON into a new folder.",
)
@click.option(
    "--feature-maps",
    "feature_photo",
    metavar="PHOTO",
    help="Show on the page what layers make of a photo; not for .tflite files.",
)
@click.option(
    "--resize",
    "resize_mode",
    type=click.Choice(["stretch", "crop", "pad"]),
    help="For a model from elsewhere: how a photo is brought to its size. [default: stretch]",
)
@labels_option
@mean_option
@std_option
@overwrite_option
@json_option
def evaluate_command(
    model: str,
    photos: str,
    report: str | None,
    feature_photo: str | None,
    resize_mode: str | None,
    labels_file: str | None,
    mean: float | None,
    std: float | None,
    overwrite: bool,
    json_target: str | None,
) -> None:
    """Measure MODEL on PHOTOS: accuracy, every class by itself, calibration, worst mistakes.

    MODEL is a run, a .keras or a .tflite file. PHOTOS is a folder per class; a .csv or .jsonl
    table (see pocketlens train --help; of one with parts, the test part); or a run: then its
    held-back test photos are taken.
    """
    from pathlib import Path

    from pocketlens.files import refuse_targets
    from pocketlens.imports import require_train

    require_train()
    refuse_targets(json_target, overwrite=overwrite)
    from pocketlens.train import Elsewhere, evaluate_model, summarise_evaluation

    labels = Path(labels_file) if labels_file else None
    evaluation = evaluate_model(
        Path(model),
        photos,
        Elsewhere(labels, resize_mode, mean, std),
        report=Path(report) if report else None,
        feature_photo=Path(feature_photo) if feature_photo else None,
        overwrite=overwrite,
    )
    summarise_evaluation(evaluation, json_target, Path(report) if report else None)
