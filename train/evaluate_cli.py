"""`pocketlens evaluate`."""

from __future__ import annotations

import click

from pocketlens.options import json_option, overwrite_option


@click.command(
    "evaluate",
    short_help="Measure a run or a .tflite file on labelled photos.",
    epilog="Example: pocketlens evaluate models/flowers_int8.tflite new_photos/",
)
@click.argument("model")
@click.argument("photos")
@overwrite_option
@json_option
def evaluate_command(model: str, photos: str, overwrite: bool, json_target: str | None) -> None:
    """Measure MODEL, a run or a .tflite file, on PHOTOS: accuracy, and every class by itself.

    PHOTOS is a folder per class, a .csv or .jsonl table (see pocketlens train --help; of one with
    parts, the test part), or a run: then its held-back test photos are taken.
    """
    from pathlib import Path

    from pocketlens.extras import require_train
    from pocketlens.files import refuse_targets

    require_train()
    refuse_targets(json_target, overwrite=overwrite)
    from pocketlens.train import evaluate_model, summarise_evaluation

    summarise_evaluation(evaluate_model(Path(model), photos), json_target)
