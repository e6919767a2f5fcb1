"""`pocketlens benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketlens.cli.options import json_option, model_hints_options, overwrite_option
from pocketlens.errors import UsageError
from pocketlens.files import STANDARD_OUTPUT, refuse_targets, write_json

if TYPE_CHECKING:
    from pocketlens.runtime.hints import ModelHints


@click.command(
    "benchmark",
    epilog="Example: pocketlens benchmark models/*.tflite --data photos/ --threads 1,4 "
    "--report report/",
)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "--data",
    metavar="PHOTOS",
    help="Measure accuracy on a folder per class, on a .csv or .jsonl table (of one with parts: "
    "test), or on the held-back photos of a run.",
)
@click.option(
    "--threads",
    "--num-threads",
    "threads",
    default="1",
    metavar="N[,N...]",
    show_default=True,
    help="Time each file with these numbers of threads.",
)
@click.option(
    "--warmup-runs", default=5, show_default=True, help="Calls of each before any is timed."
)
@click.option("--num-runs", default=50, show_default=True, help="Time each call at least so often.")
@click.option(
    "--min-secs",
    default=0.5,
    show_default=True,
    help="Time each call (invoke and classify of each file) for at least so long.",
)
@click.option(
    "--max-secs",
    default=150.0,
    show_default=True,
    help="Stop timing after so long in all, starts of processes included.",
)
@click.option("--run-delay", default=0.0, show_default=True, help="Seconds before each timed call.")
@click.option(
    "--profile",
    "--enable-op-profiling",
    is_flag=True,
    help="Also measure what each operator of each file takes: 5 to 10 s a file, more on a board.",
)
@click.option(
    "--sustained",
    "sustained_mins",
    type=float,
    default=0.0,
    metavar="MINUTES",
    help="Then run the file to take for so long without a pause, to see whether it gets slower as "
    "the machine gets hot.",
)
@click.option("--plot", "plot_file", metavar="FILE.png", help="Draw accuracy vs. latency and size.")
@click.option(
    "--report",
    "report_folder",
    metavar="DIR",
    help="Write a page with the choice, all charts and the machine, to be read in a browser.",
)
@click.option(
    "--compare",
    "earlier",
    metavar="OLD.json",
    help="Say of each file whether it is faster or slower than in an earlier --json of this "
    "machine.",
)
@click.option(
    "--fail-on-regression",
    type=click.FloatRange(min=0, max=1000),
    metavar="PERCENT",
    help="With --compare: exit with 1 if a file surely became more than PERCENT slower.",
)
@model_hints_options()
@json_option
@overwrite_option
def benchmark_command(
    models: tuple[str, ...],
    data: str | None,
    threads: str,
    warmup_runs: int,
    num_runs: int,
    min_secs: float,
    max_secs: float,
    run_delay: float,
    profile: bool,
    sustained_mins: float,
    plot_file: str | None,
    report_folder: str | None,
    earlier: str | None,
    fail_on_regression: float | None,
    hints: ModelHints,
    json_target: str | None,
    overwrite: bool,
) -> int:
    """Compare model files: accuracy, latency, size, memory.

    All files are timed in turn, in fresh processes one after the other, on this machine. It ends
    with the file to take: the fastest of those that lose at most 1 point of accuracy to the most
    accurate; of files within 5 % of the fastest, the smallest. A file that cannot be measured is
    left out, and the exit code is then 1.
    """
    from pocketlens.benchmarks.benchmarking import benchmark
    from pocketlens.benchmarks.latency import Settings
    from pocketlens.benchmarks.payload import read_benchmark, to_payload
    from pocketlens.benchmarks.regressions import (
        check_comparable,
        find_changes,
        refuse_regressions,
    )
    from pocketlens.benchmarks.report import print_report
    from pocketlens.imports import require_report

    settings = Settings(
        num_runs, min_secs, max_secs, warmup_runs, run_delay, sustained_mins=sustained_mins
    )
    counts = parse_threads(threads)
    # Whatever would spoil the end is found out before minutes of measuring.
    refuse_targets(json_target, plot_file, overwrite=overwrite)
    if report_folder or plot_file:
        require_report()
    if report_folder:
        from pocketlens.benchmarks.page import refuse_report

        refuse_report(Path(report_folder), overwrite=overwrite)
    if plot_file:
        from pocketlens.report.charts import check_name

        check_name(Path(plot_file))
    if fail_on_regression is not None and earlier is None:
        raise UsageError(
            "Expected --compare OLD.json with --fail-on-regression. Received: none. Add it."
        )
    record = read_benchmark(earlier) if earlier else None
    if record:
        check_comparable(record, models, settings)
    result = benchmark(
        models,
        data=data,
        threads=counts,
        settings=settings,
        profile=profile,
        hints=hints,
    )
    # With JSON on standard output nothing else may stand there.
    if json_target != STANDARD_OUTPUT:
        print_report(result)
    if json_target:
        write_json(json_target, to_payload(result))
    if plot_file:
        from pocketlens.benchmarks.page_charts import write_plot

        write_plot(result, Path(plot_file))
    if report_folder:
        from pocketlens.benchmarks.page import write_report

        write_report(result, Path(report_folder), overwrite=overwrite)
    if record:
        changes = find_changes(record, result)
        if json_target != STANDARD_OUTPUT:
            then, now = record.machine.interpreter, result.machine.interpreter
            if then != now:
                click.echo(f"Then: {then}; now: {now}.")
            for change in changes:
                click.echo(change.sentence)
        if fail_on_regression is not None:
            refuse_regressions(changes, fail_on_regression)
    return int(bool(result.left_out))


def parse_threads(text: str) -> tuple[int, ...]:
    """Read numbers of threads like "1,2,4".

    Raises:
        UsageError: it is something else.
    """
    try:
        counts = tuple(int(part) for part in text.split(","))
        if min(counts) < 1:
            raise ValueError
    except ValueError:
        raise UsageError(
            "Expected numbers of threads from 1 up, separated by commas, like 1,2. "
            f"Received: --threads {text!r}."
        ) from None
    return counts
