"""`pocketlens report`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketlens.cli.options import (
    EXISTING,
    LocalPath,
    command,
    deliver,
    json_option,
    output,
    overwrite_option,
)
from pocketlens.imports import require_report

if TYPE_CHECKING:
    from collections.abc import Callable

# Of each command whose JSON becomes a page: the fields that only its JSON has, and the module whose
# `write_page(payload, name, folder, overwrite=...)` writes the page. The first that fits is taken.
KINDS = {
    "recommend": ({"options", "benchmark"}, "pocketlens.benchmarks.page"),
    "benchmark": ({"files", "machine", "verdict"}, "pocketlens.benchmarks.page"),
    "evaluate": (
        {"model", "skipped_photos", "reliability", "mistakes"},
        "pocketlens.report.evaluation",
    ),
    "compare": ({"overall", "only_known", "changed"}, "pocketlens.report.comparison"),
}
COMMANDS = "pocketlens benchmark, recommend, evaluate or compare"


@command("report", example="pocketlens report pi-benchmark.json --out report/")
@click.argument("file", metavar="FILE.json", type=EXISTING)
@output(
    "--out",
    metavar="DIR",
    type=LocalPath(),
    help="Folder for the page.  [default: beside FILE.json, named like it]",
)
@overwrite_option
@json_option
def report_command(file: Path, out: Path | None, overwrite: bool, json_target: str | None) -> None:
    """Write the HTML page of a benchmark, recommendation, evaluation or comparison.

    FILE.json is what the command wrote with --json on any machine: a board only needs to write
    JSON.
    """
    from pocketlens.files import refuse_targets
    from pocketlens.report.records import not_written, read_json

    refuse_targets(json_target, overwrite=overwrite)
    payload = read_json(file, COMMANDS)
    module = next((name for fields, name in KINDS.values() if fields <= set(payload)), None)
    if module is None:
        raise not_written(COMMANDS, file, "other JSON")
    require_report()
    write_page: Callable[..., Path] = import_module(module).write_page
    folder = out or file.with_name(f"{file.stem}-report")
    values: dict[str, Any] = payload
    page = write_page(values, str(file), folder, overwrite=overwrite)
    deliver(json_target, lambda: {"page": str(page)}, lambda: click.echo(f"Written: {page}"))
