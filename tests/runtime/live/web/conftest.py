"""A page on a real server, fed by a thread that stands in for the one that classifies."""

import http.client
import json
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from timing import PATIENCE_S

from pocketlens.clock import CLOCK
from pocketlens.runtime.classifier import Category
from pocketlens.runtime.live.frames import (
    LIVE,
    STALE,
    CaptureCounts,
    Decision,
    FrameResult,
    RunInfo,
    SourceState,
)
from pocketlens.runtime.live.web import WebPage
from pocketlens.runtime.live.web.access import WebAddress

INTERVAL_S = 0.02


def draw(label, number, size_wh=(320, 240)):
    """A frame in the label's colour, with a square that moves."""
    width, height = size_wh
    colour = {"red": (40, 40, 210), "blue": (210, 60, 40)}.get(label, (90, 90, 90))
    frame_bgr = np.full((height, width, 3), colour, np.uint8)
    left = 4 * number % (width - 40)
    cv2.rectangle(frame_bgr, (left, height // 2), (left + 40, height // 2 + 40), (240,) * 3, -1)
    return frame_bgr


def result_of(number, label, score=0.9, changed=False, label_set=()):
    best = () if label is None else (Category(label, score, 0),)
    shown = (*best, Category("other", 1 - score, 1))
    decision = Decision(best, changed)
    return FrameResult(number, number / 50, shown, best, decision, 1.0, 2.0, label_set=label_set)


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Show:
    """Classifies made-up frames until it is stopped; `label` and `label_set` say as what.

    `silent` makes the source stale, `hold` makes whoever classifies hang.
    """

    def __init__(self, address, token, size_wh, clock, inbox=None):
        self.keeping = None
        self._inbox = inbox
        self.label, self.label_set = "red", ()
        self.counts = CaptureCounts(dropped=3)
        self.lines = []
        self.stack = None
        self.silent = threading.Event()
        self.hold, self.held = threading.Event(), threading.Event()
        self._address, self.token, self._size_wh = address, token, size_wh
        self._clock = clock
        self.start()

    def start(self):
        self.stack = ExitStack()
        page = WebPage(
            self._address,
            token=self.token,
            inbox=self._inbox,
            announce=self.lines.append,
            clock=self._clock,
        )
        page.opened(
            RunInfo(
                model="colours_int8.tflite",
                source="http://***@camera/stream",
                watches_shift=True,
                counts=lambda: self.counts,
                keeping=lambda: self.keeping,
            )
        )
        self.stack.callback(page.closed)
        self.feed = page.feed
        self.url = self.lines[-1].split()[-1]
        parts = urlsplit(self.url)
        self.host, self.port = parts.hostname, parts.port
        self._address = WebAddress(self._address.host, self.port)
        stop, begun = threading.Event(), threading.Event()
        thread = threading.Thread(target=self._run, args=(stop, begun), daemon=True)
        thread.start()
        begun.wait()
        self.stack.callback(thread.join)
        self.stack.callback(stop.set)

    def stop(self):
        if self.stack:
            self.stack.close()
            self.stack = None

    def _run(self, stop, begun):
        number, before, was_silent = 0, None, False
        while not stop.wait(INTERVAL_S):
            if self.silent.is_set() != was_silent:
                was_silent = self.silent.is_set()
                state, reason = (STALE, "the cable is loose") if was_silent else (LIVE, "")
                self.feed.watch(SourceState(state, number / 50, reason, 0))
                before = None
            if self.hold.is_set():
                self.held.set()
            if was_silent or self.hold.is_set():
                continue
            label = self.label
            frame_bgr = draw(label, number, self._size_wh)
            result = result_of(number, label, changed=label != before, label_set=self.label_set)
            self.feed.put(frame_bgr, result)
            number, before = number + 1, label
            begun.set()

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def get(self, path, method="GET", **headers):
        """Ask for something; header names with _ in place of -."""
        connection = self.connect()
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers=names)
            response = connection.getresponse()
            kind = response.headers.get("content-type", "")
            endless = kind.startswith(("text/event-stream", "multipart"))
            body = response.read(400) if endless and method == "GET" else response.read()
            return Answer(response.status, dict(response.headers), body)
        finally:
            connection.close()


@pytest.fixture
def open_show(tmp_path):
    """Start a page: `open_show(host=…, token=…)`."""
    pytest.importorskip("uvicorn", reason="the web extra is not installed")
    pytest.importorskip("starlette", reason="the web extra is not installed")
    with ExitStack() as stack:

        def start(
            host="127.0.0.1",
            token=None,
            size_wh=(320, 240),
            clock=CLOCK,
            inbox=tmp_path / "inbox",
        ):
            show = Show(WebAddress(host, 0), token, size_wh, clock, inbox)
            stack.callback(show.stop)
            return show

        yield start


@pytest.fixture
def show(open_show):
    return open_show()
