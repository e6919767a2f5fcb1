"""Names of files and labels from outside: as labels, and as something that can be shown."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Control characters, separators of lines, marks that turn the direction of writing, and halves of
# characters, which stand for bytes of a file's name that are no UTF-8.
_UNSAFE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_FIRST_BYTE, _LAST_BYTE = 0xDC80, 0xDCFF

OR = " or "
"""Between the labels of a label set, where people read it."""


def shown(name: object) -> str:
    r"""Return a name for a terminal, a log or a page: `\n` for a line break, `\xe9` for a byte."""
    return _UNSAFE.sub(_escape, str(name))


def to_label(text: str) -> str:
    """Return a name as a label.

    That is without spaces around it, in Unicode's composed form (NFC), since the same name may
    come in two, and with what cannot be shown escaped.
    """
    # A byte order mark may stand before the first line of a file.
    text = text.strip().strip("\ufeff").strip()
    if not text.isascii():
        import unicodedata

        text = unicodedata.normalize("NFC", text)
    return shown(text)


def to_labels(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of a model's classes as labels, each another: crane, crane (2)."""
    given = [to_label(name) for name in names]
    taken, numbers = set(given), dict.fromkeys(given, 0)
    labels, renamed = [], []
    for label in given:
        numbers[label] += 1
        name = label
        if numbers[label] > 1:
            while (name := f"{label} ({numbers[label]})") in taken:
                numbers[label] += 1
            taken.add(name)
            renamed.append(name)
        labels.append(name)
    if renamed:
        say_once(f"Labels that appear more than once are numbered: {', '.join(renamed)}.")
    return tuple(labels)


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that tell them apart: names where they differ.

    Raises:
        UsageError: a path was given twice.
    """
    # What only shows labels has no need of these.
    import os
    from collections import Counter
    from pathlib import Path

    from pocketlens.errors import UsageError

    parts = [Path(os.path.abspath(path)).parts for path in paths]
    twice = [path for path, count in Counter(parts).items() if count > 1]
    if twice:
        raise UsageError(
            f"Expected each file once. Received: {Path(*twice[0])} more than once. Name it once."
        )
    lengths = [1] * len(parts)
    while True:
        names = ["/".join(entry[-length:]) for entry, length in zip(parts, lengths, strict=True)]
        taken = {name for name, count in Counter(names).items() if count > 1}
        if not taken:
            return names
        lengths = [length + (name in taken) for name, length in zip(names, lengths, strict=True)]


@functools.cache
def say_once(text: str) -> None:
    """Log a warning, the same one only once a process."""
    import logging

    logging.getLogger("pocketlens").warning("%s", text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if _FIRST_BYTE <= code <= _LAST_BYTE:
        return f"\\x{code - 0xDC00:02x}"
    return match[0].encode("unicode_escape").decode("ascii")
