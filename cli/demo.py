"""`pocketlens demo`."""

from __future__ import annotations

import click

from pocketlens.cli.options import overwrite_option


@click.command(
    "demo",
    short_help="The full pipeline on synthetic images: no photos, no network.",
    epilog="Example: pocketlens demo --out demo-out",
)
@click.option("--out", default="demo-out", show_default=True, metavar="DIR", help="Where to.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@overwrite_option
def demo_command(out: str, seed: int, overwrite: bool) -> None:
    """Render synthetic images of six cards, train, convert, compare, and label a video.

    Takes about five minutes on two cores and needs no network. It ends with a page to look at.
    """
    from pathlib import Path

    from pocketlens.imports import require_train

    require_train()
    from pocketlens.benchmarks.report import print_report
    from pocketlens.demo.pipeline import INDEX_NAME, demo

    result = demo(Path(out), seed=seed, overwrite=overwrite)
    print_report(result.comparison)
    click.echo(
        f"\nTest accuracy {result.training.test.accuracy:.1%}; "
        f"right on {result.video_accuracy:.1%} of the video's clear frames; "
        f"{result.seconds / 60:.1f} minutes.\nLook at {Path(out) / INDEX_NAME}"
    )
