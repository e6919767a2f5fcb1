"""`pocketlens evaluate`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from pocketlens.choices import MULTILABEL
from pocketlens.cli.options import (
    EXISTING,
    LocalPath,
    command,
    deliver,
    json_option,
    labels_option,
    mean_option,
    output,
    overwrite_option,
    resize_option,
    std_option,
)

if TYPE_CHECKING:
    from pocketlens.evaluation.metrics import Evaluation
    from pocketlens.train.scoring import ModelEvaluation
    from pocketlens.train.training import Training


@command(
    "evaluate",
    example="pocketlens evaluate models/flowers_int8.tflite new_photos/ --report page",
)
@click.argument("model", metavar="MODEL", type=EXISTING)
@click.argument("photos", metavar="PHOTOS", type=EXISTING)
@labels_option
@mean_option
@std_option
@resize_option
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
    report: Path | None,
    feature_photo: Path | None,
    resize_mode: str | None,
    labels_file: Path | None,
    mean: float | None,
    std: float | None,
    overwrite: bool,
    json_target: str | None,
) -> None:
    """Measure MODEL on PHOTOS: accuracy, every class, calibration, worst mistakes.

    MODEL is a run, a .keras or a .tflite file. PHOTOS is a folder per class, a .csv or .jsonl table
    (see pocketlens train --help), or a run. Of a run, and of a table with splits, the test photos
    are used.
    """
    from pocketlens.extras import require_train
    from pocketlens.files import refuse_targets

    require_train()
    refuse_targets(json_target, overwrite=overwrite)
    from pocketlens.train import Elsewhere, evaluate_model, summarise_evaluation

    evaluation = evaluate_model(
        model,
        photos,
        Elsewhere(labels_file, resize_mode, mean, std),
        report=report,
        feature_photo=feature_photo,
        overwrite=overwrite,
    )
    summarise_evaluation(evaluation, json_target, report)


_ADVICE_SHOWN = 5


def summarise(training: Training, json_target: str | None = None) -> None:
    """Print the test photos' figures, and write them as JSON if that was asked for."""
    from pocketlens.runtime.runs import REPORT_NAME
    from pocketlens.train.report import INDEX_NAME

    def payload() -> dict[str, Any]:
        return {
            "run": str(training.folder),
            "labels": list(training.card.labels),
            "data_hash": training.card.data_hash,
            "test": asdict(training.test),
        }

    def show() -> None:
        console = Console(markup=False)
        _print(console, training.test, f"{training.card.name} on {training.test.count} test photos")
        console.print(f"Report: {training.folder / REPORT_NAME / INDEX_NAME}")
        console.print(f"Next: pocketlens convert {training.folder} --out models")

    deliver(json_target, payload, show)


def summarise_evaluation(
    evaluation: ModelEvaluation, json_target: str | None = None, report: Path | None = None
) -> None:
    """Print a model's figures, and write them as JSON if that was asked for."""
    from pocketlens.train.report import INDEX_NAME, to_payload

    def payload() -> dict[str, Any]:
        return {
            "model": str(evaluation.model),
            "skipped_photos": evaluation.skipped,
            **to_payload(evaluation.shown),
        }

    def show() -> None:
        console = Console(markup=False)
        title = f"{evaluation.model.name} on {evaluation.result.count} photos"
        _print(console, evaluation.result, title)
        if report is not None:
            console.print(f"Report: {report / INDEX_NAME}")

    deliver(json_target, payload, show)


def _print(console: Console, result: Evaluation, title: str) -> None:
    from pocketlens.evaluation.intervals import wilson
    from pocketlens.evaluation.mistakes import diagnose

    table = Table(title=title)
    table.add_column("class, worst first")
    for name in ("F1", "precision", "recall", "AUC", "photos"):
        table.add_column(name, justify="right")
    if result.confusion:
        table.add_column("mostly taken for", justify="right")
    for index in result.worst_first:
        entry = result.classes[index]
        figures = (f"{value:.3f}" for value in (entry.f1, entry.precision, entry.recall))
        auc = "–" if entry.auc is None else f"{entry.auc:.3f}"
        confused = [_confused(result, index)] if result.confusion else []
        table.add_row(entry.label, *figures, auc, str(entry.support), *confused)
    console.print(table)
    low, high = wilson(round(result.accuracy * result.count), result.count)
    name = "Exact match" if result.task == MULTILABEL else "Accuracy"
    console.print(
        f"{name} {result.accuracy:.1%} (95 % interval {low:.1%} to {high:.1%}), "
        f"{'' if result.top5 is None else f'top-5 {result.top5:.1%}, '}"
        f"macro F1 {result.macro_f1:.3f}, calibration error {result.ece:.1%}"
    )
    advice = [
        f"{result.classes[index].label}: {words}"
        for index in result.worst_first
        if result.classes[index].support and (words := diagnose(result, index))
    ]
    for line in advice[:_ADVICE_SHOWN]:
        console.print(f"  {line}")


def _confused(result: Evaluation, index: int) -> str:
    from pocketlens.evaluation.mistakes import taken_for

    found = taken_for(result, index)
    return f"{found[0]} ({found[1]})" if found else ""
