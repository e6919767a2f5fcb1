"""`pocketlens check`."""

from __future__ import annotations

import click

from pocketlens.cli.options import json_option, overwrite_option


@click.command(
    "check",
    short_help="Look through photos before training.",
    epilog="Example: pocketlens check photos/ --report check/",
)
@click.argument("photos")
@click.option(
    "--report",
    "report_folder",
    metavar="DIR",
    help="Write a page, data.html, and data.json into DIR.",
)
@click.option("--strict", is_flag=True, help="Fail on bad files and on a photo with two labels.")
@overwrite_option
@json_option
def check_command(
    photos: str, report_folder: str | None, strict: bool, overwrite: bool, json_target: str | None
) -> None:
    """Look through PHOTOS for bad files, copies, wrong labels and uneven classes.

    PHOTOS is a folder per class, such folders in train/, val/ and test/, or a .csv or .jsonl table
    (see pocketlens train --help). Ends with 0 when they can be trained on, else with 1. `train`
    does the same at its start.
    """
    from pathlib import Path

    from pocketlens.imports import require_train

    require_train()
    from pocketlens.errors import DataError
    from pocketlens.files import STANDARD_OUTPUT, refuse_files, write_json
    from pocketlens.train.data_check import check_data
    from pocketlens.train.data_page import JSON_NAME, PAGE_NAME, write_data_report
    from pocketlens.train.data_report import print_check, to_payload

    folder = Path(report_folder) if report_folder is not None else None
    targets = [] if json_target in (None, STANDARD_OUTPUT) else [Path(str(json_target))]
    targets += [folder / PAGE_NAME, folder / JSON_NAME] if folder else []
    refuse_files(targets, overwrite=overwrite)
    check = check_data(Path(photos))
    if folder is not None:
        write_data_report(folder, check)
    if json_target is None:
        print_check(check)
    else:
        write_json(json_target, to_payload(check))
    if check.problem is not None:
        raise DataError(check.problem)
    if strict:
        check.refuse_bad()
