"""What there is to know about one photo, by reading and decoding its file once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from pocketlens.cache import cache_entry
from pocketlens.errors import DataError, OutputError, PictureError
from pocketlens.files import write_text
from pocketlens.names import shown
from pocketlens.progress import track
from pocketlens.runtime.decoding import MEMORY, memory_needed, read_file
from pocketlens.runtime.photos import name_below
from pocketlens.runtime.pictures import decode_resized, read_header
from pocketlens.train.duplicates import FINGERPRINT_VERSION, SIDE, fingerprint
from pocketlens.train.pixel_cache import PIXELS_VERSION
from pocketlens.workers import count_cores, describe_exit, map_ahead, start_child

# To be raised when the facts or their meaning change.
FACTS_VERSION = 3


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


def read_photo(path: Path, name: str) -> PhotoFacts:
    """Read the file at `path`, which errors call `name`."""
    try:
        data = read_file(path, shown(name))
    except PictureError as error:
        return PhotoFacts("", str(error), "", (0, 0), 1, "")
    digest = hashlib.sha256(data).hexdigest()
    header = read_header(data)
    form, size_wh, orientation = (
        (header.format, header.size_wh, header.orientation) if header else ("", (0, 0), 1)
    )
    try:
        found = fingerprint(decode_resized(data, (SIDE, SIDE), name=name)).to_hex()
    except PictureError as error:
        return PhotoFacts(digest, str(error), form, size_wh, orientation, "")
    return PhotoFacts(digest, None, form, size_wh, orientation, found)


LOGGER = logging.getLogger("pocketlens")

# Paths, each with the name that errors call it by.
Named = Sequence[tuple[Path, str]]

# Starting a process takes as long as reading so many small photos.
_FEW = 500


@contextlib.contextmanager
def photo_readers(count: int, photos: int) -> Iterator[Callable[[Named], list[PhotoFacts]]]:
    """Give a function that reads photos, and that `count` threads may call at once.

    It has a process for each of them if there are many photos to be read.

    Raises:
        DataError: by the function: a process ended, as by a photo that crashes its decoder.
    """
    with contextlib.ExitStack() as stack:
        children: SimpleQueue[_Child] = SimpleQueue()
        try:
            for _ in range(count if photos >= _FEW else 0):
                child = _Child()
                stack.callback(child.close)
                children.put(child)
        except OSError as error:
            LOGGER.warning("Photos are read in one process, as no other can start: %s.", error)
            yield _read_here
            return
        if children.empty():
            yield _read_here
            return

        def read(photos: Named) -> list[PhotoFacts]:
            child = children.get()
            try:
                # The children know nothing of each other; all of them share this one's memory.
                with MEMORY.held(max(memory_needed(path) for path, _ in photos)):
                    return child.read(photos)
            finally:
                children.put(child)

        yield read


def main() -> None:
    """Be a child: read lists of photos from standard input, answer with facts, a line each."""
    for line in sys.stdin:
        facts = [asdict(read_photo(Path(path), name)) for path, name in json.loads(line)]
        print(json.dumps(facts), flush=True)


def _read_here(photos: Named) -> list[PhotoFacts]:
    return [read_photo(path, name) for path, name in photos]


class _Child:
    def __init__(self) -> None:
        self._process = start_child(
            __name__,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A Ctrl-C in the terminal is for the parent, which ends this by closing its input.
            start_new_session=True,
        )

    def read(self, photos: Named) -> list[PhotoFacts]:
        question = json.dumps([(str(path), name) for path, name in photos]).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(question)  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise DataError(
                f"The process that reads photos has failed: {describe_exit(self._process.wait())} "
                f"while it read {photos[0][1]} to {photos[-1][1]}. "
                "Look for a damaged photo there and remove it, or free memory."
            )
        return [
            PhotoFacts(**{**entry, "size_wh": tuple(entry["size_wh"])})
            for entry in json.loads(line)
        ]

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()


# A file changed this shortly before it was read may change again within one tick of its clock.
_SETTLED_NS = 2_000_000_000
# Photos that are handed over at once: few enough for a progress bar that moves.
_CHUNK = 16
_FACTS_NAME = "facts.json"


def read_facts(root: Path, paths: Sequence[Path]) -> dict[Path, PhotoFacts]:
    """Read photos below `root` on all cores, with a progress bar.

    Facts are kept in the cache folder; a file is read again when its stamp is another. One that
    could not be read is read again always: by now a decoder may be installed, or memory free.
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


# Size and time of change, by which a file that was written is known to be another, and number and
# time of the last renaming, by which one is that took its name: two files of one size that came out
# of the same archive differ in nothing else.
_Stamp = tuple[int, ...]


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return (-1, -1, -1, -1)
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _key(root: Path) -> str:
    versions = (FACTS_VERSION, FINGERPRINT_VERSION, PIXELS_VERSION, os.fsencode(root.absolute()))
    return hashlib.sha256(repr(versions).encode()).hexdigest()[:32]


def _load(root: Path) -> dict[str, tuple[_Stamp, PhotoFacts]]:
    try:
        with cache_entry("facts", _key(root)) as folder:
            digest, text = (folder / _FACTS_NAME).read_text("utf-8").split("\n", 1)
        if digest != hashlib.sha256(text.encode()).hexdigest():
            return {}
        kept: dict[str, dict[str, Any]] = json.loads(text)
        return {
            name: (
                tuple(entry["stamp"]),
                PhotoFacts(**{**entry["facts"], "size_wh": tuple(entry["facts"]["size_wh"])}),
            )
            for name, entry in kept.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        # No cache, or one that something has damaged: the photos are read again.
        return {}


def _store(root: Path, entries: dict[str, tuple[_Stamp, PhotoFacts]], started_ns: int) -> None:
    kept = {
        name: {"stamp": stamp, "facts": asdict(facts)}
        for name, (stamp, facts) in entries.items()
        if facts.error is None and stamp[1] < started_ns - _SETTLED_NS
    }
    # A cache that cannot be written costs time, not the check.
    with contextlib.suppress(OutputError), cache_entry("facts", _key(root)) as folder:
        text = json.dumps(kept)
        digest = hashlib.sha256(text.encode()).hexdigest()
        write_text(folder / _FACTS_NAME, f"{digest}\n{text}")
