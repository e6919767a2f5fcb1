"""Reading what `pocketlens benchmark --json` wrote; its fields are in docs/benchmark-json.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pocketlens.errors import UsageError

SCHEMA_VERSION = 3


def read_record(path: str | Path) -> dict[str, Any]:
    """Return the JSON of an earlier benchmark.

    Raises:
        UsageError: it cannot be read, is something else, or has another version.
    """
    try:
        record = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no JSON"
        raise UsageError(
            f"Expected a file that pocketlens benchmark --json wrote. Received: {path} ({reason}). "
            "Name such a file."
        ) from None
    if not isinstance(record, dict) or not {"schema_version", "files", "machine"} <= set(record):
        raise UsageError(
            f"Expected a file that pocketlens benchmark --json wrote. Received: {path} "
            "(other JSON). Name such a file."
        )
    if record["schema_version"] != SCHEMA_VERSION:
        raise UsageError(
            f"Expected a benchmark of schema_version {SCHEMA_VERSION}. Received: {path} of version "
            f"{record['schema_version']!r}. Measure again with this pocketlens."
        )
    return record
