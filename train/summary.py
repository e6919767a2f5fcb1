"""What `train` says at its end."""

from __future__ import annotations

from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from pocketlens.files import write_json
from pocketlens.intervals import wilson
from pocketlens.runtime.runs import REPORT_NAME
from pocketlens.train.training import Training


def summarise(training: Training, json_target: str | None = None) -> None:
    """Print the test part's figures, or write them as JSON where that was asked for."""
    test = training.test
    if json_target is not None:
        payload = {
            "run": str(training.folder),
            "labels": list(training.card.labels),
            "data_hash": training.card.data_hash,
            "test": asdict(test),
        }
        write_json(json_target, payload)
        return
    table = Table(title=f"{training.card.name} on {test.count} test photos")
    table.add_column("class")
    for name in ("precision", "recall", "F1", "photos"):
        table.add_column(name, justify="right")
    for entry in test.classes:
        figures = (f"{value:.3f}" for value in (entry.precision, entry.recall, entry.f1))
        table.add_row(entry.label, *figures, str(entry.support))
    console = Console(markup=False)
    console.print(table)
    low, high = wilson(round(test.accuracy * test.count), test.count)
    console.print(f"Accuracy {test.accuracy:.1%} (95 % interval {low:.1%} to {high:.1%})")
    console.print(f"Report: {training.folder / REPORT_NAME / 'index.html'}")
    console.print(f"Next: pocketlens convert {training.folder} --out {training.folder.parent}")
