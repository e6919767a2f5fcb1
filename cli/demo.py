"""`pocketlens demo`."""

from __future__ import annotations

from pathlib import Path

import click

from pocketlens.choices import SEEDS
from pocketlens.cli.options import (
    LocalPath,
    command,
    deliver,
    json_option,
    options_of,
    output,
    overwrite_option,
)


@command("demo", example="pocketlens demo --out demo-out")
@options_of("Images")(
    "--seed",
    type=click.IntRange(0, SEEDS - 1),
    default=0,
    show_default=True,
    help="Seed of the images and of training.",
)
@output(
    "--out",
    default="demo-out",
    show_default=True,
    metavar="DIR",
    type=LocalPath(),
    help="Folder for the results.",
)
@overwrite_option
@json_option
def demo_command(out: Path, seed: int, overwrite: bool, json_target: str | None) -> None:
    """Run the full pipeline on synthetic images of six printable cards.

    It draws the images, trains a model, converts and benchmarks it, and labels a video. That takes
    5 to 12 minutes on two cores and needs no network. It ends with an HTML page to look at.
    """
    from pocketlens.files import refuse_targets
    from pocketlens.imports import require_train

    require_train()
    refuse_targets(json_target, overwrite=overwrite)
    from pocketlens.benchmarks.payload import to_payload
    from pocketlens.benchmarks.report import print_report
    from pocketlens.demo.pipeline import INDEX_NAME, demo

    result = demo(out, seed=seed, overwrite=overwrite)

    def payload() -> dict[str, object]:
        return {
            "page": str(out / INDEX_NAME),
            "test_accuracy": result.training.result.accuracy,
            "video_accuracy": result.video_accuracy,
            "seconds": result.seconds,
            "benchmark": to_payload(result.comparison),
        }

    def show() -> None:
        print_report(result.comparison)
        click.echo(
            f"\nTest accuracy {result.training.result.accuracy:.1%}; "
            f"right on {result.video_accuracy:.1%} of the video's clear frames; "
            f"{result.seconds / 60:.1f} minutes.\nLook at {out / INDEX_NAME}"
        )

    deliver(json_target, payload, show)
