"""Which photo of a folder a file of labels means, by what it calls it.

Nothing that such a file says is ever opened as a path: names are compared with those of the photos
that are there.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from pocketlens.labels.items import Item
from pocketlens.runtime.photos import SUFFIXES, find_pictures, name_below

_ADDRESS = re.compile("[A-Za-z][A-Za-z0-9+.-]+://")
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]")
# Label Studio stores uploads under such a number, and without characters that it does not like.
_UPLOAD = re.compile("/data/upload/|upload/")
_NUMBERED = re.compile("[0-9a-f]{8}-")
_NOT_KEPT = re.compile(r"(?u)[^-\w.]")


class Match(NamedTuple):
    """The photos that fit a name equally well, and whether they share only its last part."""

    photos: tuple[Path, ...]
    by_last_part: bool


class PhotoIndex:
    """The photos below some folders, found by the ends of their paths."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._by_name: dict[str, list[tuple[tuple[str, ...], Path]]] = {}
        self._by_stem: dict[str, list[tuple[tuple[str, ...], Path]]] = {}
        self._by_upload: dict[str, list[tuple[tuple[str, ...], Path]]] = {}
        seen = set()
        for folder in folders:
            # The folder's own name counts too: photos/daisy/1.jpg, if it is called photos.
            root = folder.absolute()
            for path in find_pictures(folder):
                if os.path.abspath(path) in seen:
                    continue
                seen.add(os.path.abspath(path))
                parts = tuple(name_below(path.absolute(), root.parent).split("/"))
                plain = tuple(map(_composed, parts))
                entry = (plain, path)
                self._by_name.setdefault(plain[-1], []).append(entry)
                stem = os.path.splitext(plain[-1])[0]
                self._by_stem.setdefault(stem, []).append(((*plain[:-1], stem), path))
                self._by_upload.setdefault(_as_uploaded(parts[-1]), []).append(entry)

    def find(self, item: Item) -> Match:
        """Return the photo that an item means: the one whose path ends most like its name.

        Where photos differ only in the form of their characters, the form in the file counts. There
        are several where they fit equally well, none where no photo has the name.
        """
        for parts, numbered in _readings(item.name):
            if numbered:
                name = _NUMBERED.sub("", parts[-1], count=1)
                candidates = self._by_name.get(_composed(name)) or self._by_upload.get(name, [])
                found = [path for _, path in candidates]
                if found:
                    return Match(tuple(sorted(found)), by_last_part=True)
                continue
            plain = tuple(map(_composed, parts))
            tables = [self._by_name]
            if item.bare and os.path.splitext(plain[-1])[1].lower() not in SUFFIXES:
                tables = [self._by_stem]
            elif item.bare:
                tables = [self._by_stem, self._by_name]
            for table in tables:
                candidates = table.get(plain[-1], [])
                if candidates:
                    return _best(plain, parts, candidates)
        return Match((), by_last_part=False)


def _best(
    plain: Sequence[str], exact: Sequence[str], candidates: list[tuple[tuple[str, ...], Path]]
) -> Match:
    lengths = [_common_end(plain, parts) for parts, _ in candidates]
    best = [
        path
        for length, (_, path) in zip(lengths, candidates, strict=True)
        if length == max(lengths)
    ]
    same = [path for path in best if path.name == exact[-1]]
    found = same if len(same) == 1 else best
    return Match(tuple(sorted(found)), by_last_part=max(lengths) == 1 < len(plain))


def _common_end(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for left, right in zip(reversed(one), reversed(other), strict=False):
        if left != right:
            break
        count += 1
    return count


def _readings(name: str) -> list[tuple[tuple[str, ...], bool]]:
    """Return the ways to read a name: its parts, and whether Label Studio stored it so."""
    if not _ADDRESS.match(name) and not name.startswith("/data/"):
        plain = name.replace("\\", "/") if _WINDOWS.match(name) else name
        ways = [_parts(plain)]
        if "\\" in plain:
            ways.append(_parts(plain.replace("\\", "/")))
        readings = [(way, False) for way in ways if way]
        if _UPLOAD.match(name) and readings:
            readings.append((readings[0][0], True))
        return readings
    try:
        address = urlsplit(name)
    except ValueError:
        return []
    query = re.search(r"(?:^|&)d=([^&]*)", address.query)
    path = query[1] if query else address.path
    # As bytes, which a name need not have in UTF-8.
    parts = _parts(unquote(path, errors="surrogateescape"))
    if not parts:
        return []
    uploaded = _UPLOAD.search(address.path) is not None
    return [(parts, uploaded)] + ([(parts, False)] if uploaded else [])


def _parts(path: str) -> tuple[str, ...]:
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    return () if not parts or parts[-1] == ".." else parts


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _as_uploaded(name: str) -> str:
    """Return a file's name as Label Studio stores it (Django's get_valid_filename)."""
    return _NOT_KEPT.sub("", name.strip().replace(" ", "_"))


def last_part(name: str) -> str:
    """Return the last part of what a file calls a photo, as it is looked for; "" without any."""
    readings = _readings(name)
    if not readings:
        return ""
    parts, numbered = readings[0]
    return _composed(_NUMBERED.sub("", parts[-1], count=1) if numbered else parts[-1])
