"""Reading the JSON that commands write back into the records that it was made of."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pocketlens.errors import UsageError

T = TypeVar("T")


class DamagedError(ValueError):
    """Says where in JSON a value is missing or cannot be."""


def read_json(path: str | Path, writers: str) -> dict[str, Any]:
    """Return the object in a JSON file; `writers` are the commands that write such files.

    Raises:
        UsageError: the file cannot be read or holds something else.
    """
    try:
        payload = json.loads(Path(path).read_text("utf-8"))
    # Brackets that never end reach the limit of the interpreter, not of the parser.
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not JSON"
        raise not_written(writers, path, str(reason)) from None
    if not isinstance(payload, dict):
        raise not_written(writers, path, "other JSON")
    return payload


def not_written(writers: str, path: str | Path, reason: str) -> UsageError:
    """Return the error for a file that none of the `writers` wrote."""
    return UsageError(
        f"Expected a file that {writers} wrote with --json. Received: {path} ({reason}). "
        "Name such a file."
    )


def from_json(kind: type[T], value: Any, place: str = "") -> T:
    """Return what `dataclasses.asdict` made JSON of.

    Args:
        kind: a dataclass or named tuple of finite numbers, strings, paths, tuples, None and such
            records. Fields that it does not have are passed over.
        value: the JSON values.
        place: where they stand, for the error.

    Raises:
        DamagedError: the values are others.
    """
    made: Any
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        made = kind(**_fields(kind, value, place))
    elif origin in (types.UnionType, typing.Union):
        chosen = next(entry for entry in inner if entry is not types.NoneType)
        made = None if value is None else from_json(chosen, value, place)
    elif origin is tuple:
        made = _tuple(inner, value, place)
    elif kind is Path and isinstance(value, str):
        made = Path(value)
    elif kind is float and type(value) in (int, float) and math.isfinite(value):
        made = float(value)
    elif type(value) is kind and kind is not float:
        made = value
    else:
        raise DamagedError(place)
    return typing.cast(T, made)


def _fields(kind: Any, value: Any, place: str) -> dict[str, Any]:
    names = getattr(kind, "_fields", None) or [field.name for field in dataclasses.fields(kind)]
    hints = _type_hints(kind)
    made = {}
    for name in names:
        inside = f"{place}.{name}" if place else name
        if not isinstance(value, dict) or name not in value:
            raise DamagedError(inside)
        made[name] = from_json(hints[name], value[name], inside)
    return made


@cache
def _type_hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _tuple(inner: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise DamagedError(place)
    kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
    if len(kinds) != len(value):
        raise DamagedError(place)
    return tuple(
        from_json(entry, part, f"{place}[{index}]")
        for index, (entry, part) in enumerate(zip(kinds, value, strict=True))
    )
