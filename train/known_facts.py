"""What there is to know about many photos, read on all cores and kept for the next time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from pocketlens.errors import OutputError
from pocketlens.files import cache_folder, write_text
from pocketlens.progress import track
from pocketlens.runtime.photos import name_below
from pocketlens.train.duplicates import FINGERPRINT_VERSION
from pocketlens.train.photo_facts import FACTS_VERSION, PhotoFacts
from pocketlens.train.photo_readers import photo_readers
from pocketlens.train.pixel_cache import PIXELS_VERSION
from pocketlens.workers import count_cores, map_ahead

# A file changed this shortly before it was read may change again within one tick of its clock.
_SETTLED_NS = 2_000_000_000
# Photos that are handed over at once: few enough for a progress bar that moves.
_CHUNK = 16


def read_facts(root: Path, paths: Sequence[Path]) -> dict[Path, PhotoFacts]:
    """Read photos below `root` on all cores, with a progress bar.

    Facts are kept in the cache folder; a file is read again when its size or its time of change
    is another.
    """
    known = _load(root)
    stamps = {path: _stamp(path) for path in paths}
    names = {path: name_below(path, root) for path in paths}
    facts: dict[Path, PhotoFacts] = {}
    for path in paths:
        entry = known.get(names[path])
        if entry is not None and entry[0] == stamps[path]:
            facts[path] = entry[1]
    missing = [path for path in paths if path not in facts]
    if not missing:
        return facts
    started_ns = time.time_ns()
    cores = count_cores()
    named = [(path, names[path]) for path in missing]
    chunks = [named[start : start + _CHUNK] for start in range(0, len(named), _CHUNK)]
    with photo_readers(cores, len(missing)) as read:
        results = chain.from_iterable(map_ahead(read, chunks, cores, 2 * cores))
        facts.update(zip(missing, track(results, "Checking photos", len(missing)), strict=True))
    _store(root, {name: (stamps[path], facts[path]) for path, name in names.items()}, started_ns)
    return facts


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (-1, -1)
    return (status.st_size, status.st_mtime_ns)


def _cache_path(root: Path) -> Path:
    versions = (FACTS_VERSION, FINGERPRINT_VERSION, PIXELS_VERSION, str(root.absolute()))
    return cache_folder() / f"facts-{hashlib.sha256(repr(versions).encode()).hexdigest()[:32]}.json"


def _load(root: Path) -> dict[str, tuple[tuple[int, int], PhotoFacts]]:
    try:
        kept: dict[str, dict[str, Any]] = json.loads(_cache_path(root).read_text("utf-8"))
        return {
            name: (
                (entry["stamp"][0], entry["stamp"][1]),
                PhotoFacts(**{**entry["facts"], "size_wh": tuple(entry["facts"]["size_wh"])}),
            )
            for name, entry in kept.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        # No cache, or one that something has damaged: the photos are read again.
        return {}


def _store(
    root: Path, entries: dict[str, tuple[tuple[int, int], PhotoFacts]], started_ns: int
) -> None:
    kept = {
        name: {"stamp": stamp, "facts": asdict(facts)}
        for name, (stamp, facts) in entries.items()
        if facts.digest and stamp[1] < started_ns - _SETTLED_NS
    }
    # A cache that cannot be written costs time, not the check.
    with contextlib.suppress(OutputError):
        write_text(_cache_path(root), json.dumps(kept))
