"""What `train` and `evaluate` say at their end."""

from __future__ import annotations

from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from pocketlens.files import write_json
from pocketlens.intervals import wilson
from pocketlens.runtime.runs import REPORT_NAME
from pocketlens.train.evaluation import Evaluation
from pocketlens.train.scoring import ModelEvaluation
from pocketlens.train.training import Training


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
    console.print(f"Report: {training.folder / REPORT_NAME / 'index.html'}")
    console.print(f"Next: pocketlens convert {training.folder} --out {training.folder.parent}")


def summarise_evaluation(evaluation: ModelEvaluation, json_target: str | None = None) -> None:
    """Print a model's figures, or write them as JSON where that was asked for."""
    if json_target is not None:
        payload = {
            "model": str(evaluation.model),
            "labels": list(evaluation.labels),
            "skipped_photos": evaluation.skipped,
            **asdict(evaluation.result),
        }
        write_json(json_target, payload)
        return
    title = f"{evaluation.model.name} on {evaluation.result.count} photos"
    _print(Console(markup=False), evaluation.result, title)


def _print(console: Console, result: Evaluation, title: str) -> None:
    table = Table(title=title)
    table.add_column("class")
    for name in ("precision", "recall", "F1", "photos", "mostly taken for"):
        table.add_column(name, justify="right")
    for index, entry in enumerate(result.classes):
        figures = (f"{value:.3f}" for value in (entry.precision, entry.recall, entry.f1))
        table.add_row(entry.label, *figures, str(entry.support), _confused(result, index))
    console.print(table)
    low, high = wilson(round(result.accuracy * result.count), result.count)
    console.print(
        f"Accuracy {result.accuracy:.1%} (95 % interval {low:.1%} to {high:.1%}), "
        f"macro F1 {result.macro_f1:.3f}"
    )


def _confused(result: Evaluation, index: int) -> str:
    """Return the class that one is mistaken for most often, with the number of photos."""
    others = [
        (count, -other)
        for other, count in enumerate(result.confusion[index] if result.confusion else ())
        if other != index and count
    ]
    if not others:
        return ""
    count, other = max(others)
    return f"{result.classes[-other].label} ({count})"
