"""`pocketlens export`."""

from __future__ import annotations

import click

from pocketlens.cli.options import json_option, overwrite_option


@click.command(
    "export",
    short_help="Write what an app or a microcontroller needs.",
    epilog="Example: pocketlens export runs/flowers --target web --out app --serve",
)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "--target",
    required=True,
    type=click.Choice(["android", "ios", "web", "c"]),
    help="android, ios: the files, Kotlin or Swift that runs them on the camera, test pictures "
    "with the scores they must give, and a README; web: a finished app that runs them in a "
    "browser; c: each file as a C array with a header.",
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["float32", "float16", "dynamic", "weights8", "int8"]),
    help="A format to convert a run to; may be repeated. "
    "[default: int8; for phones with float16, for web with weights8]",
)
@click.option(
    "--images",
    metavar="PHOTOS",
    help="For android, ios and web: a folder with photos to make the test pictures of. "
    "[default: drawn ones]",
)
@click.option("--out", required=True, metavar="DIR", help="The folder to make.")
@click.option("--serve", is_flag=True, help="For web: open the app here when it is written.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8737,
    show_default=True,
    help="Where --serve listens; 0 takes a free one.",
)
@overwrite_option
@json_option
def export_command(
    models: tuple[str, ...],
    target: str,
    formats: tuple[str, ...],
    images: str | None,
    out: str,
    serve: bool,
    port: int,
    overwrite: bool,
    json_target: str | None,
) -> None:
    """Write a folder for a target with each MODEL: a .tflite file that pocketlens made, or a run.

    A run is converted first, which needs the packages of pocketlens[train].
    """
    from contextlib import ExitStack
    from pathlib import Path

    from pocketlens.errors import UsageError
    from pocketlens.export.folders import TARGETS, export
    from pocketlens.export.serving import FolderServer, serve_until_stopped
    from pocketlens.files import refuse_targets, write_json

    headers = TARGETS[target].serving
    if serve and headers is None:
        able = " or ".join(name for name, entry in TARGETS.items() if entry.serving)
        raise UsageError(
            f"Expected --serve with --target {able}. Received: {target}. Leave it out."
        )
    refuse_targets(json_target, overwrite=overwrite)
    with ExitStack() as stack:
        if serve and headers is not None:
            # The port is taken first, so that nothing is written where it cannot be.
            server = stack.enter_context(FolderServer(Path(out), headers, port))
        exported = export(models, out, target, formats=formats, images=images, overwrite=overwrite)
        if json_target:
            folder, sha256 = str(exported.folder), dict(exported.sha256)
            write_json(json_target, {"target": target, "folder": folder, "sha256": sha256})
        if json_target != "-":
            click.echo(f"{exported.folder}: " + ", ".join(exported.sha256))
        if serve:
            click.echo(f"Open {server.url}  (Ctrl+C ends)", err=True)
            serve_until_stopped(server, exported.sha256)
