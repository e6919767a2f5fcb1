"""What `pocketlens live` shows while it runs: lines, one live line, JSON, a window."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import click
import cv2
import numpy as np

from pocketlens.errors import MissingDependencyError, OutputError
from pocketlens.files import STANDARD_OUTPUT
from pocketlens.runtime.captures import STALE, SourceState
from pocketlens.runtime.live import FrameResult, LiveSummary, Observer, Watcher
from pocketlens.runtime.overlay import draw_categories
from pocketlens.runtime.pictures import Pixels

# Faster than this nobody reads, and the terminal would flicker.
_REFRESH_S = 0.1
_RATE_FRAMES = 30
_QUIT_KEYS = (ord("q"), 27)
_WINDOW = "pocketlens"
_DARK = 40
# What stands where a multilabel model gives no label.
_NOTHING = "–"


class ChangeLines:
    """Prints a line whenever the answer changes: time, labels, each with its score."""

    def __init__(self) -> None:
        self._indices: list[int] | None = None

    def __call__(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result."""
        indices = sorted(entry.index for entry in result.answers)
        if indices != self._indices:
            self._indices = indices
            text = ", ".join(f"{entry.label}  {entry.score:.2f}" for entry in result.answers)
            click.echo(f"{result.time_s:.2f} s  {text or _NOTHING}")


class LiveLine:
    """One line of a terminal that keeps itself up to date: label, score, frames per second."""

    def __init__(self, live: Any) -> None:
        self._live = live
        self._shown_s = -1.0
        self._times_s: deque[float] = deque(maxlen=_RATE_FRAMES)

    def __call__(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result."""
        now_s = time.monotonic()
        self._times_s.append(now_s)
        if now_s - self._shown_s < _REFRESH_S:
            return
        self._shown_s = now_s
        from rich.text import Text

        between_s = self._times_s[-1] - self._times_s[0]
        rate = f"{(len(self._times_s) - 1) / between_s:.0f} fps" if between_s > 0 else ""
        line = Text(no_wrap=True, overflow="ellipsis")
        if not result.answers:
            line.append(f"{_NOTHING}   ", "bold")
        for entry in result.answers:
            line.append(f"{100 * entry.score:3.0f} %  ", "cyan")
            line.append(f"{entry.label}   ", "bold")
        line.append(f"{rate}   {result.time_s:.1f} s", "dim")
        self._live.update(line, refresh=True)

    def watch(self, state: SourceState) -> None:
        """Take a change of state: without frames there is no answer to show."""
        from rich.text import Text

        if state.state == STALE:
            self._times_s.clear()
            self._live.update(Text(f"{STALE}: {state.reason}", style="yellow"), refresh=True)


class JsonLines:
    """Writes a JSON object and a line end per frame and change of state, each line at once."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __call__(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result."""
        self._write(result.to_dict())

    def watch(self, state: SourceState) -> None:
        """Take a change of state."""
        self._write(state.to_dict())

    def _write(self, entry: dict[str, Any]) -> None:
        self._stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._stream.flush()


class Window:
    """Shows the frames with their labels; q, Esc or closing it sets `stop`.

    Raises:
        MissingDependencyError: this OpenCV has no windows, or there is no display.
    """

    def __init__(self, stop: threading.Event) -> None:
        check_display()
        self._stop = stop
        self._shape: tuple[int, ...] = (480, 640, 3)
        cv2.namedWindow(_WINDOW, cv2.WINDOW_NORMAL)

    def __call__(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result."""
        self._shape = frame_bgr.shape
        shown_bgr = frame_bgr.copy()
        draw_categories(shown_bgr, result.categories, len(result.answers))
        self._show(shown_bgr)

    def watch(self, state: SourceState) -> None:
        """Take a change of state: no old picture stays, and no old label."""
        if state.state == STALE:
            shown_bgr = np.full(self._shape, _DARK, np.uint8)
            place = (_DARK, self._shape[0] // 2)
            cv2.putText(shown_bgr, STALE, place, cv2.FONT_HERSHEY_SIMPLEX, 1, (220, 220, 220), 2)
            self._show(shown_bgr)

    def _show(self, shown_bgr: Pixels) -> None:
        cv2.imshow(_WINDOW, shown_bgr)
        key = cv2.waitKey(1) & 0xFF
        if key in _QUIT_KEYS or cv2.getWindowProperty(_WINDOW, cv2.WND_PROP_VISIBLE) < 1:
            self._stop.set()


def check_display() -> None:
    """Raise MissingDependencyError where no window can be opened."""
    # Asking for a window is no way to find out: without a display Qt ends the process.
    if re.search(r"^\s*GUI:\s*NONE\s*$", cv2.getBuildInformation(), re.MULTILINE):
        raise MissingDependencyError(
            "Expected an OpenCV with windows for --display. Received: opencv-python-headless. "
            "Exchange it: pip uninstall -y opencv-python-headless && pip install opencv-python"
        )
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        raise MissingDependencyError(
            "Expected a display for --display. Received: none (DISPLAY is not set). "
            "Run it on the desktop, or write a video instead: --record out.mp4"
        )


@dataclass
class Outputs:
    """What shall see every result, and what shall be told whether frames come."""

    observers: list[Observer] = field(default_factory=list)
    watchers: list[Watcher] = field(default_factory=list)

    def add(self, output: JsonLines | LiveLine | Window) -> None:
        """Add what takes both."""
        self.observers.append(output)
        self.watchers.append(output.watch)


@contextlib.contextmanager
def open_outputs(
    *, jsonl_target: str | None, display: bool, silent: bool, stop: threading.Event
) -> Iterator[Outputs]:
    """Give what shall see every result, and put everything away afterwards.

    Args:
        jsonl_target: a file, "-" for standard output, or None.
        display: open a window.
        silent: write nothing for people to standard output.
        stop: set by the window.

    Raises:
        OutputError: the file cannot be written.
        MissingDependencyError: a window is not to be had.
    """
    outputs = Outputs()
    with contextlib.ExitStack() as stack:
        if display:
            outputs.add(Window(stop))
            stack.callback(cv2.destroyAllWindows)
        if jsonl_target == STANDARD_OUTPUT:
            outputs.add(JsonLines(sys.stdout))
        elif jsonl_target is not None:
            outputs.add(JsonLines(stack.enter_context(_log_file(Path(jsonl_target)))))
        if not silent and sys.stdout.isatty():
            from rich.live import Live

            live = stack.enter_context(Live(auto_refresh=False, transient=True))
            outputs.add(LiveLine(live))
        elif not silent and jsonl_target is None:
            outputs.observers.append(ChangeLines())
        yield outputs


def summary_line(summary: LiveSummary) -> str:
    """Return a run's summary as one line for people."""
    counted = "".join(
        f", {count} {name}" for name, count in asdict(summary.counts).items() if count
    )
    return (
        f"{summary.frames} frames{counted} in {summary.seconds:.1f} s: {summary.fps:.1f} fps; "
        f"classify {summary.classify.median_ms:.1f} ms (95 %: {summary.classify.p95_ms:.1f}), "
        f"capture {summary.capture.median_ms:.1f} ms (95 %: {summary.capture.p95_ms:.1f})"
    )


def _log_file(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise OutputError(
            f"Expected to be able to write {path}. Received: {error.strerror or error}. "
            "Choose a place with room where you may write."
        ) from error
