"""Viewers that do not read: what they may hold, and that nobody else notices."""

import contextlib
import os
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from timing import PATIENCE_S, wait_for

from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.live.capture.thread import ThreadCapture
from pocketlens.runtime.live.frames import Sink
from pocketlens.runtime.live.loop import classify_source
from pocketlens.runtime.live.sources.fake import FakeCamera
from pocketlens.runtime.live.web import WebPage
from pocketlens.runtime.live.web.access import WebAddress

STALLED = 50
# Frames in a turn with or without viewers, and those at its begin in which they come and go.
TURN, SETTLE = 40, 5
PATHS = ("/stream.mjpg", "/events", "/snapshot.jpg", "/")


@contextlib.contextmanager
def stalled(port, count=STALLED, paths=PATHS, times=4):
    """So many connections that ask and read nothing."""
    with contextlib.ExitStack() as stack:
        connections = []
        for number in range(count):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", port))
            stack.callback(connection.close)
            path = paths[number % len(paths)]
            if path:
                connection.sendall(
                    f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * times
                )
            connections.append(connection)
        yield connections


def status_of(connection):
    connection.settimeout(PATIENCE_S)
    return int(connection.recv(12).split()[1])


@pytest.mark.parametrize("path", ["/stream.mjpg", "/events"])
def test_eight_watch_and_the_next_are_told(show, path):
    with stalled(show.port, 10, (path,), times=1) as connections:
        assert [status_of(entry) for entry in connections] == [200] * 8 + [503] * 2
        assert b"8 viewers are watching" in show.get(path).body
        # What is not a stream is answered anyway.
        assert show.get("/api/state").status == 200
    wait_for(lambda: show.get(path).status == 200)


def test_frames_are_encoded_once_for_all_at_a_bounded_rate_and_only_while_somebody_looks(
    show, monkeypatch
):
    from pocketlens.runtime.live.web import jpegs

    made, encode = [], jpegs.encode
    monkeypatch.setattr(
        jpegs, "encode", lambda frame: made.append(time.monotonic()) or encode(frame)
    )
    before = show.feed.frames
    wait_for(lambda: show.feed.frames > before + 25)
    assert made == []
    readers = [show.connect() for _ in range(7)]
    for reader in readers:
        reader.request("GET", "/stream.mjpg")
    responses = [reader.getresponse() for reader in readers]
    counts = []
    for response in responses:
        data = b""
        while data.count(b"--frame") < 8:
            data += response.read1(65536)
        counts.append(data.count(b"--frame"))
    assert len(made) < sum(counts) / 2
    while len(made) < 20:
        for response in responses:
            response.read1(65536)
    gaps_s = np.diff(made)
    assert gaps_s.mean() > 0.9 / jpegs.MOST_PER_SECOND
    for reader in readers:
        reader.close()
    wait_for(lambda: time.monotonic() - made[-1] > 1)


def test_what_waits_for_a_slow_viewer_is_bounded_whatever_comes_since(show, monkeypatch):
    from pocketlens.runtime.live.web import guard, jpegs

    # It is not cut off meanwhile, and a few pictures are more than a connection holds.
    monkeypatch.setattr(guard, "WRITE_S", 3600.0)
    made = []
    monkeypatch.setattr(jpegs, "encode", lambda frame: made.append(1) or bytes(4 << 20))

    def rests():
        pictures, frames = len(made), show.feed.frames
        wait_for(lambda: show.feed.frames > frames + 50)
        return pictures == len(made) > 0

    with stalled(show.port, 1, ("/stream.mjpg",), times=1):
        wait_for(rests)
        assert len(made) <= 8


@pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="the kernel does not say")
def test_who_does_not_read_or_does_not_ask_is_cut_off(open_show, monkeypatch):
    from pocketlens.runtime.live.web import guard, server

    monkeypatch.setattr(guard, "WRITE_S", 0.5)
    monkeypatch.setattr(server, "_IDLE_S", 1.0)
    monkeypatch.setattr(server, "_SWEEP_S", 0.1)
    show = open_show(size_wh=(1280, 720))
    # Events are so small that it takes minutes until one who does not read them is noticed.
    with stalled(show.port, 40, ("/stream.mjpg", "/snapshot.jpg", "/", "")):
        # Half a request is none.
        with socket.create_connection(("127.0.0.1", show.port)) as half:
            half.sendall(b"GET / HTTP/1.1\r\nHost: loc")
            half.settimeout(PATIENCE_S)
            with contextlib.suppress(ConnectionResetError):
                assert half.recv(10) == b""
        # Nobody closed any of them.
        wait_for(lambda: open_sockets(show.port) == 0)
    assert show.get("/snapshot.jpg").status == 200


def open_sockets(port):
    """Count the server's ends of connections that a program still holds."""
    established, half_closed = "01", "08"
    lines = Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
    ends = [line.split()[1:4:2] for line in lines]
    return sum(
        address.endswith(f":{port:04X}") and state in (established, half_closed)
        for address, state in ends
    )


@pytest.mark.real_time
def test_fifty_stalled_viewers_do_not_slow_down_classification(tiny_tflite):
    pytest.importorskip("uvicorn", reason="the web extra is not installed")
    lines, times_ms = [], ([], [])
    page = WebPage(WebAddress("127.0.0.1", 0), announce=lines.append)

    class Turns(Sink):
        number = 0

        def result(self, frame_bgr, result):
            # In turns, so that whatever else the machine does meets both alike.
            turn, place = divmod(self.number, TURN)
            if place >= SETTLE:
                times_ms[turn % 2].append(result.classify_ms)
            self.number += 1
            if place == TURN - 1:
                viewers.pop_all().close()
                if turn % 2 == 0:
                    port = int(lines[0].rpartition(":")[2].strip("/"))
                    viewers.enter_context(stalled(port))

    with Classifier(tiny_tflite) as classifier, contextlib.ExitStack() as stack:
        capture = ThreadCapture(FakeCamera(size_wh=(1280, 720), interval_s=0.01))
        stack.callback(capture.close)
        viewers = stack.enter_context(contextlib.ExitStack())
        classify_source(classifier, capture, sinks=[page, Turns()], max_frames=8 * TURN)
        viewers.close()
    # The best turn of each: `make viewers` measures the 95th percentile, but here the machine may
    # be busy with other things, which slow down some turns of both.
    kept = TURN - SETTLE
    alone_ms, watched_ms = (np.reshape(entries, (-1, kept)).T for entries in times_ms)
    assert np.median(watched_ms, axis=0).min() < 2 * np.median(alone_ms, axis=0).min()
