"""What `pocketlens live` tells while it runs: events, frames as JSON, a panel, a window."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from pocketlens.files import STANDARD_OUTPUT, output_errors
from pocketlens.runtime.live.frames import CaptureCounts, FrameResult, SourceState
from pocketlens.runtime.live.loop import Observer, Watcher
from pocketlens.runtime.live.measures import LiveSummary
from pocketlens.runtime.live.sinks import Output
from pocketlens.runtime.live.sinks.panel import Panel
from pocketlens.runtime.live.sinks.window import Window
from pocketlens.runtime.pictures import Pixels

LOGGER = logging.getLogger("pocketlens")


class EventLines:
    """Prints a line for each event: time, labels, each with its score."""

    def __call__(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result."""
        decision = result.decision
        if decision.changed:
            labels = [f"{entry.label}  {entry.score:.2f}" for entry in decision.categories]
            click.echo(f"{result.time_s:.2f} s  {', '.join(labels) or decision.absent}")


class JsonLines:
    """Writes a JSON object and a line end per frame and change of state, each line at once.

    Args:
        write: gets each line.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write_line = write

    def __call__(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result."""
        self._write(result.to_dict())

    def watch(self, state: SourceState) -> None:
        """Take a change of state."""
        self._write(state.to_dict())

    def _write(self, entry: dict[str, Any]) -> None:
        self._write_line(json.dumps(entry, ensure_ascii=False) + "\n")


class LineFile:
    """A file of lines, each whole or not at all; use it in a `with` block.

    What a full disk has no room for is counted in `lost` and logged, and costs the lines after it
    nothing.

    Raises:
        OutputError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("wb", buffering=0)
        self._path = path
        self._end = 0
        self._troubled = False
        self.lost = 0

    def __enter__(self) -> LineFile:
        return self

    def __exit__(self, *_: object) -> None:
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
            LOGGER.warning("%s is written again; %d lines were lost.", self._path, self.lost)

    def _lose(self, error: OSError) -> None:
        self.lost += 1
        # Half a line would make the next one unreadable too.
        with contextlib.suppress(OSError):
            self._stream.seek(self._end)
            self._stream.truncate()
        if not self._troubled:
            LOGGER.warning("Lines for %s are lost: %s.", self._path, error.strerror or error)
        self._troubled = True


@dataclass
class Outputs:
    """What shall see every result, what shall be told whether frames come, and the log, if any."""

    observers: list[Observer] = field(default_factory=list)
    watchers: list[Watcher] = field(default_factory=list)
    log: LineFile | None = None

    def add(self, output: JsonLines | Panel | Window | Output) -> None:
        """Add what takes both."""
        self.observers.append(output)
        self.watchers.append(output.watch)


@contextlib.contextmanager
def open_outputs(
    *,
    jsonl_target: str | None,
    display: bool,
    silent: bool,
    counts: Callable[[], CaptureCounts],
    stop: threading.Event,
) -> Iterator[Outputs]:
    """Give what shall see every result, and put everything away afterwards.

    Args:
        jsonl_target: a file, "-" for standard output, or None.
        display: open a window.
        silent: write nothing for people to standard output.
        counts: gives what happened while capturing, for the panel.
        stop: set by the window.

    Raises:
        OutputError: the file cannot be written.
        MissingDependencyError: a window is not to be had.
    """
    outputs = Outputs()
    with contextlib.ExitStack() as stack:
        if display:
            window = Window(stop)
            outputs.add(window)
            stack.callback(window.close)
        if jsonl_target == STANDARD_OUTPUT:
            outputs.add(JsonLines(_to_standard_output))
        elif jsonl_target is not None:
            outputs.log = stack.enter_context(LineFile(Path(jsonl_target)))
            outputs.add(JsonLines(outputs.log.write))
        if not silent and sys.stdout.isatty():
            from rich.live import Live

            live = stack.enter_context(Live(auto_refresh=False, transient=True))
            outputs.add(Panel(live, counts))
        elif not silent:
            outputs.observers.append(EventLines())
        yield outputs


def summary_line(summary: LiveSummary, written: Mapping[str, int]) -> str:
    """Return a run's summary, and counts of what it wrote, as one line for people."""
    counts = {"unusable": summary.unusable, **asdict(summary.counts), "events": summary.events}
    named = {**counts, **{name.replace("_", " "): count for name, count in written.items()}}
    counted = "".join(f", {count} {name}" for name, count in named.items() if count)
    if not summary.frames:
        return f"0 frames{counted} in {summary.seconds:.1f} s"
    return (
        f"{summary.frames} frames{counted} in {summary.seconds:.1f} s: {summary.fps:.1f} fps; "
        f"classify {summary.classify.median_ms:.1f} ms (95 %: {summary.classify.p95_ms:.1f}), "
        f"capture {summary.capture.median_ms:.1f} ms (95 %: {summary.capture.p95_ms:.1f})"
    )


def _to_standard_output(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()
