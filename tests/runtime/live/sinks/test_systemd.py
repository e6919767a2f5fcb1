"""What systemd hears: over a real socket, from a real run with a real stream."""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_process import FakeProcesses
from timing import PATIENCE_S, wait_for

from pocketlens.runtime.classifier import Category, Result
from pocketlens.runtime.live.capture.process import ProcessCapture
from pocketlens.runtime.live.frames import STALE, Decision, FrameResult, Sink, SourceState
from pocketlens.runtime.live.loop import classify_source
from pocketlens.runtime.live.sinks.systemd import Service, find_service
from pocketlens.runtime.live.sources.fake import HANG

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systemd is Linux's")

FRAME = np.zeros((4, 4, 3), np.uint8)
_numbers = itertools.count()


class Manager:
    """Stands in for systemd: a datagram socket that keeps every line with its time."""

    def __init__(self, address):
        self.address = address
        self.lines = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            for line in self._socket.recv(4096).decode().split("\n"):
                self.lines.append((time.monotonic(), line))

    def said(self, start, after_s=0.0):
        return [
            now_s for now_s, line in list(self.lines) if line.startswith(start) and now_s > after_s
        ]

    def wait_for(self, start, after_s=0.0):
        return wait_for(lambda: self.said(start, after_s), lambda: (start, self.lines[-5:]))[0]


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    if request.param == "path":
        return Manager(str(tmp_path / "notify"))
    return Manager(f"@pocketlens-test-{os.getpid()}-{next(_numbers)}")


def result(label="tulips"):
    categories = (Category(label, 0.9, 0),)
    return FrameResult(0, 0.0, categories, categories, Decision(categories, True), 1.0, 1.0)


@contextmanager
def open_service(address, watchdog_s=None, **options):
    service = Service(address, watchdog_s, **options)
    yield service
    service.closed()


def test_ready_comes_with_the_first_result_and_once(manager, clock):
    with open_service(manager.address, watchdog_s=2.0, clock=clock) as service:
        service.state(SourceState(STALE, 1.0, "unplugged", 0))
        manager.wait_for("STATUS=stale: unplugged")
        assert manager.said("READY=1") == manager.said("WATCHDOG=1") == []
        service.result(FRAME, result())
        clock.advance(0.5)
        service.result(FRAME, result())
        wait_for(lambda: len(manager.said("WATCHDOG=1")) == 2)
    manager.wait_for("STOPPING=1")
    assert len(manager.said("READY=1")) == 1
    assert len(manager.said("STATUS=tulips 0.90")) == 1


class Heard(Sink):
    """Notes by the clock what a service has said; given to a run behind it."""

    def __init__(self, address, clock):
        self.said = {}
        self._clock, self._began_s = clock, clock.now_s()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def result(self, frame_bgr, result):
        with contextlib.suppress(BlockingIOError):
            for line in self._socket.recv(4096).decode().split("\n"):
                self.said.setdefault(line, []).append(self._clock.now_s() - self._began_s)

    def state(self, state):
        self.result(FRAME, None)

    def closed(self):
        self._socket.close()


def test_pings_come_four_times_in_the_watchdogs_time_and_the_status_once_a_second(tmp_path, clock):
    address = str(tmp_path / "notify")
    heard = Heard(address, clock)
    with open_service(address, watchdog_s=2.0, clock=clock) as service:
        for _ in range(20):
            service.result(FRAME, result())
            heard.result(FRAME, result())
            clock.advance(0.125)
    heard.closed()
    assert heard.said["READY=1"] == [0]
    assert heard.said["WATCHDOG=1"] == [0, 0.5, 1, 1.5, 2]
    assert heard.said["STATUS=tulips 0.90"] == [0, 1, 2]


def test_no_ping_comes_while_the_source_is_stale(tmp_path, clock):
    class Classifier:
        def classify(self, frame_bgr):
            categories = (Category("tulips", 0.9, 0),)
            return Result(categories, categories)

    # Eight frames a second from 0.625 s on; the 80th never comes, and it is back at 14.6 s.
    camera, stop = FakeProcesses(clock, faults={80: HANG}), threading.Event()
    clock.after(15.75, stop.set)
    address = str(tmp_path / "notify")
    heard = Heard(address, clock)
    sinks = [Service(address, 2.0, clock=clock), heard]
    capture = ProcessCapture(lambda: None, name="fake", clock=clock, start=camera.start)
    with contextlib.closing(capture):
        classify_source(Classifier(), capture, sinks=sinks, stop=stop, clock=clock)
    assert heard.said["READY=1"] == [0.625]
    fresh_s = [0.625 + 0.5 * number for number in range(19)]
    assert heard.said["WATCHDOG=1"] == pytest.approx([*fresh_s, 14.6, 15.125, 15.625])
    assert heard.said["STATUS=stale: no new frame for 1.5 s"] == pytest.approx([11.375])


def test_no_ping_without_a_watchdog(manager):
    with open_service(manager.address) as service:
        service.result(FRAME, result())
    manager.wait_for("STOPPING=1")
    assert manager.said("WATCHDOG=1") == []


def test_a_label_with_a_line_end_is_no_other_message(manager):
    with open_service(manager.address) as service:
        service.result(FRAME, result("a\nSTOPPING=1\nMAINPID=1"))
        manager.wait_for("STATUS=a STOPPING=1 MAINPID=1 0.90")
    manager.wait_for("STATUS=stopping")
    assert manager.said("MAINPID") == []


def test_what_nobody_hears_is_no_error(tmp_path):
    with open_service(str(tmp_path / "nobody"), 1.0) as service:
        service.result(FRAME, result())


def test_a_manager_that_does_not_read_holds_nothing_up(tmp_path):
    deaf = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    deaf.bind(str(tmp_path / "deaf"))
    with open_service(str(tmp_path / "deaf"), 1e-9) as service:
        sending = threading.Thread(
            target=lambda: [service.result(FRAME, result()) for _ in range(3000)], daemon=True
        )
        sending.start()
        sending.join(PATIENCE_S)
        assert not sending.is_alive()
    deaf.close()


@pytest.mark.parametrize(
    ("environment", "pings"),
    [
        pytest.param({}, 0, id="no-watchdog"),
        pytest.param({"WATCHDOG_USEC": "8000000"}, 4, id="for-anybody"),
        pytest.param({"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": str(os.getpid())}, 4, id="us"),
        pytest.param({"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "1"}, 0, id="another"),
        pytest.param({"WATCHDOG_USEC": "0"}, 0, id="zero"),
        pytest.param({"WATCHDOG_USEC": "soon"}, 0, id="nonsense"),
    ],
)
def test_the_watchdog_is_read_from_the_environment(manager, clock, environment, pings):
    service = find_service({"NOTIFY_SOCKET": manager.address, **environment}, clock=clock)
    # Seven seconds of results; a socket has room for ten messages that nobody has read.
    for number in range(7):
        service.result(FRAME, result(f"at-{number}"))
        manager.wait_for(f"STATUS=at-{number} ")
        clock.advance(1.0)
    service.closed()
    manager.wait_for("STOPPING=1")
    assert len(manager.said("WATCHDOG=1")) == pings


@pytest.mark.parametrize("address", [None, "", "relative", "vsock:2:1"])
def test_without_a_socket_there_is_no_service(address):
    assert find_service({} if address is None else {"NOTIFY_SOCKET": address}) is None


def start_live(model, source, *options, **environment):
    command = [sys.executable, "-m", "pocketlens", "live", model, "--source", source, *options]
    return subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.real_time
def test_pings_come_while_frames_are_fresh_stop_and_come_back(tiny_tflite, mjpeg_server, tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    watchdog = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
    process = start_live(tiny_tflite, mjpeg_server.url("me:hunter2@"), **watchdog)
    try:
        manager.wait_for("READY=1")
        assert manager.said("READY=1")[0] <= manager.wait_for("WATCHDOG=1")
        for _ in range(5):
            manager.wait_for("WATCHDOG=1", time.monotonic())
        mjpeg_server.silent = True
        stale_s = manager.wait_for("STATUS=stale")
        # Its process is replaced, while nothing is classified.
        before = len(mjpeg_server.sockets)
        wait_for(lambda: len(mjpeg_server.sockets) > before)
        assert manager.said("WATCHDOG=1", stale_s) == []
        assert process.poll() is None
        back_s = time.monotonic()
        mjpeg_server.silent = False
        manager.wait_for("WATCHDOG=1", back_s)
        process.send_signal(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert len(manager.said("READY=1")) == 1
    assert "hunter2" not in out + err + "".join(line for _, line in manager.lines)


def hang_in_the_source(process, server):
    """Stop the process that reads: no read ends, and no wish to close is heard."""
    listed = Path(f"/proc/{process.pid}/task").glob("*/children")
    for child in [int(child) for path in listed for child in path.read_text().split()]:
        os.kill(child, signal.SIGSTOP)


def fall_silent(process, server):
    server.silent = True


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("fault", "stale"),
    [
        pytest.param(lambda process, server: None, False, id="reading"),
        pytest.param(hang_in_the_source, False, id="hanging"),
        pytest.param(hang_in_the_source, True, id="hanging-and-stale"),
        pytest.param(fall_silent, True, id="silent"),
        pytest.param(lambda process, server: server.stop(), True, id="gone"),
    ],
)
def test_sigterm_ends_at_once_with_a_recording_that_plays(
    tiny_tflite, mjpeg_server, tmp_path, fault, stale
):
    recording, log = tmp_path / "seen.mp4", tmp_path / "seen.jsonl"
    outputs = ["--record", recording, "--jsonl", log]
    process = start_live(tiny_tflite, mjpeg_server.url(), *outputs)

    def entries():
        text = log.read_text("utf-8") if log.is_file() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]

    def wait_until(enough):
        def there():
            assert process.poll() is None, process.communicate()
            return enough(entries())

        wait_for(there)

    try:
        wait_until(lambda found: len([entry for entry in found if "frame" in entry]) >= 10)
        fault(process, mjpeg_server)
        if stale:
            wait_until(lambda found: found[-1].get("state") == STALE)
        stopped_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE_S)
        # It takes five seconds at most on a machine with nothing else to do.
        assert time.monotonic() - stopped_s <= 30
    finally:
        process.kill()
    assert process.returncode == 0, err
    capture = cv2.VideoCapture(str(recording))
    assert capture.read()[0]
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) >= 1
    capture.release()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seen.jsonl", "seen.mp4"]
