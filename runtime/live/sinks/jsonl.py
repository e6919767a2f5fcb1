"""`pocketlens live --jsonl`: a line of JSON for each frame and each change of state or shift."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pocketlens.files import STANDARD_OUTPUT, json_text, open_new, standard_output
from pocketlens.names import shown
from pocketlens.runtime.live.frames import FrameResult, RunInfo, ShiftState, Sink, SourceState
from pocketlens.runtime.live.measures import counted
from pocketlens.runtime.live.sinks import SinkRequest
from pocketlens.runtime.pictures import Pixels

LOGGER = logging.getLogger("pocketlens")


def make_sink(request: SinkRequest) -> Sink:
    """Return the lines that `--jsonl` asks for."""
    return JsonLines(request.jsonl or STANDARD_OUTPUT)


class JsonLines(Sink):
    """Writes a JSON object and a line end per frame and change of state or shift, each at once.

    Args:
        target: a file, or "-" for standard output.

    Raises:
        OutputError: from `opened`, the file cannot be made.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._file: LineFile | None = None

    def opened(self, run: RunInfo) -> None:
        """Make the file."""
        self._run = run
        if self._target == STANDARD_OUTPUT:
            standard_output()
        else:
            self._file = LineFile(Path(self._target))

    def result(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Write a result."""
        self._write(self._run.entry(result))

    def state(self, state: SourceState) -> None:
        """Write a change of state."""
        self._write(self._run.entry(state))

    def shift(self, shift: ShiftState) -> None:
        """Write a change of shift."""
        self._write(self._run.entry(shift))

    def closed(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()

    def counts(self) -> Mapping[str, int]:
        """Return the number of lines that a full disk had no room for."""
        return {"lines_lost": self._file.lost} if self._file else {}

    def _write(self, entry: dict[str, Any]) -> None:
        if self._file:
            self._file.write(json_text(entry) + "\n")
        else:
            sys.stdout.write(json_text(entry, sys.stdout.encoding) + "\n")
            sys.stdout.flush()


class LineFile:
    """A file of lines, each whole or not at all.

    Lines that a full disk has no room for are counted in `lost` and logged; later lines are written
    as soon as there is room.

    Raises:
        OutputError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._stream = open_new(path)
        self._path = path
        self._end = 0
        self._troubled = False
        self.lost = 0

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            self._stream.close()

    def write(self, line: str) -> None:
        """Add a line, with its end."""
        data = line.encode("utf-8", "replace")
        try:
            if self._stream.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._lose(error)
            return
        self._end += len(data)
        if self._troubled:
            self._troubled = False
            lost = counted(self.lost, "lines")
            LOGGER.warning("%s is written again; %s lost.", shown(self._path), lost)

    def _lose(self, error: OSError) -> None:
        self.lost += 1
        # Half a line would make the next one unreadable too.
        with contextlib.suppress(OSError):
            self._stream.seek(self._end)
            self._stream.truncate()
        if not self._troubled:
            LOGGER.warning("Lines for %s are lost: %s.", shown(self._path), error.strerror or error)
        self._troubled = True
