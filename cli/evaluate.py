"""`pocketlens evaluate`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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

if TYPE_CHECKING:
    from rich.console import Console

    from pocketlens.evaluation.metrics import Evaluation
    from pocketlens.evaluation.models import ModelEvaluation
    from pocketlens.evaluation.sets import SetCoverage
    from pocketlens.evaluation.unknown import Refusals
    from pocketlens.runtime.hints import ModelHints
    from pocketlens.train.training import Training


@command(
    "evaluate",
    example="pocketlens evaluate models/flowers_int8.tflite new_photos/ --report page",
    project={"model": "newest run", "photos": "test photos"},
)
@click.argument("model", metavar="MODEL", type=EXISTING)
@click.argument("photos", metavar="PHOTOS", type=EXISTING)
@options_of("Photos")(
    "--strangers",
    metavar="DIR",
    type=EXISTING,
    help="Folder of photos that show none of the classes, for a model that was trained with "
    "--unknown auto: print what share of them it accepts. Default: the counter-examples among "
    "PHOTOS; without any, synthetic images.",
)
@model_hints_options()
@output(
    "--report",
    metavar="DIR",
    type=LocalPath(),
    help="Write an HTML page, its images and JSON into a new folder.",
)
@output(
    "--feature-maps",
    "feature_photo",
    metavar="PHOTO",
    type=EXISTING,
    help="Show the feature maps of a photo on the page; not for .tflite files.",
)
@overwrite_option
@json_option
def evaluate_command(
    model: Path,
    photos: Path,
    strangers: Path | None,
    report: Path | None,
    feature_photo: Path | None,
    hints: ModelHints,
    overwrite: bool,
    json_target: str | None,
) -> None:
    """Measure MODEL on PHOTOS: accuracy, every class, calibration, worst mistakes.

    MODEL is a run, a .keras or a .tflite file. PHOTOS is a folder per class, a .csv or .jsonl table
    (see pocketlens train --help), or a run. Of a run, or of a table with splits, only the test
    photos are used.
    """
    from pocketlens.errors import UsageError
    from pocketlens.evaluation import evaluate_model
    from pocketlens.files import refuse_targets
    from pocketlens.imports import require_report

    refuse_targets(json_target, overwrite=overwrite)
    if report:
        require_report()
        from pocketlens.train import evaluate_with_report

        evaluation = evaluate_with_report(
            model,
            photos,
            hints,
            strangers=strangers,
            report=report,
            feature_photo=feature_photo,
            overwrite=overwrite,
        )
    elif feature_photo:
        raise UsageError(
            "Expected --report DIR with --feature-maps. Received: none. Say where the page goes."
        )
    else:
        evaluation = evaluate_model(model, photos, hints, strangers=strangers)
    summarise_evaluation(evaluation, json_target, report)


_ADVICE_SHOWN = 5


def summarise(training: Training, json_target: str | None = None) -> None:
    """Print the test photos' figures, and write them as JSON if that was asked for."""
    from pocketlens.report.evaluation import PAGE_NAME
    from pocketlens.report.html import counted
    from pocketlens.runtime.runs import REPORT_NAME

    def payload() -> dict[str, Any]:
        return {
            "run": str(training.folder),
            "labels": list(training.card.labels),
            "data_hash": training.card.data_hash,
            "test": training.test and asdict(training.test),
            "val": asdict(training.val),
            "unknown": training.unknown,
            **({"refusals": training.refusals.to_json()} if training.refusals else {}),
        }

    def show() -> None:
        console = _console()
        split, result = "test" if training.test else "validation", training.result
        photos = counted(result.count, f"{split} photo")
        _print(console, result, f"{training.card.name} on {photos}")
        if training.test:
            console.print(
                f"Validation: {training.val.accuracy:.1%} of {counted(training.val.count)}, by "
                "which epochs and temperature were chosen",
                soft_wrap=True,
            )
        else:
            console.print(
                "No test photos (--no-test): these chose epochs and temperature, so the figures "
                "are optimistic",
                soft_wrap=True,
            )
        if training.test and training.unknown:
            console.print(f"The test figures may be optimistic: {training.unknown}", soft_wrap=True)
        _print_refusals(console, training.refusals)
        _print_doubt(console, training.card.metrics.get("temperature"))
        console.print(f"Report: {training.folder / REPORT_NAME / PAGE_NAME}", soft_wrap=True)
        console.print(f"Next: pocketlens convert {training.folder} --out models", soft_wrap=True)

    deliver(json_target, payload, show)


def summarise_evaluation(
    evaluation: ModelEvaluation, json_target: str | None = None, report: Path | None = None
) -> None:
    """Print a model's figures, and write them as JSON if that was asked for."""
    from pocketlens.evaluation.models import to_payload
    from pocketlens.report.html import counted

    def show() -> None:
        console = _console()
        name = evaluation.model.name if evaluation.model else "The model"
        _print(console, evaluation.result, f"{name} on {counted(evaluation.result.count)}")
        _print_refusals(console, evaluation.refusals)
        for line in map(_sets_text, evaluation.sets):
            console.print(line, soft_wrap=True)
        _print_doubt(console, evaluation.temperature)
        if report is not None:
            from pocketlens.report.evaluation import PAGE_NAME

            console.print(f"Report: {report / PAGE_NAME}", soft_wrap=True)

    deliver(json_target, lambda: to_payload(evaluation), show)


def _console() -> Console:
    from pocketlens.report.terminal import new_console

    return new_console()


def _print_refusals(console: Console, refusals: Refusals | None) -> None:
    for sentence in refusals.sentences if refusals else ():
        console.print(sentence, soft_wrap=True)


def _sets_text(entry: SetCoverage) -> str:
    low, high = entry.interval
    return (
        f"--sets {entry.level:g}: the set has the right label for {entry.coverage:.1%} of photos "
        f"(95 % interval {low:.1%} to {high:.1%}); worst class: {entry.worst_class}, "
        f"{entry.worst_coverage:.1%}; {entry.mean_size:.2f} labels per set on average"
    )


def _print_doubt(console: Console, temperature: float | None) -> None:
    from pocketlens.evaluation.calibration import temperature_doubt

    doubt = temperature_doubt(temperature)
    if doubt:
        console.print(doubt, soft_wrap=True)


def _print(console: Console, result: Evaluation, title: str) -> None:
    from pocketlens.evaluation.mistakes import diagnose, taken_for
    from pocketlens.report.terminal import new_table

    headers = ["class, worst first", "F1", "precision", "recall", "AUC", "photos"]
    headers += ["mostly predicted as"] if result.confusion else []
    table = new_table(*headers, title=title)
    advice = []
    for index in result.worst_first:
        entry = result.classes[index]
        values = (entry.f1, entry.precision, entry.recall)
        # Of a class without photos nothing is known, and nothing was wrong.
        figures = (f"{value:.3f}" if entry.support else "–" for value in values)
        auc = "–" if entry.auc is None else f"{entry.auc:.3f}"
        cells = [entry.label, *figures, auc, str(entry.support)]
        if result.confusion:
            found = taken_for(result, index)
            cells.append(f"{found[0]} ({found[1]})" if found else "")
        table.add_row(*cells)
        words = diagnose(result, index)
        if entry.support and words:
            advice.append(f"{entry.label}: {words}")
    console.print(table)
    low, high = result.interval
    (name, accuracy), *others = result.headline
    console.print(
        f"{name[0].upper()}{name[1:]} {accuracy} (95 % interval {low:.1%} to {high:.1%}), "
        + ", ".join(f"{other} {value}" for other, value in others)
    )
    for line in advice[:_ADVICE_SHOWN]:
        console.print(f"  {line}")
