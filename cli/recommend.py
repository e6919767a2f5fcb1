"""`pocketlens recommend`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from pocketlens.cli.benchmark import parse_threads
from pocketlens.cli.options import json_option, model_hints_options, overwrite_option
from pocketlens.errors import PocketlensError
from pocketlens.files import STANDARD_OUTPUT, refuse_targets, write_json

if TYPE_CHECKING:
    from pocketlens.runtime.hints import ModelHints


@click.command(
    "recommend",
    short_help="Say which file to take here, and why.",
    epilog="Example: pocketlens recommend models/*.tflite --data photos/ --max-latency 20",
)
@click.argument("models", metavar="RUN|MODEL...", nargs=-1, required=True)
@click.option(
    "--data",
    metavar="PHOTOS",
    help="Labelled photos that no training saw, as for benchmark. [default: the held-back photos "
    "of a RUN]",
)
@click.option(
    "--max-drop",
    type=float,
    metavar="POINTS",
    help="Lose at most so much accuracy to the most accurate file. [default: 1 to the best that "
    "keeps the other limits]",
)
@click.option(
    "--max-latency", type=float, metavar="MS", help="Take at most so long from a frame to labels."
)
@click.option("--max-size", type=float, metavar="MB", help="Be no larger.")
@click.option(
    "--threads",
    "--num-threads",
    "threads",
    metavar="N[,N...]",
    help="Try these numbers of threads. [default: 1, 2, 4, ... up to all cores]",
)
@click.option(
    "--report",
    "report_folder",
    metavar="DIR",
    help="Write a page with the recommendation and all that was measured.",
)
@model_hints_options()
@json_option
@overwrite_option
def recommend_command(
    models: tuple[str, ...],
    data: str | None,
    max_drop: float | None,
    max_latency: float | None,
    max_size: float | None,
    threads: str | None,
    report_folder: str | None,
    hints: ModelHints,
    json_target: str | None,
    overwrite: bool,
) -> int:
    """Measure model files here and say which to take, with how many threads, and why.

    Of the files that keep the limits the fastest is taken; of those within 5 % of it the smallest,
    then the one with the fewest threads. A RUN is converted to all formats first. Where nothing
    keeps the limits the exit code is 1, and what comes nearest is said.
    """
    from pocketlens.benchmarks.benchmarking import benchmark
    from pocketlens.benchmarks.payload import recommendation_payload
    from pocketlens.benchmarks.recommendation import Limits, recommend
    from pocketlens.benchmarks.report import nothing_fits, print_recommendation
    from pocketlens.runtime.threads import numbers_to_try
    from pocketlens.workers import count_cores

    limits = Limits(max_drop, max_latency, max_size)
    counts = parse_threads(threads) if threads else tuple(numbers_to_try(count_cores()))
    refuse_targets(json_target, overwrite=overwrite)
    if report_folder:
        from pocketlens.imports import require_report

        require_report()
        from pocketlens.benchmarks.page import RECOMMENDATION_JSON, refuse_report

        refuse_report(Path(report_folder), overwrite=overwrite, marker=RECOMMENDATION_JSON)
    with TemporaryDirectory() as home:
        files, run = _files(models, Path(home), data)
        result = benchmark(
            files,
            data=data or run,
            threads=counts,
            hints=hints,
        )
    found = recommend(result, limits)
    if json_target != STANDARD_OUTPUT:
        print_recommendation(found, run)
    if json_target:
        write_json(json_target, recommendation_payload(found))
    if report_folder:
        from pocketlens.benchmarks.page import write_report

        write_report(found, Path(report_folder), overwrite=overwrite)
    if found.take is None:
        raise PocketlensError(nothing_fits(found))
    return int(bool(result.left_out))


def _files(models: tuple[str, ...], home: Path, data: str | None) -> tuple[list[Path], Path | None]:
    """Return the files to measure, made in `home` from a run if one is given, and that run."""
    from pocketlens.errors import UsageError
    from pocketlens.runtime.runs import is_run

    paths = [Path(model) for model in models]
    runs = [path for path in paths if is_run(path)]
    if not runs:
        if data is None:
            raise UsageError(
                "Expected --data PHOTOS, or a run with photos of its own. Received: files alone. "
                "Name a folder with a folder per class."
            )
        return paths, None
    if len(paths) > 1:
        raise UsageError(
            f"Expected one run or some files. Received: {runs[0]} and more. Name it alone."
        )
    from pocketlens.imports import require_train

    require_train()
    from pocketlens.convert import Demands, convert

    # What each format loses is measured below; converting need not judge it.
    converted = convert(runs[0], home, demands=Demands(force=True))
    return [file.path for file in converted], runs[0]
