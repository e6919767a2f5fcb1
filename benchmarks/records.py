"""Reading what `pocketlens benchmark --json` wrote; its fields are in docs/benchmark-json.md."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketlens.benchmarks.results import Yardstick
from pocketlens.errors import UsageError

SCHEMA_VERSION = 5


@dataclass(frozen=True)
class Record:
    """What a later benchmark is compared with.

    `names` are those of all files; `yardsticks` maps a file's name and number of threads to its
    time, where there were processes enough for an interval.
    """

    cpu: str
    cores: int
    interpreter: str
    names: frozenset[str]
    yardsticks: Mapping[tuple[str, int], Yardstick]


def read_record(path: str | Path) -> Record:
    """Read the JSON of an earlier benchmark.

    Raises:
        UsageError: it cannot be read, is something else, is damaged, or has another version.
    """
    try:
        payload = json.loads(Path(path).read_text("utf-8"))
    # Brackets that never end reach the limit of the interpreter, not of the parser.
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no JSON"
        raise UsageError(
            f"Expected a file that pocketlens benchmark --json wrote. Received: {path} ({reason}). "
            "Name such a file."
        ) from None
    return parse_record(payload, str(path))


def parse_record(payload: Any, name: str = "a record") -> Record:
    """Check the JSON values of an earlier benchmark and take what is compared.

    Args:
        payload: what `to_payload` returned.
        name: what to call it in errors.

    Raises:
        UsageError: see `read_record`.
    """
    if not isinstance(payload, dict) or not {"schema_version", "files", "machine"} <= set(payload):
        raise UsageError(
            f"Expected a file that pocketlens benchmark --json wrote. Received: {name} "
            "(other JSON). Name such a file."
        )
    if payload["schema_version"] != SCHEMA_VERSION:
        raise UsageError(
            f"Expected a benchmark of schema_version {SCHEMA_VERSION}. Received: {name} of version "
            f"{payload['schema_version']!r}. Measure again with this pocketlens."
        )
    try:
        return _record(_Value(payload, ""))
    except _DamagedError as error:
        raise UsageError(
            f"Expected a whole benchmark in {name}. Received: nothing usable at {error}. "
            "Measure again."
        ) from None


class _DamagedError(Exception):
    """Says where a value is missing or cannot be."""


@dataclass(frozen=True)
class _Value:
    """A JSON value and where it stands."""

    content: Any
    place: str

    def __getitem__(self, key: str) -> _Value:
        place = f"{self.place}.{key}" if self.place else key
        if not isinstance(self.content, dict) or key not in self.content:
            raise _DamagedError(place)
        return _Value(self.content[key], place)

    @property
    def entries(self) -> list[_Value]:
        if not isinstance(self.content, (list, tuple)):
            raise _DamagedError(self.place)
        return [_Value(entry, f"{self.place}[{i}]") for i, entry in enumerate(self.content)]

    @property
    def text(self) -> str:
        if not isinstance(self.content, str):
            raise _DamagedError(self.place)
        return self.content

    @property
    def count(self) -> int:
        if type(self.content) is not int or self.content < 1:
            raise _DamagedError(self.place)
        return self.content

    @property
    def factor(self) -> float:
        """A number by which something can be multiplied and divided."""
        if type(self.content) not in (int, float) or not 0 < self.content < math.inf:
            raise _DamagedError(self.place)
        return float(self.content)


def _record(value: _Value) -> Record:
    machine, files = value["machine"], value["files"].entries
    yardsticks = {
        (file["name"].text, entry["threads"].count): yardstick
        for file in files
        for entry in file["latencies"].entries
        if (yardstick := _yardstick(entry["yardstick"])) is not None
    }
    return Record(
        machine["cpu"].text,
        machine["cores"].count,
        machine["interpreter"].text,
        frozenset(file["name"].text for file in files),
        yardsticks,
    )


def _yardstick(value: _Value) -> Yardstick | None:
    if value.content is None or value["interval"].content is None:
        return None
    bounds = [entry.factor for entry in value["interval"].entries]
    if len(bounds) != 2 or bounds[0] > bounds[1]:
        raise _DamagedError(value["interval"].place)
    return Yardstick(value["ratio"].factor, (bounds[0], bounds[1]), value["shortest_ratio"].factor)
