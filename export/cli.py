"""`pocketlens export`."""

from __future__ import annotations

import click

from pocketlens.options import json_option, overwrite_option


@click.command(
    "export",
    short_help="Write what an app or a microcontroller needs.",
    epilog="Example: pocketlens export flowers_int8.tflite --target android --out app",
)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "--target",
    required=True,
    type=click.Choice(["android", "ios", "c"]),
    help="android, ios: the files, Kotlin or Swift that runs them on the camera, test pictures "
    "with the scores they must give, and a README; c: each file as a C array with a header.",
)
@click.option(
    "--images",
    metavar="PHOTOS",
    help="For android and ios: a folder with photos to make the test pictures of. "
    "[default: drawn ones]",
)
@click.option("--out", required=True, metavar="DIR", help="The folder to make.")
@overwrite_option
@json_option
def export_command(
    models: tuple[str, ...],
    target: str,
    images: str | None,
    out: str,
    overwrite: bool,
    json_target: str | None,
) -> None:
    """Write a folder for a target with each MODEL, a .tflite file that pocketlens converted."""
    from pocketlens.export.folders import export
    from pocketlens.files import refuse_targets, write_json

    refuse_targets(json_target, overwrite=overwrite)
    exported = export(models, out, target, images=images, overwrite=overwrite)
    if json_target:
        folder, sha256 = str(exported.folder), dict(exported.sha256)
        write_json(json_target, {"target": target, "folder": folder, "sha256": sha256})
    if json_target != "-":
        click.echo(f"{exported.folder}: " + ", ".join(exported.sha256))
