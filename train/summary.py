"""What `train` and `evaluate` say at their end."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pocketlens.card import MULTILABEL
from pocketlens.evaluation.intervals import wilson
from pocketlens.evaluation.metrics import Evaluation
from pocketlens.files import write_json
from pocketlens.runtime.runs import REPORT_NAME
from pocketlens.train.diagnosis import diagnose, taken_for
from pocketlens.train.report import INDEX_NAME, to_payload
from pocketlens.train.scoring import ModelEvaluation
from pocketlens.train.training import Training

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
