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
from pathlib import Path
from typing import IO, Any

import click
import cv2

from pocketlens.errors import MissingDependencyError, OutputError
from pocketlens.files import STANDARD_OUTPUT
from pocketlens.runtime.live import FrameResult, LiveSummary, Observer
from pocketlens.runtime.overlay import draw_categories
from pocketlens.runtime.pictures import Pixels

# Faster than this nobody reads, and the terminal would flicker.
_REFRESH_S = 0.1
_RATE_FRAMES = 30
_QUIT_KEYS = (ord("q"), 27)
_WINDOW = "pocketlens"
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


class JsonLines:
    """Writes a JSON object and a line end per frame, each line at once."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __call__(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result."""
        self._stream.write(json.dumps(result.to_dict(), ensure_ascii=False) + "\n")
        self._stream.flush()


class Window:
    """Shows the frames with their labels; q, Esc or closing it sets `stop`.

    Raises:
        MissingDependencyError: this OpenCV has no windows, or there is no display.
    """

    def __init__(self, stop: threading.Event) -> None:
        check_display()
        self._stop = stop
        cv2.namedWindow(_WINDOW, cv2.WINDOW_NORMAL)

    def __call__(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result."""
        shown_bgr = frame_bgr.copy()
        draw_categories(shown_bgr, result.categories, len(result.answers))
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


@contextlib.contextmanager
def open_observers(
    *, jsonl_target: str | None, display: bool, silent: bool, stop: threading.Event
) -> Iterator[list[Observer]]:
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
    observers: list[Observer] = []
    with contextlib.ExitStack() as stack:
        if display:
            observers.append(Window(stop))
            stack.callback(cv2.destroyAllWindows)
        if jsonl_target == STANDARD_OUTPUT:
            observers.append(JsonLines(sys.stdout))
        elif jsonl_target is not None:
            observers.append(JsonLines(stack.enter_context(_log_file(Path(jsonl_target)))))
        if not silent and sys.stdout.isatty():
            from rich.live import Live

            live = stack.enter_context(Live(auto_refresh=False, transient=True))
            observers.append(LiveLine(live))
        elif not silent and jsonl_target is None:
            observers.append(ChangeLines())
        yield observers


def summary_line(summary: LiveSummary) -> str:
    """Return a run's summary as one line for people."""
    dropped = f", {summary.dropped} dropped" if summary.dropped else ""
    return (
        f"{summary.frames} frames{dropped} in {summary.seconds:.1f} s: {summary.fps:.1f} fps; "
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
