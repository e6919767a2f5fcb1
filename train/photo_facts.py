"""What there is to know about every photo, by reading and decoding each file once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from os import cpu_count
from pathlib import Path
from typing import Any

from pocketlens.errors import OutputError, PictureError
from pocketlens.files import cache_folder, write_text
from pocketlens.progress import track
from pocketlens.runtime.photos import name_below
from pocketlens.runtime.pictures import decode, read_header
from pocketlens.train.duplicates import FINGERPRINT_VERSION, fingerprint
from pocketlens.train.pixel_cache import PIXELS_VERSION

# To be raised when the facts or their meaning change.
_FACTS_VERSION = 1
# A file changed this shortly before it was read may change again within one tick of its clock.
_SETTLED_NS = 2_000_000_000


@dataclass(frozen=True)
class PhotoFacts:
    """One file.

    `digest` is the SHA-256 of its content, "" where it cannot be opened; `error` says why it
    cannot be used, else None; `format` is Pillow's name of what it holds; `size_wh` that of the
    stored pixels, `orientation` EXIF's 1-8; `fingerprint` is hexadecimal, "" where unreadable.
    """

    digest: str
    error: str | None
    format: str
    size_wh: tuple[int, int]
    orientation: int
    fingerprint: str


def read_facts(root: Path, paths: Sequence[Path]) -> dict[Path, PhotoFacts]:
    """Read photos below `root` on all cores, with a progress bar.

    Facts are kept in the cache folder; a file is read again when its size or its time of change
    is another. Threads, since Pillow decodes without the GIL: on two cores they read 1,000 photos
    as fast as processes do, which would have to be started first.
    """
    known = _load(root)
    stamps = {path: _stamp(path) for path in paths}
    facts: dict[Path, PhotoFacts] = {}
    for path in paths:
        entry = known.get(name_below(path, root))
        if entry is not None and entry[0] == stamps[path]:
            facts[path] = entry[1]
    missing = [path for path in paths if path not in facts]
    started_ns = time.time_ns()
    with ThreadPoolExecutor(cpu_count()) as pool:
        results = pool.map(lambda path: _read(path, name_below(path, root)), missing)
        try:
            facts.update(zip(missing, track(results, "Checking photos", len(missing)), strict=True))
        finally:
            # Ctrl-C must not wait for thousands of photos that are still to be read.
            pool.shutdown(wait=False, cancel_futures=True)
    if missing:
        _store(root, {path: (stamps[path], facts[path]) for path in paths}, started_ns)
    return facts


def _read(path: Path, name: str) -> PhotoFacts:
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = (
            f"Expected a readable picture. Received: {name}: {error.strerror or error}. "
            "Remove it or make it readable."
        )
        return PhotoFacts("", reason, "", (0, 0), 1, "")
    digest = hashlib.sha256(data).hexdigest()
    header = read_header(data)
    form, size_wh, orientation = (
        (header.format, header.size_wh, header.orientation) if header else ("", (0, 0), 1)
    )
    try:
        found = fingerprint(decode(data, name)).to_hex()
    except PictureError as error:
        return PhotoFacts(digest, str(error), form, size_wh, orientation, "")
    return PhotoFacts(digest, None, form, size_wh, orientation, found)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (-1, -1)
    return (status.st_size, status.st_mtime_ns)


def _cache_path(root: Path) -> Path:
    versions = (_FACTS_VERSION, FINGERPRINT_VERSION, PIXELS_VERSION, str(root.absolute()))
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
    root: Path, entries: dict[Path, tuple[tuple[int, int], PhotoFacts]], started_ns: int
) -> None:
    kept = {
        name_below(path, root): {"stamp": stamp, "facts": asdict(facts)}
        for path, (stamp, facts) in entries.items()
        if facts.digest and stamp[1] < started_ns - _SETTLED_NS
    }
    # A cache that cannot be written costs time, not the check.
    with contextlib.suppress(OutputError):
        write_text(_cache_path(root), json.dumps(kept))
