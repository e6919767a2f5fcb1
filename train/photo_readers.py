"""Processes that read photos, since threads would wait for each other.

Pillow decodes without the GIL, but a small photo is decoded so fast that what Python does around it
takes as long: on two cores, threads keep them two thirds busy with 20,000 photos of 320x240.
"""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue

from pocketlens.errors import DataError
from pocketlens.train.photo_facts import PhotoFacts, read_photo
from pocketlens.workers import describe_exit, start_child

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
                "Expected a process that reads photos to the end. Received: "
                f"{describe_exit(self._process.wait())} while it read {photos[0][1]} to "
                f"{photos[-1][1]}. "
                "Look for a damaged photo there and remove it, or free memory."
            )
        return [
            PhotoFacts(**{**entry, "size_wh": tuple(entry["size_wh"])})
            for entry in json.loads(line)
        ]

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
