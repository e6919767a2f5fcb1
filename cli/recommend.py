"""`pocketlens recommend`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketlens.choices import FORMATS
from pocketlens.cli.benchmark import measurement, parse_threads, report_option
from pocketlens.cli.options import (
    EXISTING,
    command,
    deliver,
    json_option,
    model_hints_options,
    options_of,
    overwrite_option,
)
from pocketlens.errors import PocketlensError
from pocketlens.files import refuse_targets

limit = options_of("Limits")

if TYPE_CHECKING:
    from pocketlens.runtime.hints import ModelHints


@command(
    "recommend",
    example="pocketlens recommend models/*.tflite --photos photos/ --max-latency 20",
    renamed={"--data": ("--photos",)},
    project={"models": "model files", "photos": "test photos of its models"},
)
@click.argument("models", metavar="RUN|MODEL...", nargs=-1, required=True, type=EXISTING)
@limit(
    "--max-drop",
    type=float,
    metavar="POINTS",
    help="Maximum accuracy loss against the most accurate file.  [default: 1, against the best "
    "file within the other limits]",
)
@limit(
    "--max-latency",
    type=float,
    metavar="MS",
    help="Maximum milliseconds from a frame to its labels.",
)
@limit("--max-size", type=float, metavar="MB", help="Maximum file size.")
@measurement(
    "--photos",
    metavar="PHOTOS",
    type=EXISTING,
    help="Labelled photos that were not used in training, as for benchmark.  [default: the test "
    "photos of a RUN]",
)
@measurement(
    "--threads",
    "--num-threads",
    "threads",
    metavar="N[,N...]",
    callback=parse_threads,
    help="Numbers of threads to try.  [default: 1, 2, 4, ... up to all cores]",
)
@model_hints_options()
@report_option
@json_option
@overwrite_option
def recommend_command(
    models: tuple[Path, ...],
    photos: Path | None,
    max_drop: float | None,
    max_latency: float | None,
    max_size: float | None,
    threads: tuple[int, ...] | None,
    report_folder: Path | None,
    hints: ModelHints,
    json_target: str | None,
    overwrite: bool,
) -> int:
    """Measure model files on this machine and recommend one, with a number of threads.

    Of the files within the limits the fastest is recommended; of those within 5 % of it the
    smallest, then the one with the fewest threads. A RUN is converted to all formats first, once.
    If no file is within the limits, the nearest one is named and the exit code is 1.
    """
    from pocketlens.benchmarks.benchmarking import benchmark
    from pocketlens.benchmarks.payload import recommendation_payload
    from pocketlens.benchmarks.recommendation import Limits, recommend, refuse_too_large
    from pocketlens.benchmarks.report import nothing_fits, print_recommendation
    from pocketlens.runtime.threads import numbers_to_try
    from pocketlens.workers import count_cores

    limits = Limits(max_drop, max_latency, max_size)
    refuse_targets(json_target, overwrite=overwrite)
    if report_folder:
        from pocketlens.imports import require_report

        require_report()
        from pocketlens.benchmarks.page import RECOMMENDATION_JSON, refuse_report

        refuse_report(report_folder, overwrite=overwrite, marker=RECOMMENDATION_JSON)
    with ExitStack() as stack:
        files, run = _files(models, stack, photos)
        if json_target is None and report_folder is None:
            # Who reads JSON or a page gets what comes nearest there, which has to be measured.
            refuse_too_large(files, limits)
        result = benchmark(
            files,
            data=photos or run,
            threads=threads or tuple(numbers_to_try(count_cores())),
            hints=hints,
        )
    found = recommend(result, limits)
    deliver(
        json_target,
        lambda: recommendation_payload(found),
        lambda: print_recommendation(found, run),
    )
    if report_folder:
        from pocketlens.benchmarks.page import write_report

        write_report(found, report_folder, overwrite=overwrite)
    if found.take is None:
        raise PocketlensError(nothing_fits(found))
    return int(bool(result.left_out))


def _files(
    models: tuple[Path, ...], stack: ExitStack, photos: Path | None
) -> tuple[list[Path], Path | None]:
    """Return the files to measure, made of a run if one is given, and that run."""
    from pocketlens.errors import UsageError
    from pocketlens.runtime.model_files import read_model_file
    from pocketlens.runtime.runs import is_run, read_run

    runs = [path for path in models if is_run(path)]
    if not runs:
        if photos is None:
            # What is neither a run nor a model is told so, and not that it has no photos.
            for path in models:
                if path.is_dir():
                    read_run(path)
                else:
                    read_model_file(path)
            raise UsageError(
                "Expected --photos PHOTOS, or a run, which has photos. Received: only files. "
                "Name a folder with a folder per class."
            )
        return list(models), None
    if len(models) > 1:
        raise UsageError(
            f"Expected one run, or files. Received: {runs[0]} and more. Name the run alone."
        )
    from pocketlens.export.models import converted_files

    # What each format loses is measured, so even one that loses much is among them.
    return list(stack.enter_context(converted_files(runs[0], FORMATS)).values()), runs[0]
