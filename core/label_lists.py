"""Labels written as a list or a dict, in JSON or in Python, as other tools leave them."""

from __future__ import annotations

import ast
import json
from typing import Any

# Python's own parser takes a hundred times the text's memory.
_MOST_PYTHON_CHARACTERS = 1 << 20
# Where other tools put the labels among other things: Teachable Machine, Hugging Face and others.
_KEYS = ("id2label", "labels", "classes", "class_names", "names", "class_indices")
_NAME_KEYS = ("display_name", "label", "name", "class", "title")


def read_label_list(text: str) -> tuple[str, ...] | None:
    """Return the labels of a list or dict in JSON or Python, None where it is none.

    Understood are a list of names; a dict from number to name or from name to number; each of these
    inside a dict, as "labels" or the like. Names may be the last of several, as in Keras's
    `imagenet_class_index.json` ("0": ["n01440764", "tench"]), or have a key of their own.
    """
    try:
        return _labels(_parse(text))
    # What is parsed comes with a third-party model.
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        if len(text) > _MOST_PYTHON_CHARACTERS:
            raise
        return ast.literal_eval(text.strip())


def _labels(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, dict):
        inner = next((value[key] for key in _KEYS if isinstance(value.get(key), list | dict)), None)
        return _of_dict(value) if inner is None else _labels(inner)
    return _names(value) if isinstance(value, list | tuple) else None


def _of_dict(value: dict[Any, Any]) -> tuple[str, ...] | None:
    """Return the names in the order of the numbers, which have to be those of a list."""
    by_number = {int(key): name for key, name in value.items() if str(key).strip().isdecimal()}
    if len(by_number) != len(value):
        by_number = {number: key for key, number in value.items() if isinstance(number, int)}
    numbers = sorted(by_number)
    if len(numbers) != len(value) or not numbers or numbers[0] not in (0, 1):
        return None
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return None
    return _names([by_number[number] for number in numbers])


def _names(values: Any) -> tuple[str, ...] | None:
    names = [_name(value) for value in values]
    return tuple(name for name in names if name) if names and all(names) else None


def _name(value: Any) -> str | None:
    if isinstance(value, dict):
        value = next((value[key] for key in _NAME_KEYS if key in value), None)
    elif isinstance(value, list | tuple) and value:
        value = value[-1]
    return value.strip() if isinstance(value, str) else None
