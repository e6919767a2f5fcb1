"""`pocketlens compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketlens.cli.options import (
    EXISTING,
    LocalPath,
    called_in,
    command,
    deliver,
    json_option,
    model_hints_options,
    options_of,
    output,
    overwrite_option,
)
from pocketlens.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from pocketlens.evaluation.comparison import ChangedPhoto, ModelComparison, Tally
    from pocketlens.evaluation.run_table import RunRow, RunTable
    from pocketlens.runtime.hints import ModelHints

# How many photos of each kind are named in the terminal; the page shows more, JSON all.
_NAMED = 5
_RUN_SECS = 0.01


@command(
    "compare", example="pocketlens compare runs/flowers runs/flowers2 --report page", project={}
)
@click.argument("models", metavar="[MODEL_A MODEL_B | RUNS]", nargs=-1, type=EXISTING)
@options_of("Photos")(
    "--data",
    metavar="PHOTOS",
    type=EXISTING,
    help="Compare on these: a folder per class, a .csv or .jsonl table, or a run. Default: the "
    "test photos of both runs. Photos that a model was trained or chosen on are left out.",
)
@options_of("Latency")(
    "--num-runs",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="Minimum number of timed calls of two .tflite files; with 0 they are not timed.",
)
@model_hints_options()
@output(
    "--report",
    metavar="DIR",
    type=LocalPath(),
    help="Write an HTML page with the photos that changed, and JSON, into a new folder.",
)
@overwrite_option
@json_option
def compare_command(
    models: tuple[Path, ...],
    data: Path | None,
    num_runs: int,
    report: Path | None,
    hints: ModelHints,
    overwrite: bool,
    json_target: str | None,
) -> None:
    """Find out whether MODEL_B is better than MODEL_A, on photos that neither has seen.

    A model is a run, a .keras or a .tflite file. Of the same photos it shows which are lost and
    won, by class, and whether that can be chance. The exit code is 0 whatever comes of it.

    With a folder RUNS, in a project or beside a folder runs also without a word, it lists the runs
    in there, the newest first, with what differed between them.
    """
    from pocketlens.files import refuse_targets

    refuse_targets(json_target, overwrite=overwrite)
    if len(models) > 2:
        raise UsageError(
            f"Expected two models, or a folder with runs. Received: {len(models)}. Name two."
        )
    if len(models) < 2:
        if report or data or hints.given:
            raise UsageError(
                "Expected two models with --data, --report and options for models. Received: "
                f"{models[0] if models else 'none'}. Name both, or leave the options out."
            )
        _list(models[0] if models else _runs_folder(), json_target)
        return
    _compare(models[0], models[1], data, num_runs, hints, report, overwrite, json_target)


def _compare(
    a: Path,
    b: Path,
    data: Path | None,
    num_runs: int,
    hints: ModelHints,
    report: Path | None,
    overwrite: bool,
    json_target: str | None,
) -> None:
    from pocketlens.benchmarks.costs import compare_with_costs
    from pocketlens.benchmarks.latency import Settings
    from pocketlens.evaluation.comparing import compare_models
    from pocketlens.evaluation.comparison import to_payload
    from pocketlens.imports import require_report

    if report:
        require_report()
        from pocketlens.report.comparison import refuse_page

        refuse_page(report, overwrite=overwrite)
    if num_runs:
        # As long a run as in `benchmark`, half a second for 50.
        result = compare_with_costs(
            a, b, data, hints, Settings(num_runs, min_secs=_RUN_SECS * num_runs)
        )
    else:
        result = compare_models(a, b, data, hints)
    page: Path | None = None
    if report:
        from pocketlens.report.comparison import write_comparison

        page = write_comparison(result, report, overwrite=overwrite)
    deliver(json_target, lambda: to_payload(result), lambda: _show(result, page))


def _runs_folder() -> Path:
    """Return the folder of runs of the project that the command was called in."""
    from pocketlens.project import RUNS

    project = called_in()
    if project is not None:
        return project.runs
    if not Path(RUNS).is_dir():
        raise UsageError(
            f"Expected two models, or a folder with runs. Received: none, and there is neither a "
            f"project nor a folder {RUNS} here. Name them."
        )
    return Path(RUNS)


def _list(folder: Path, json_target: str | None) -> None:
    from pocketlens.evaluation.run_table import list_runs, to_payload
    from pocketlens.names import shown
    from pocketlens.runtime.runs import is_run

    if not folder.is_dir() or is_run(folder):
        raise UsageError(
            f"Expected two models, or a folder with runs. Received: {shown(folder)}, one model. "
            "Name another one."
        )
    table = list_runs(folder)
    deliver(json_target, lambda: to_payload(table), lambda: _show_table(table))


def _show(result: ModelComparison, page: Path | None) -> None:
    from pocketlens.evaluation.comparison import CHANGES
    from pocketlens.names import shown
    from pocketlens.report.terminal import facts_table, new_console

    console = new_console()
    console.print(facts_table([("A", shown(result.a.model)), ("B", shown(result.b.model))]))
    _show_tallies(console, result)
    for change in CHANGES[:2]:
        _show_photos(console, change, [one for one in result.changed if one.change == change])
    a, b = shown(result.a.name), shown(result.b.name)
    for line in (
        *(_only_text(entry.label, entry.right, entry.photos) for entry in result.only_known),
        *result.notes,
        result.costs.sentence(a, b) if result.costs else "",
        result.field_sentence,
        result.sentence,
        f"Report: {page}" if page else "",
    ):
        if line:
            console.print(line, soft_wrap=True)


def _show_tallies(console: Console, result: ModelComparison) -> None:
    from pocketlens.evaluation.agreement import p_text
    from pocketlens.names import shown
    from pocketlens.report.terminal import NOTHING, new_table

    table = new_table(
        "", "photos", "A %", "95 % interval", "B %", "95 % interval", "lost", "won", "p"
    )

    def add(name: str, tally: Tally) -> None:
        table.add_row(
            name,
            str(tally.photos),
            f"{100 * tally.a / tally.photos:.1f}",
            "{:.1f}–{:.1f}".format(*(100 * bound for bound in tally.a_interval)),
            f"{100 * tally.b / tally.photos:.1f}",
            "{:.1f}–{:.1f}".format(*(100 * bound for bound in tally.b_interval)),
            str(tally.flips.lost),
            str(tally.flips.won),
            p_text(tally.flips.p),
        )

    add("all photos", result.overall)
    if result.field:
        add("of them random of the field", result.field)
    for entry in result.overall.classes:
        table.add_row(
            shown(entry.label),
            str(entry.photos),
            f"{100 * entry.a / entry.photos:.1f}",
            NOTHING,
            f"{100 * entry.b / entry.photos:.1f}",
            NOTHING,
            str(entry.lost),
            str(entry.won),
            NOTHING,
        )
    console.print(table)


def _show_photos(console: Console, change: str, photos: Sequence[ChangedPhoto]) -> None:
    from pocketlens.names import shown

    for entry in photos[:_NAMED]:
        truth, a, b = (" + ".join(names) or "nothing" for names in (entry.truth, entry.a, entry.b))
        console.print(
            f"{change.capitalize()}: {shown(entry.photo)} ({truth}): A {a} {entry.a_score:.0%}, "
            f"B {b} {entry.b_score:.0%}",
            soft_wrap=True,
        )
    if len(photos) > _NAMED:
        console.print(f"  and {len(photos) - _NAMED} more {change}")


def _only_text(label: str, right: int, photos: int) -> str:
    from pocketlens.names import shown

    return f"{shown(label)}: {right} of {photos} right by the one that has the label"


def _show_table(found: RunTable) -> None:
    from pocketlens.names import shown
    from pocketlens.report.terminal import NOTHING, facts_table, new_console, new_table

    console = new_console()
    table = new_table(
        "run, newest first", "trained (UTC)", "train", "val", "test", "photos' hash", "accuracy %"
    )
    for row in found.runs:
        table.add_row(
            shown(row.name),
            row.trained_at[:16].replace("T", " "),
            *(str(row.photos[split]) for split in ("train", "val", "test")),
            row.short_hash or NOTHING,
            _accuracy_text(row),
        )
    console.print(table)
    if found.differing:
        console.print("Settings that differ:")
        console.print(facts_table((shown(row.name), _settings(found, row)) for row in found.runs))
    for line in (*found.warnings, _legend(found.runs)):
        if line:
            console.print(line, soft_wrap=True)


def _settings(found: RunTable, row: RunRow) -> str:
    return ", ".join(f"{name} {_setting(row.settings.get(name))}" for name in found.differing)


def _accuracy_text(row: RunRow) -> str:
    from pocketlens.report.terminal import NOTHING

    if row.accuracy is None or row.interval is None:
        return NOTHING
    low, high = (100 * bound for bound in row.interval)
    mark = "" if row.measured_on == "test" else "*"
    return f"{100 * row.accuracy:.1f} ({low:.1f}–{high:.1f}){mark}"


def _legend(rows: Sequence[RunRow]) -> str:
    if all(row.measured_on == "test" for row in rows):
        return ""
    return "* On validation photos, which chose the epochs: there were no test photos."


def _setting(value: object) -> str:
    from pocketlens.names import shown

    if value is None:
        return "–"
    if isinstance(value, list):
        return "[" + ", ".join(shown(entry) for entry in value) + "]"
    return shown(value)
