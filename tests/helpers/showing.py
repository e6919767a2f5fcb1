"""A camera's part in tests: frames that differ, given when a test says so."""

import queue
import threading

import cv2
import numpy as np

from pocketlens.runtime.live.frames import LIVE, STALE, CaptureCounts, Captured, SourceState

SIZE_WH = (160, 120)


def frame_of(number, size_wh=SIZE_WH):
    """Return a frame, uint8 (height, width, 3) BGR, that is no near copy of another number's."""
    spots = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(spots, size_wh)


class Showing:
    """A capture whose frames and states a test puts in; `open` is what a `Watcher` opens it by."""

    live, fps = True, None

    def __init__(self, live=True):
        self.live = live
        self.came = queue.Queue()
        self.number = 0
        self.opened = self.closed = 0

    counts = CaptureCounts()

    def open(self, request, stop=None):
        self.opened += 1
        return self

    def show(self, frame_bgr):
        self.came.put(Captured(self.number, self.number / 30, 1.0, frame_bgr))
        self.number += 1

    def fall_silent(self, reason="the cable is loose"):
        self.came.put(SourceState(STALE, 0.0, reason, 0))

    def come_back(self):
        self.came.put(SourceState(LIVE, 0.0, "", 1))

    def end(self):
        self.came.put(None)

    def next(self, stop):
        while not stop.is_set():
            try:
                came = self.came.get(timeout=0.02)
            except queue.Empty:
                continue
            if isinstance(came, Exception):
                raise came
            return came
        return None

    def close(self):
        self.closed += 1


class Player:
    """Shows frame after frame until it is stopped, each another one; `held` shows the same."""

    def __init__(self, showing, interval_s=0.03):
        self.held = threading.Event()
        self._stop = threading.Event()
        self._showing, self._interval_s = showing, interval_s
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        number = 0
        while not self._stop.wait(self._interval_s):
            number += not self.held.is_set()
            self._showing.show(frame_of(number, (320, 240)))

    def stop(self):
        self._stop.set()
        self._thread.join()
