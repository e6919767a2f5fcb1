"""The process that shows the window, so that a display that goes away ends nothing else."""

from __future__ import annotations

import os
import signal
import struct
import sys
import threading
from typing import BinaryIO, NoReturn

import cv2
import numpy as np

from pocketlens.runtime.pictures import Pixels

HEADER = struct.Struct("<II")
"""Height and width; then come the bytes of a picture, uint8 (height, width, 3) BGR."""

READY = b"ready\n"
QUIT = b"quit\n"

_QUIT_KEYS = (ord("q"), 27)
_WINDOW = "pocketlens"
_POLL_MS = 10
_FIRST_WH = (1280, 720)


def main() -> NoReturn:
    """Serve one parent until it closes its end or exits."""
    # The parent acts on signals that end the run, such as Ctrl-C.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    show(sys.stdin.buffer, sys.stdout.buffer)
    # The thread that reads must not hold up the end.
    os._exit(0)


def show(pictures: BinaryIO, answers: BinaryIO) -> None:
    """Show the newest of the pictures until they end; say so when the user wants to quit."""
    # Without Qt's bar of buttons, whose keys are other ones.
    cv2.namedWindow(_WINDOW, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
    answers.write(READY)
    answers.flush()
    newest = _Newest(pictures)
    shown = False
    while not newest.ended:
        picture_bgr = newest.take()
        if picture_bgr is not None:
            if not shown:
                cv2.resizeWindow(_WINDOW, *_first_size_wh(picture_bgr))
            cv2.imshow(_WINDOW, picture_bgr)
            shown = True
        key = cv2.waitKey(_POLL_MS) & 0xFF
        # A window is not visible before there is something in it.
        closed = shown and cv2.getWindowProperty(_WINDOW, cv2.WND_PROP_VISIBLE) < 1
        if key in _QUIT_KEYS or closed:
            answers.write(QUIT)
            answers.flush()
            break
    cv2.destroyAllWindows()


def _first_size_wh(picture_bgr: Pixels) -> tuple[int, int]:
    height, width = picture_bgr.shape[:2]
    share = min(1.0, _FIRST_WH[0] / width, _FIRST_WH[1] / height)
    return max(1, round(share * width)), max(1, round(share * height))


class _Newest:
    """Reads pictures in a thread and keeps the newest."""

    def __init__(self, pictures: BinaryIO) -> None:
        self.ended = False
        self._pictures = pictures
        self._picture_bgr: Pixels | None = None
        threading.Thread(target=self._read, daemon=True).start()

    def take(self) -> Pixels | None:
        picture_bgr, self._picture_bgr = self._picture_bgr, None
        return picture_bgr

    def _read(self) -> None:
        while len(head := self._pictures.read(HEADER.size)) == HEADER.size:
            height, width = HEADER.unpack(head)
            data = self._pictures.read(3 * height * width)
            if len(data) < 3 * height * width:
                break
            self._picture_bgr = np.frombuffer(data, np.uint8).reshape(height, width, 3)
        self.ended = True
