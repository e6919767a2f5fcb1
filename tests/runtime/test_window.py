"""The window: no old picture, and no crash where there is no display or it goes away."""

import socket
import sys
import threading

import cv2
import numpy as np
import pytest

from pocketlens.cli import run
from pocketlens.errors import MissingDependencyError
from pocketlens.runtime.captures import STALE, SourceState
from pocketlens.runtime.classifier import Category
from pocketlens.runtime.decisions import Decision
from pocketlens.runtime.live import FrameResult
from pocketlens.runtime.window import Window, check_display

CATEGORIES = (Category("tulips", 0.9, 0),)
RESULT = FrameResult(0, 0.0, CATEGORIES, CATEGORIES, Decision(CATEGORIES, True), 1.0, 1.0)
LINUX = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux has displays that may be missing"
)


@pytest.fixture
def display(tmp_path, monkeypatch):
    """A socket that listens where the display is said to be, and an OpenCV with windows."""
    monkeypatch.setattr("cv2.getBuildInformation", lambda: "  GUI:                 QT5\n")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("pocketlens.runtime.window._X_SOCKETS", str(tmp_path / "X"))
    monkeypatch.setenv("DISPLAY", ":7.0")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "X7"))
        listening.listen()
        yield listening


@pytest.fixture
def shown(monkeypatch):
    """The pictures that a window shows."""
    pictures = []
    monkeypatch.setattr("cv2.namedWindow", lambda *_: None)
    monkeypatch.setattr("cv2.imshow", lambda _, picture: pictures.append(picture))
    monkeypatch.setattr("cv2.waitKey", lambda _: -1)
    monkeypatch.setattr("cv2.getWindowProperty", lambda *_: 1.0)
    monkeypatch.setattr("cv2.destroyAllWindows", lambda: pictures.append("closed"))
    return pictures


def picture():
    return np.full((120, 160, 3), 200, np.uint8)


@LINUX
def test_a_stale_window_keeps_no_picture_and_no_label(display, shown):
    window, frame = Window(threading.Event()), picture()
    window(frame, RESULT)
    window.watch(SourceState(STALE, 2.0, "unplugged", 0))
    assert (shown[0] == 200).mean() > 0.5
    assert shown[1].shape == frame.shape
    assert (shown[1] == 40).mean() > 0.8
    assert (frame == 200).all()
    window.close()
    assert shown[-1] == "closed"


@LINUX
@pytest.mark.parametrize("name", ["q", "\x1b", "closed"], ids=["q", "esc", "closed"])
def test_a_key_or_closing_it_ends_the_run(display, shown, monkeypatch, name):
    if name == "closed":
        monkeypatch.setattr("cv2.getWindowProperty", lambda *_: 0.0)
    else:
        monkeypatch.setattr("cv2.waitKey", lambda _: ord(name))
    stop = threading.Event()
    Window(stop)(picture(), RESULT)
    assert stop.is_set()


@LINUX
def test_a_display_that_goes_is_told_once_and_not_asked_again(display, shown, caplog):
    stop = threading.Event()
    window = Window(stop)
    window(picture(), RESULT)
    display.close()
    for _ in range(3):
        window(picture(), RESULT)
    window.watch(SourceState(STALE, 2.0, "unplugged", 0))
    window.close()
    assert len(shown) == 1
    assert [entry.message for entry in caplog.records] == [
        "The window is gone and the run goes on without it: no display answers."
    ]
    assert not stop.is_set()


@LINUX
def test_a_window_that_fails_is_told_once(display, shown, monkeypatch, caplog):
    window = Window(threading.Event())

    def fail(*_):
        raise cv2.error("(-2) no\nwindow")

    monkeypatch.setattr("cv2.imshow", fail)
    window(picture(), RESULT)
    window(picture(), RESULT)
    assert len(caplog.records) == 1
    assert "no window" in caplog.records[0].message


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
