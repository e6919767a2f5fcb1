"""`pocketlens evaluate`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from pocketlens.card import MULTILABEL
from pocketlens.cli.options import json_option, model_hints_options, overwrite_option
from pocketlens.evaluation.intervals import wilson
from pocketlens.evaluation.metrics import Evaluation
from pocketlens.evaluation.mistakes import diagnose, taken_for
from pocketlens.files import write_json
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.runs import REPORT_NAME
from pocketlens.train.report import INDEX_NAME, to_payload
from pocketlens.train.scoring import ModelEvaluation
from pocketlens.train.training import Training


@click.command(
    "evaluate",
    short_help="Measure a run, a .keras or a .tflite file on labelled photos.",
    epilog="Example: pocketlens evaluate models/flowers_int8.tflite new_photos/ --report page",
)
@click.argument("model")
@click.argument("photos")
@click.option(
    "--report",
    metavar="DIR",
    help="Write a page with everything, its pictures and JSON into a new folder.",
)
@click.option(
    "--feature-maps",
    "feature_photo",
    metavar="PHOTO",
    help="Show on the page what layers make of a photo; not for .tflite files.",
)
@model_hints_options()
@overwrite_option
@json_option
def evaluate_command(
    model: str,
    photos: str,
    report: str | None,
    feature_photo: str | None,
    hints: ModelHints,
    overwrite: bool,
    json_target: str | None,
) -> None:
    """Measure MODEL on PHOTOS: accuracy, every class by itself, calibration, worst mistakes.

    MODEL is a run, a .keras or a .tflite file. PHOTOS is a folder per class; a .csv or .jsonl
    table (see pocketlens train --help; of one with parts, the test part); or a run: then its
    held-back test photos are taken.
    """
    from pathlib import Path

    from pocketlens.files import refuse_targets
    from pocketlens.imports import require_train

    require_train()
    refuse_targets(json_target, overwrite=overwrite)
    from pocketlens.train import evaluate_model, summarise_evaluation

    evaluation = evaluate_model(
        Path(model),
        photos,
        hints,
        report=Path(report) if report else None,
        feature_photo=Path(feature_photo) if feature_photo else None,
        overwrite=overwrite,
    )
    summarise_evaluation(evaluation, json_target, Path(report) if report else None)


_ADVICE_SHOWN = 5


def summarise(training: Training, json_target: str | None = None) -> None:
    """Print the test part's figures, or write them as JSON where that was asked for."""
    if json_target is not None:
        payload = {
            "run": str(training.folder),
            "labels": list(training.card.labels),
            "data_hash": training.card.data_hash,
            "test": asdict(training.test),
        }
        write_json(json_target, payload)
        return
    console = Console(markup=False)
    _print(console, training.test, f"{training.card.name} on {training.test.count} test photos")
    console.print(f"Report: {training.folder / REPORT_NAME / INDEX_NAME}")
    console.print(f"Next: pocketlens convert {training.folder} --out models")


def summarise_evaluation(
    evaluation: ModelEvaluation, json_target: str | None = None, report: Path | None = None
) -> None:
    """Print a model's figures, or write them as JSON where that was asked for."""
    if json_target is not None:
        payload = {
            "model": str(evaluation.model),
            "skipped_photos": evaluation.skipped,
            **to_payload(evaluation.shown),
        }
        write_json(json_target, payload)
        return
    console = Console(markup=False)
    title = f"{evaluation.model.name} on {evaluation.result.count} photos"
    _print(console, evaluation.result, title)
    if report is not None:
        console.print(f"Report: {report / INDEX_NAME}")


def _print(console: Console, result: Evaluation, title: str) -> None:
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
    found = taken_for(result, index)
    return f"{found[0]} ({found[1]})" if found else ""
