"""The window: no old picture, and no harm where there is no display or it goes away."""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from timing import PATIENCE_S, wait_for

from pocketlens.cli.main import run
from pocketlens.errors import MissingDependencyError
from pocketlens.runtime.classifier import Category
from pocketlens.runtime.live.frames import STALE, Decision, FrameResult, RunInfo, SourceState
from pocketlens.runtime.live.sinks import window_child
from pocketlens.runtime.live.sinks.window import Window, check_display
from pocketlens.runtime.live.sinks.window_child import HEADER, QUIT, READY

CATEGORIES = (Category("tulips", 0.9, 0),)
RESULT = FrameResult(0, 0.0, CATEGORIES, CATEGORIES, Decision(CATEGORIES, True), 1.0, 1.0)
LINUX = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux has displays that may be missing"
)

# Stands in for the child: keeps what it is given in the file `seen`, then does `at_the_end`.
CHILD = """
import os, sys, time
at_the_end, pictures = sys.argv[-1:], {pictures}
seen = open({seen!r}, "wb", buffering=0)
sys.stdout.buffer.write({ready!r})
sys.stdout.flush()
for _ in range(pictures):
    head = sys.stdin.buffer.read(8)
    if len(head) < 8:
        sys.exit()
    height, width = (int.from_bytes(head[at:at + 4], "little") for at in (0, 4))
    seen.write(head + sys.stdin.buffer.read(3 * height * width))
{end}
"""


@pytest.fixture
def display(tmp_path, monkeypatch):
    """A socket that listens where the display is said to be, and an OpenCV with windows."""
    monkeypatch.setattr("cv2.getBuildInformation", lambda: "  GUI:                 QT5\n")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("pocketlens.runtime.live.sinks.window._X_SOCKETS", str(tmp_path / "X"))
    monkeypatch.setenv("DISPLAY", ":7.0")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "X7"))
        listening.listen()
        yield listening


@pytest.fixture
def child(display, tmp_path, monkeypatch):
    """Say how the child behaves; gives the pictures that it saw."""
    seen = tmp_path / "seen"

    def pictures():
        data, found = seen.read_bytes() if seen.is_file() else b"", []
        while len(data) >= HEADER.size:
            height, width = HEADER.unpack(data[: HEADER.size])
            end = HEADER.size + 3 * height * width
            if len(data) < end:
                break
            found.append(np.frombuffer(data[HEADER.size : end], np.uint8))
            found[-1] = found[-1].reshape(height, width, 3)
            data = data[end:]
        return found

    def behave(pictures_before_the_end, end="", ready=READY):
        program = CHILD.format(
            pictures=pictures_before_the_end, seen=str(seen), end=end, ready=ready
        )
        monkeypatch.setattr(
            "pocketlens.runtime.live.sinks.window.start_child",
            lambda _, **options: subprocess.Popen([sys.executable, "-c", program], **options),
        )
        return pictures

    return behave


def picture():
    return np.full((120, 160, 3), 200, np.uint8)


def open_window(stop=None):
    window = Window()
    window.opened(RunInfo(stop=stop or threading.Event()))
    return window


@LINUX
def test_a_stale_window_keeps_no_picture_and_no_label(child):
    pictures = child(100)
    window, frame = open_window(), picture()
    window.result(frame, RESULT)
    wait_for(lambda: len(pictures()) == 1)
    window.state(SourceState(STALE, 2.0, "unplugged", 0))
    wait_for(lambda: len(pictures()) == 2)
    window.closed()
    shown = pictures()
    assert (shown[0] == 200).mean() > 0.5
    assert (shown[0] != frame).any()
    assert shown[1].shape == frame.shape
    assert (shown[1] == 40).mean() > 0.8
    assert (frame == 200).all()


@LINUX
def test_a_user_who_quits_ends_the_run(child, caplog):
    child(1, end="sys.stdout.write('quit\\n')")
    stop = threading.Event()
    window = open_window(stop)
    assert not stop.is_set()
    window.result(picture(), RESULT)
    assert stop.wait(PATIENCE_S)
    window.closed()
    assert not caplog.records


@LINUX
@pytest.mark.parametrize("end", ["os._exit(1)", "os.kill(os.getpid(), 9)"], ids=["exit", "killed"])
def test_a_display_that_goes_is_told_once_and_ends_nothing(child, caplog, end):
    child(1, end=end)
    stop = threading.Event()
    window = open_window(stop)
    window.result(picture(), RESULT)
    wait_for(lambda: caplog.records)
    for _ in range(3):
        window.result(picture(), RESULT)
    window.state(SourceState(STALE, 2.0, "unplugged", 0))
    window.closed()
    told = [entry.message for entry in caplog.records]
    assert told == ["The window has closed; the run continues without it."]
    assert not stop.is_set()


@LINUX
def test_a_display_that_hangs_holds_up_neither_the_frames_nor_the_end(child):
    child(1, end="time.sleep(3600)")
    window, frame = open_window(), np.zeros((720, 1280, 3), np.uint8)
    for _ in range(50):
        window.result(frame, RESULT)
    window.closed()
    # It was not waited for.
    assert window._child.returncode == -signal.SIGKILL


@LINUX
def test_a_window_that_does_not_open_is_one_sentence(child):
    child(0, ready=b"")
    with pytest.raises(MissingDependencyError, match="OpenCV does not open one here"):
        open_window()


@LINUX
@pytest.mark.parametrize(
    ("environment", "words"),
    [
        pytest.param({}, "DISPLAY is not set", id="none"),
        pytest.param({"DISPLAY": ":8"}, "no answer from DISPLAY=:8", id="nobody-listens"),
        pytest.param({"DISPLAY": "nonsense"}, "DISPLAY=nonsense", id="nonsense"),
        pytest.param({"DISPLAY": "127.0.0.1:59000"}, "no answer", id="no-such-port"),
        pytest.param(
            {"WAYLAND_DISPLAY": "wayland-9"}, "WAYLAND_DISPLAY=wayland-9", id="no-wayland"
        ),
    ],
)
def test_no_display_is_one_sentence(display, monkeypatch, environment, words):
    monkeypatch.delenv("DISPLAY")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MissingDependencyError, match=words):
        check_display()


@LINUX
@pytest.mark.parametrize("name", ["DISPLAY", "WAYLAND_DISPLAY"])
def test_a_display_that_answers_is_found(display, tmp_path, monkeypatch, name):
    if name == "WAYLAND_DISPLAY":
        monkeypatch.delenv("DISPLAY")
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        monkeypatch.setenv(name, "X7")
    check_display()


def test_a_window_needs_an_opencv_with_windows(tiny_tflite, tiny_photos, monkeypatch, capfd):
    monkeypatch.setattr("cv2.getBuildInformation", lambda: "  GUI:                 NONE\n")
    source = str(tiny_photos / "circle")
    assert run(["live", str(tiny_tflite), "--source", source, "--display"]) == 1
    assert "pip install opencv-python" in capfd.readouterr().err


@pytest.fixture
def screen(monkeypatch):
    """What the child shows; `keys` are pressed, and it is closed after `visible` looks."""

    state = SimpleNamespace(shown=[], sizes_wh=[], keys=[], visible=10**6, closed=False)

    def look(*_):
        state.visible -= 1
        return 1.0 if state.visible >= 0 else 0.0

    def wait(_):
        time.sleep(0.001)
        return state.keys.pop(0) if state.keys else -1

    monkeypatch.setattr("cv2.namedWindow", lambda *_: None)
    monkeypatch.setattr("cv2.resizeWindow", lambda _, *size_wh: state.sizes_wh.append(size_wh))
    monkeypatch.setattr("cv2.imshow", lambda _, shown: state.shown.append(shown))
    monkeypatch.setattr("cv2.waitKey", wait)
    monkeypatch.setattr("cv2.getWindowProperty", look)
    monkeypatch.setattr("cv2.destroyAllWindows", lambda: setattr(state, "closed", True))
    return state


@pytest.mark.parametrize("how", ["q", "\x1b", "closed"], ids=["q", "esc", "closed"])
def test_the_child_tells_that_the_user_quits(screen, how):
    if how == "closed":
        screen.visible = 3
    else:
        screen.keys = [-1, -1, ord(how)]
    ours, theirs = os.pipe()
    answers = io.BytesIO()
    # Closed in the other order the reading thread would be waited for.
    with open(ours, "rb") as pictures, open(theirs, "wb") as parent:
        parent.write(HEADER.pack(2, 3) + bytes(range(18)))
        parent.flush()
        window_child.show(pictures, answers)
    assert answers.getvalue() == READY + QUIT
    assert screen.closed


@pytest.mark.parametrize("tail", [b"", b"\x02", HEADER.pack(9, 9) + b"half"], ids=len)
def test_the_child_ends_with_its_parent(screen, tail):
    answers = io.BytesIO()
    ours, theirs = os.pipe()
    with open(ours, "rb") as pictures:
        with open(theirs, "wb") as parent:
            parent.write(HEADER.pack(2, 3) + bytes(range(18)))
            parent.flush()
            worker = threading.Thread(target=window_child.show, args=(pictures, answers))
            worker.start()
            wait_for(lambda: screen.shown)
            parent.write(tail)
        worker.join(PATIENCE_S)
        assert not worker.is_alive()
    assert screen.shown[0].tolist() == np.arange(18).reshape(2, 3, 3).tolist()
    assert len(screen.shown) == 1
    assert screen.sizes_wh == [(3, 2)]
    assert answers.getvalue() == READY
    assert screen.closed
