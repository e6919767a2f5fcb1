"""`pocketlens check`."""

from __future__ import annotations

from pathlib import Path

import click

from pocketlens.cli.options import (
    EXISTING,
    LocalPath,
    command,
    deliver,
    json_option,
    options_of,
    output,
    overwrite_option,
)


@command(
    "check",
    example="pocketlens check photos/ --report check/",
    project={"photos": "photos"},
)
@click.argument("photos", metavar="PHOTOS", type=EXISTING)
@options_of("Check")(
    "--strict",
    is_flag=True,
    help="Fail if a file cannot be read or a photo has two labels.",
)
@output(
    "--report",
    "report_folder",
    metavar="DIR",
    type=LocalPath(),
    help="Write an HTML page, data.html, and data.json into DIR.",
)
@overwrite_option
@json_option
def check_command(
    photos: Path, report_folder: Path | None, strict: bool, overwrite: bool, json_target: str | None
) -> None:
    """Check PHOTOS for unreadable files, duplicates, wrong labels and class imbalance.

    PHOTOS is a folder per class, such folders in train/, val/ and test/, or a .csv or .jsonl table
    (see pocketlens train --help). The exit code is 0 if a model can be trained on them, else 1.
    `train` makes the same checks first.

    Photos are JPEG, PNG, WebP, BMP, GIF, TIFF and AVIF files, and HEIC with pocketlens[heic]. A
    photo may have at most 100 megapixels and take at most 380 MB to decode. That is 70 megapixels
    for JPEG, 35 to 50 for progressive JPEG, and 20 for WebP and AVIF.
    """
    from pocketlens.imports import require_train

    require_train()
    from pocketlens.errors import DataError
    from pocketlens.files import refuse_files, refuse_targets
    from pocketlens.train.data_check import check_data
    from pocketlens.train.data_report import (
        JSON_NAME,
        PAGE_NAME,
        print_check,
        to_payload,
        write_data_report,
    )

    refuse_targets(json_target, overwrite=overwrite)
    if report_folder is not None:
        refuse_files([report_folder / PAGE_NAME, report_folder / JSON_NAME], overwrite=overwrite)
    check = check_data(photos)
    if report_folder is not None:
        write_data_report(report_folder, check)
    deliver(json_target, lambda: to_payload(check), lambda: print_check(check))
    if check.problem is not None:
        raise DataError(check.problem)
    if strict:
        check.refuse_bad()
