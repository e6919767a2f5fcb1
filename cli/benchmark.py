"""`pocketlens benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pocketlens.runtime.hints import ModelHints

from pocketlens.cli.options import (
    EXISTING,
    STANDARD_OUTPUT,
    TARGET,
    LocalPath,
    command,
    deliver,
    json_option,
    model_hints_options,
    options_of,
    output,
    overwrite_option,
)
from pocketlens.errors import UsageError

measurement = options_of("Measurement")
# Shared with `recommend`, which benchmarks too.
report_option = output(
    "--report",
    "report_folder",
    metavar="DIR",
    type=LocalPath(),
    help="Write an HTML page with the recommendation, all charts and the machine.",
)
comparison = options_of("Comparison with an earlier run")


def parse_threads(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> tuple[int, ...] | None:
    """Read numbers of threads like "1,2,4".

    Raises:
        UsageError: it is something else.
    """
    if text is None:
        return None
    try:
        counts = tuple(int(part) for part in text.split(","))
        if min(counts) < 1:
            raise ValueError
    except ValueError:
        raise UsageError(
            "Expected numbers of threads of 1 or more, separated by commas, like 1,2. "
            f"Received: --threads {text!r}."
        ) from None
    return counts


@command(
    "benchmark",
    example="pocketlens benchmark models/*.tflite --photos photos/ --threads 1,4 --report report/",
    renamed={"--data": ("--photos",)},
    project={"models": "model files", "photos": "test photos of its models"},
)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=EXISTING)
@measurement(
    "--photos",
    metavar="PHOTOS",
    type=EXISTING,
    help="Measure accuracy too: on a folder per class, on a .csv or .jsonl table, or on the test "
    "photos of a run.",
)
@measurement(
    "--threads",
    "--num-threads",
    "threads",
    default="1",
    metavar="N[,N...]",
    callback=parse_threads,
    show_default=True,
    help="Numbers of threads to time each file with.",
)
@measurement(
    "--warmup-runs", default=5, show_default=True, help="Untimed calls before the timed ones."
)
@measurement("--num-runs", default=50, show_default=True, help="Minimum number of timed calls.")
@measurement(
    "--min-secs",
    default=0.5,
    show_default=True,
    help="Minimum seconds to time each file's invoke and classify.",
)
@measurement(
    "--max-secs",
    default=150.0,
    show_default=True,
    help="Maximum seconds for all timing together, process starts included.",
)
@measurement(
    "--run-delay", default=0.0, show_default=True, help="Seconds to wait before each timed call."
)
@measurement(
    "--profile",
    "--enable-op-profiling",
    is_flag=True,
    help="Also time each operator: 5 to 10 s per file, more on a board.",
)
@measurement(
    "--sustained",
    "sustained_mins",
    type=float,
    default=0.0,
    metavar="MINUTES",
    help="Then run the recommended file without a pause for MINUTES, to see whether heat slows it "
    "down.",
)
@comparison(
    "--compare",
    "earlier",
    metavar="OLD.json",
    type=EXISTING,
    help="Compare with the --json of an earlier run on this machine: which files became faster or "
    "slower.",
)
@comparison(
    "--fail-on-regression",
    type=click.FloatRange(min=0, max=1000),
    metavar="PERCENT",
    help="Exit with code 1 if a file became more than PERCENT slower, beyond doubt.",
)
@model_hints_options()
@output(
    "--plot",
    "plot_file",
    metavar="FILE.png",
    type=TARGET,
    help="Plot accuracy against latency and size.",
)
@report_option
@json_option
@overwrite_option
def benchmark_command(
    models: tuple[Path, ...],
    photos: Path | None,
    threads: tuple[int, ...],
    warmup_runs: int,
    num_runs: int,
    min_secs: float,
    max_secs: float,
    run_delay: float,
    profile: bool,
    sustained_mins: float,
    plot_file: str | None,
    report_folder: Path | None,
    earlier: Path | None,
    fail_on_regression: float | None,
    hints: ModelHints,
    json_target: str | None,
    overwrite: bool,
) -> int:
    """Compare model files: accuracy, latency, size, memory.

    All files are timed in turn, in fresh processes, on this machine. At the end it recommends the
    fastest of the files that lose at most 1 point of accuracy to the most accurate. Of files within
    5 % of the fastest it recommends the smallest. A file that cannot be measured is left out, and
    the exit code is then 1.
    """
    from pocketlens.benchmarks.benchmarking import benchmark
    from pocketlens.benchmarks.latency import Settings
    from pocketlens.benchmarks.payload import read_benchmark, to_payload
    from pocketlens.benchmarks.regressions import (
        check_comparable,
        find_changes,
        find_gaps,
        refuse_regressions,
    )
    from pocketlens.benchmarks.report import print_report
    from pocketlens.files import refuse_targets
    from pocketlens.imports import require_report

    settings = Settings(
        num_runs, min_secs, max_secs, warmup_runs, run_delay, sustained_mins=sustained_mins
    )
    # Whatever would spoil the end is found out before minutes of measuring.
    refuse_targets(json_target, plot_file, overwrite=overwrite)
    if report_folder or plot_file:
        require_report()
    if report_folder:
        from pocketlens.benchmarks.page import refuse_report

        refuse_report(report_folder, overwrite=overwrite)
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
        data=photos,
        threads=threads,
        settings=settings,
        profile=profile,
        hints=hints,
    )
    deliver(json_target, lambda: to_payload(result), lambda: print_report(result))
    if plot_file:
        from pocketlens.benchmarks.page_charts import write_plot

        write_plot(result, Path(plot_file))
    if report_folder:
        from pocketlens.benchmarks.page import write_report

        write_report(result, report_folder, overwrite=overwrite)
    if record:
        changes, gaps = find_changes(record, result), find_gaps(record, result)
        if json_target != STANDARD_OUTPUT:
            then, now = record.machine.interpreter, result.machine.interpreter
            if then != now:
                click.echo(f"Then: {then}; now: {now}.")
            for sentence in (*(change.sentence for change in changes), *gaps):
                click.echo(sentence)
        if fail_on_regression is not None:
            refuse_regressions(changes, fail_on_regression, gaps)
    return int(bool(result.left_out))
