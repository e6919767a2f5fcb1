"""RTSP streams, from GStreamer's server as Debian packages it."""

import socket
import subprocess
import threading
from pathlib import Path

import pytest
from timing import PATIENCE_S

from pocketlens.errors import SourceError
from pocketlens.runtime.live.capture.opening import open_capture
from pocketlens.runtime.live.frames import LIVE, STALE, Captured
from pocketlens.runtime.live.sources import SourceRequest

SERVER = Path(__file__).with_name("rtsp_server.py")
SYSTEM_PYTHON = "/usr/bin/python3"
PACKAGES = "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-good"


class Server:
    """The server in a process of its own, always on the same port."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"rtsp://me:hunter2@127.0.0.1:{self.port}/test"
        self.process = None
        self.start()

    def start(self):
        command = [SYSTEM_PYTHON, SERVER, str(self.port), "me", "hunter2"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def stop(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def server():
    probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
    try:
        subprocess.run([SYSTEM_PYTHON, "-c", probe], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"needs a real RTSP server: apt-get install {PACKAGES}")
    server = Server()
    yield server
    server.stop()


def wait_until(capture, state):
    """Return the change to a state, and the last frame before it."""
    stop = threading.Event()
    timer = threading.Timer(PATIENCE_S, stop.set)
    timer.start()
    last = None
    while (came := capture.next(stop)) is not None:
        if isinstance(came, Captured):
            last = came
        elif came.state == state:
            timer.cancel()
            return came, last
    raise AssertionError(f"not {state} in time")


@pytest.mark.real_time
def test_a_server_that_goes_is_noticed_and_seen_when_it_is_back(server):
    capture = open_capture(SourceRequest(server.url))
    try:
        came = capture.next(threading.Event())
        assert isinstance(came, Captured)
        assert came.frame_bgr.shape == (240, 320, 3)
        assert capture.fps == pytest.approx(20)
        server.stop()
        stale, last = wait_until(capture, STALE)
        # Two seconds on a machine that does nothing else, and five until it is back.
        assert stale.time_s - (last or came).time_s <= 20
        assert "hunter2" not in stale.reason
        # It is tried in vain meanwhile.
        threading.Timer(1.0, server.start).start()
        live, _ = wait_until(capture, LIVE)
        assert live.time_s - stale.time_s <= 40
    finally:
        capture.close()


@pytest.mark.parametrize("change", [("hunter2", "wrong"), ("/test", "/other")])
def test_what_is_no_stream_is_one_sentence(server, change):
    url = server.url.replace(*change)
    with pytest.raises(SourceError, match="Expected an RTSP stream at") as caught:
        open_capture(SourceRequest(url))
    assert not [word for word in ("hunter2", "wrong") if word in str(caught.value)]
