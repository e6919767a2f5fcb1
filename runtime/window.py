"""The window of `pocketlens live --display`."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import sys
import threading
from pathlib import Path

import cv2
import numpy as np

from pocketlens.errors import MissingDependencyError
from pocketlens.runtime.captures import STALE, SourceState
from pocketlens.runtime.live import FrameResult
from pocketlens.runtime.overlay import draw_decision
from pocketlens.runtime.pictures import Pixels

LOGGER = logging.getLogger("pocketlens")

_QUIT_KEYS = (ord("q"), 27)
_WINDOW = "pocketlens"
_DARK = 40
_LIGHT = (220, 220, 220)
_ANSWER_S = 2.0
_X_SOCKETS = "/tmp/.X11-unix/X"  # noqa: S108 - where X servers listen.
_X_PORT = 6000


class Window:
    """Shows the frames with their decision; q, Esc or closing it sets `stop`.

    When the display goes away, that is said once and the run goes on without it.

    Raises:
        MissingDependencyError: this OpenCV has no windows, or there is no display.
    """

    def __init__(self, stop: threading.Event) -> None:
        check_display()
        self._stop = stop
        self._gone = False
        self._shape: tuple[int, ...] = (480, 640, 3)
        cv2.namedWindow(_WINDOW, cv2.WINDOW_NORMAL)

    def __call__(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result."""
        if self._gone:
            return
        self._shape = frame_bgr.shape
        shown_bgr = frame_bgr.copy()
        draw_decision(shown_bgr, result.decision, result.categories)
        self._show(shown_bgr)

    def watch(self, state: SourceState) -> None:
        """Take a change of state: no old picture stays, and no old label."""
        if state.state == STALE:
            shown_bgr = np.full(self._shape, _DARK, np.uint8)
            place = (_DARK, self._shape[0] // 2)
            cv2.putText(shown_bgr, STALE, place, cv2.FONT_HERSHEY_SIMPLEX, 1, _LIGHT, 2)
            self._show(shown_bgr)

    def close(self) -> None:
        """Close it."""
        if not self._gone:
            with contextlib.suppress(cv2.error):
                cv2.destroyAllWindows()

    def _show(self, shown_bgr: Pixels) -> None:
        # Asked each time, since Qt ends the process when it talks to a display that is gone.
        if self._gone or not _display_answers():
            self._lose("no display answers")
            return
        try:
            cv2.imshow(_WINDOW, shown_bgr)
            key = cv2.waitKey(1) & 0xFF
            closed = cv2.getWindowProperty(_WINDOW, cv2.WND_PROP_VISIBLE) < 1
        except cv2.error as error:
            self._lose(" ".join(str(error).split()))
            return
        if key in _QUIT_KEYS or closed:
            self._stop.set()

    def _lose(self, reason: str) -> None:
        if not self._gone:
            LOGGER.warning("The window is gone and the run goes on without it: %s.", reason)
        self._gone = True


def check_display() -> None:
    """Raise MissingDependencyError where no window can be opened."""
    # Asking for a window is no way to find out: without a display Qt ends the process.
    if re.search(r"^\s*GUI:\s*NONE\s*$", cv2.getBuildInformation(), re.MULTILINE):
        raise MissingDependencyError(
            "Expected an OpenCV with windows for --display. Received: opencv-python-headless. "
            "Exchange it: pip uninstall -y opencv-python-headless && pip install opencv-python"
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
