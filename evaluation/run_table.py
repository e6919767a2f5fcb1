"""All runs of a folder side by side: what differed between them, and how good they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pocketlens.errors import PocketlensError, UsageError
from pocketlens.evaluation.intervals import Interval, wilson
from pocketlens.names import shown
from pocketlens.runtime.runs import SPLITS, is_run, read_run, read_split

SCHEMA_VERSION = 1

# What a card keeps beside the settings, and what follows from others.
_OUTCOME = "kept_"
_TASK = "task"
_DATA_HASH_DIGITS = 8


@dataclass(frozen=True)
class RunRow:
    """One run.

    `trained_at` is when its model was written, ISO 8601 in UTC. `photos` counts those of each
    split. `accuracy` in 0-1 is that on the `measured` photos of the split `measured_on`: "test" or,
    of a run without test photos, "val", on which epochs were chosen; None where the card does not
    say. `settings` are those of the training, `task` and `labels` among them.
    """

    name: str
    path: str
    trained_at: str
    data_hash: str
    photos: Mapping[str, int]
    accuracy: float | None
    measured_on: str
    measured: int
    settings: Mapping[str, Any]

    @property
    def interval(self) -> Interval | None:
        """The 95 % Wilson score interval of `accuracy`."""
        if self.accuracy is None:
            return None
        return wilson(round(self.accuracy * self.measured), self.measured)

    @property
    def short_hash(self) -> str:
        """The first digits of the hash of the photos, which tell versions of them apart."""
        return self.data_hash[:_DATA_HASH_DIGITS]


@dataclass(frozen=True)
class RunTable:
    """The runs of a folder, the newest first, and a sentence for each that cannot be read.

    `differing` are the names of the settings that are not the same in all of them.
    """

    folder: str
    runs: tuple[RunRow, ...]
    differing: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def list_runs(folder: str | Path) -> RunTable:
    """Read all runs directly in a folder.

    Raises:
        UsageError: there is no such folder, or it holds no runs.
    """
    folder = Path(folder)
    try:
        paths = sorted(path for path in folder.iterdir() if is_run(path))
    except OSError as error:
        raise UsageError(
            f"Expected a folder with runs at {shown(folder)}. Received: {error.strerror}. "
            "Check the path."
        ) from None
    read = [_read(path) for path in paths]
    found = [entry for entry in read if not isinstance(entry, str)]
    warnings = [entry for entry in read if isinstance(entry, str)]
    if not found:
        came = " ".join(warnings) or "none in it"
        raise UsageError(
            f"Expected a folder with runs at {shown(folder)}. Received: {came}. "
            "Make one with: pocketlens train PHOTOS --out RUN"
        )
    rows = tuple(row for _, row in sorted(found, key=lambda entry: (-entry[0], entry[1].name)))
    return RunTable(str(folder), rows, differing(rows), tuple(warnings))


def differing(rows: Sequence[RunRow]) -> tuple[str, ...]:
    """Return the names of the settings that are not the same in all runs."""
    names = dict.fromkeys(name for row in rows for name in row.settings)
    return tuple(
        name
        for name in names
        if any(row.settings.get(name) != rows[0].settings.get(name) for row in rows)
    )


def to_payload(table: RunTable) -> dict[str, Any]:
    """Return the table as plain JSON values: docs/reference/compare-json.md."""
    return {
        "schema_version": SCHEMA_VERSION,
        "folder": table.folder,
        "differing": list(table.differing),
        "warnings": list(table.warnings),
        "runs": [
            {
                "name": row.name,
                "path": row.path,
                "trained_at": row.trained_at,
                "data_hash": row.data_hash,
                "photos": dict(row.photos),
                "accuracy": row.accuracy,
                "accuracy_interval": row.interval,
                "measured_on": row.measured_on,
                "measured": row.measured,
                "settings": dict(row.settings),
            }
            for row in table.runs
        ],
    }


def _read(path: Path) -> tuple[float, RunRow] | str:
    """Return a run and when its model was written, in seconds since 1970, or why there is none."""
    try:
        run = read_run(path)
        card, parts = run.card, read_split(path).parts
        written_s = run.model.stat().st_mtime
    except (PocketlensError, OSError) as error:
        return f"{shown(path.name)} is left out. {error}"
    accuracy, measured_on, measured = _accuracy(card.metrics)
    settings = {
        name: value for name, value in card.training.items() if not name.startswith(_OUTCOME)
    }
    return written_s, RunRow(
        path.name,
        str(path),
        datetime.fromtimestamp(written_s, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        card.data_hash,
        {split: len(parts.get(split, ())) for split in SPLITS},
        accuracy,
        measured_on,
        measured,
        {_TASK: card.task, "labels": list(card.labels), **settings},
    )


def _accuracy(metrics: Mapping[str, Any]) -> tuple[float | None, str, int]:
    for split in ("test", "val"):
        share, count = metrics.get(f"{split}_accuracy"), metrics.get(f"{split}_count")
        if isinstance(share, (int, float)) and isinstance(count, int) and 0 <= share <= 1 <= count:
            return float(share), split, count
    return None, "", 0
