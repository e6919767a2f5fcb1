"""The window of `pocketlens live --display`, seen from the process that classifies."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np

from pocketlens.errors import MissingDependencyError
from pocketlens.runtime.live.frames import STALE, FrameResult, RunInfo, Sink, SourceState
from pocketlens.runtime.live.sinks import SinkRequest
from pocketlens.runtime.live.sinks.overlay import draw_decision
from pocketlens.runtime.live.sinks.window_child import HEADER, QUIT, READY
from pocketlens.runtime.pictures import Pixels
from pocketlens.workers import start_child

LOGGER = logging.getLogger("pocketlens")

_DARK = 40
_LIGHT = (220, 220, 220)
_ANSWER_S = 2.0
_X_SOCKETS = "/tmp/.X11-unix/X"  # noqa: S108 - where X servers listen.
_X_PORT = 6000


def make_sink(request: SinkRequest) -> Sink:
    """Return the window."""
    return Window()


class Window(Sink):
    """Shows the frames with their decision; q, Esc or closing it ends the run.

    The window belongs to a process of its own, since the libraries behind it end theirs when the
    display goes away. Then that is said once, and the run goes on without it. Frames that come
    faster than they are shown are left out.

    Raises:
        MissingDependencyError: from `opened`, this OpenCV has no windows, or there is no display.
    """

    def opened(self, run: RunInfo) -> None:
        """Open the window."""
        check_display()
        self._stop = run.stop
        self._ended = False
        self._shape: tuple[int, ...] = (480, 640, 3)
        self._waiting_bgr: Pixels | None = None
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._child = start_child(
            "pocketlens.runtime.live.sinks.window_child",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        if self._answer() != READY:
            self.closed()
            raise MissingDependencyError(
                "Expected a window for --display. Received: none, OpenCV does not open one here. "
                "Run it on the desktop, or write a video instead: --record out.mp4"
            )
        for work in (self._send, self._listen):
            self._threads.append(threading.Thread(target=work, name="window", daemon=True))
            self._threads[-1].start()

    def result(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result."""
        self._shape = frame_bgr.shape
        if self._ended or self._waiting_bgr is not None:
            return
        shown_bgr = frame_bgr.copy()
        draw_decision(shown_bgr, result.decision, result.categories, result.alternatives)
        self._show(shown_bgr)

    def state(self, state: SourceState) -> None:
        """Take a change of state: no old picture stays, and no old label."""
        if state.state == STALE:
            shown_bgr = np.full(self._shape, _DARK, np.uint8)
            place = (_DARK, self._shape[0] // 2)
            cv2.putText(shown_bgr, STALE, place, cv2.FONT_HERSHEY_SIMPLEX, 1, _LIGHT, 2)
            self._show(shown_bgr)

    def closed(self) -> None:
        """Close it."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        # It has nothing to lose, and a display that hangs would make it wait without end.
        self._child.kill()
        self._child.wait()
        for thread in self._threads:
            thread.join()
        for pipe in (self._child.stdin, self._child.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def _show(self, shown_bgr: Pixels) -> None:
        with self._changed:
            self._waiting_bgr = shown_bgr
            self._changed.notify_all()

    def _answer(self) -> bytes:
        return self._child.stdout.readline()  # type: ignore[union-attr]

    def _listen(self) -> None:
        if self._answer() == QUIT:
            self._ended = True
            self._stop.set()
        elif not self._ended:
            self._ended = True
            LOGGER.warning("The window has closed; the run continues without it.")

    def _send(self) -> None:
        # The listener reports a pipe whose reader has exited.
        with contextlib.suppress(OSError, ValueError):
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting_bgr is not None or self._ended)
                    picture_bgr = self._waiting_bgr
                if self._ended or picture_bgr is None:
                    return
                pipe = self._child.stdin
                pipe.write(HEADER.pack(*picture_bgr.shape[:2]))  # type: ignore[union-attr]
                pipe.write(picture_bgr.data)  # type: ignore[union-attr]
                pipe.flush()  # type: ignore[union-attr]
                with self._changed:
                    if self._waiting_bgr is picture_bgr:
                        self._waiting_bgr = None


def check_display() -> None:
    """Raise MissingDependencyError where no window can be opened."""
    # Opening a window to find out does not work: without a display Qt ends the process.
    if re.search(r"^\s*GUI:\s*NONE\s*$", cv2.getBuildInformation(), re.MULTILINE):
        raise MissingDependencyError(
            "Expected an OpenCV with windows for --display. Received: opencv-python-headless. "
            "Replace it: pip uninstall -y opencv-python-headless && pip install opencv-python"
        )
    if not _display_answers():
        names = ("DISPLAY", "WAYLAND_DISPLAY")
        given = [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]
        came = f"no answer from {' and '.join(given)}" if given else "none (DISPLAY is not set)"
        raise MissingDependencyError(
            f"Expected a display for --display. Received: {came}. "
            "Run it on the desktop, or write a video instead: --record out.mp4"
        )


def _display_answers() -> bool:
    """Return whether something listens where the environment says that the display is."""
    if not sys.platform.startswith("linux"):
        return True
    places: list[str | tuple[str, int]] = []
    wayland = os.environ.get("WAYLAND_DISPLAY")
    if wayland:
        places.append(str(Path(os.environ.get("XDG_RUNTIME_DIR", "")) / wayland))
    # [host]:number[.screen], see X(7).
    match = re.fullmatch(r"(.*):([0-9]+)(?:\.[0-9]+)?", os.environ.get("DISPLAY", ""))
    if match and match[1] in ("", "unix"):
        path = _X_SOCKETS + match[2]
        places += [path, f"\0{path}"]
    elif match:
        places.append((match[1], _X_PORT + int(match[2])))
    return any(_listens(place) for place in places)


def _listens(place: str | tuple[str, int]) -> bool:
    try:
        if isinstance(place, tuple):
            socket.create_connection(place, _ANSWER_S).close()
        else:
            with socket.socket(socket.AF_UNIX) as asked:
                asked.settimeout(_ANSWER_S)
                asked.connect(place)
    except (OSError, OverflowError):
        return False
    return True
