"""`pocketlens export`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketlens.choices import FORMATS
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
from pocketlens.export.folders import TARGETS

if TYPE_CHECKING:
    from pocketlens.runtime.hints import ModelHints

content = options_of("Content")
serving = options_of("Serving")


@command(
    "export",
    example="pocketlens export runs/flowers --target web --out app --serve",
    renamed={"--images": ("--photos",)},
    project={"models": "newest run", "out": "new export"},
)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=EXISTING)
@content(
    "--target",
    required=True,
    type=click.Choice(list(TARGETS)),
    help=" ".join(f"{name}: {target.summary}." for name, target in TARGETS.items()),
)
@content(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(FORMATS),
    help="Format to convert a run to; may be repeated.  [default: "
    + "; ".join(f"{name}: {', '.join(target.formats)}" for name, target in TARGETS.items())
    + "]",
)
@content(
    "--photos",
    metavar="PHOTOS",
    type=EXISTING,
    help="Folder of photos to make the test images of.  [default: synthetic images]",
)
@serving("--serve", is_flag=True, help="Serve the web app on this machine when it is written.")
@serving(
    "--port",
    type=click.IntRange(0, 65535),
    default=8737,
    show_default=True,
    help="Port of --serve; 0 takes a free one.",
)
@model_hints_options(without=("backend",))
@output("--out", required=True, metavar="DIR", type=LocalPath(), help="Folder to create.")
@overwrite_option
@json_option
def export_command(
    models: tuple[Path, ...],
    target: str,
    formats: tuple[str, ...],
    photos: Path | None,
    out: Path,
    serve: bool,
    port: int,
    hints: ModelHints,
    overwrite: bool,
    json_target: str | None,
) -> None:
    """Write a folder with each MODEL for a phone app, a browser or a microcontroller.

    MODEL is a .tflite file or a run. A run is converted first; a third-party file is written again
    so that it takes raw pixels and gives scores. Both need pocketlens[train].
    """
    from contextlib import ExitStack

    from pocketlens.errors import UsageError
    from pocketlens.export.folders import CHECKSUMS_NAME, export
    from pocketlens.export.readme import README_NAME
    from pocketlens.export.serving import FolderServer, serve_until_stopped
    from pocketlens.files import refuse_targets
    from pocketlens.names import shown

    headers = TARGETS[target].serving
    if serve and headers is None:
        able = " or ".join(name for name, entry in TARGETS.items() if entry.serving)
        raise UsageError(
            f"Expected --serve with --target {able}. Received: {target}. Leave it out."
        )
    refuse_targets(json_target, overwrite=overwrite)

    def show(folder: str, names: Iterable[str]) -> None:
        names = [*names, CHECKSUMS_NAME]
        click.echo(shown(f"{folder}: {', '.join(names)}"))
        guide = next(name for name in names if name == README_NAME or name.endswith(".h"))
        click.echo(shown(f"Next: {folder}/{guide} says how to use them."))

    with ExitStack() as stack:
        if serve and headers is not None:
            # The port is taken first, so that nothing is written where it cannot be.
            server = stack.enter_context(FolderServer(out, headers, port))
        exported = export(
            models, out, target, formats=formats, images=photos, hints=hints, overwrite=overwrite
        )
        folder, sha256 = str(exported.folder), dict(exported.sha256)
        deliver(
            json_target,
            lambda: {"target": target, "folder": folder, "sha256": sha256},
            lambda: show(folder, sha256),
        )
        if serve:
            click.echo(f"Open {server.url}  (Ctrl+C ends)", err=True)
            serve_until_stopped(server, exported.sha256)
