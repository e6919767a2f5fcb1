"""The history of a training for its curves, while it grows and when it is done."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

from pocketlens.runtime.runs import HISTORY_NAME
from pocketlens.train.unfinished import UnfinishedRun

_FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy")


def read_epochs(out: Path, not_before_s: float = 0.0) -> list[dict[str, Any]]:
    """Return the epochs of the training of a run, in their order.

    Args:
        out: the run's folder, there or not yet.
        not_before_s: a finished run's history is left out that was written before this time, in
            seconds since 1970: then it is that of an earlier training.

    Returns:
        for each `phase`, `epoch` (from 1 in each phase), `loss`, `accuracy`, `val_loss` and
        `val_accuracy`; None for what is no finite number. Accuracies are in 0-1.
    """
    # The folder moves when the run is complete: who looks there last misses nothing.
    for path in (UnfinishedRun.of(out).run / HISTORY_NAME, out / HISTORY_NAME):
        try:
            if path.stat().st_mtime < not_before_s:
                continue
            with path.open(encoding="utf-8", newline="") as stream:
                return [_epoch(row) for row in csv.DictReader(stream)]
        except (OSError, ValueError, csv.Error):
            continue
    return []


def can_resume(out: Path) -> bool:
    """Return whether a training was interrupted that `--resume` goes on with."""
    return UnfinishedRun.of(out).checkpoint.is_file()


def _epoch(row: dict[str, str]) -> dict[str, Any]:
    figures = {name: _finite(row.get(name)) for name in _FIGURES}
    return {"phase": row.get("phase") or "", "epoch": int(row.get("epoch") or 0), **figures}


def _finite(text: str | None) -> float | None:
    value = float(text or "nan")
    return value if math.isfinite(value) else None
