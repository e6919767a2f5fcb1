"""What `pocketlens doctor` finds, says and ends with."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pocketlens.cli.main import run
from pocketlens.runtime.doctor import examination as doctor
from pocketlens.runtime.doctor import probes
from pocketlens.runtime.doctor.cameras import CameraDevice, PixelFormat
from pocketlens.runtime.doctor.examination import Extra, examine
from pocketlens.runtime.doctor.probes import Interpreter, Pictures, build_facts
from pocketlens.runtime.machine import Governor, Memory, Throttling

WEBCAM = CameraDevice(
    Path("/dev/video0"),
    ("usb-HD-index0",),
    "HD Webcam",
    "uvcvideo",
    (
        PixelFormat("MJPG", ((1920, 1080), (1280, 720), (640, 480), (320, 240))),
        PixelFormat("RG10", ((4608, 2592), (32, 24)), True),
    ),
)
PICTURES = Pictures(
    "opencv-python-headless", "4.11.0", "2.0", "12.0", "", ffmpeg=True, gstreamer=False, v4l2=True
)


@pytest.fixture(scope="module")
def healthy():
    """This machine, with all that is another's on another taken away."""
    return dataclasses.replace(
        examine(),
        system="Linux 6.6, aarch64",
        governor=Governor("ondemand", "cpufreq-dt"),
        temperature_c=50.0,
        throttling=Throttling((), ()),
        memory=Memory(10**9, 5 * 10**8),
        interpreters=(Interpreter("ai-edge-litert", "2.1.6", True),),
        pictures=PICTURES,
        cameras=(WEBCAM,),
        picamera2=False,
        in_video_group=True,
        extras=(Extra("web", "the live view in a browser", ("starlette",)),),
    )


def texts(found):
    return [problem.text for problem in found.problems]


def test_this_machine_can_classify():
    found = examine()
    assert found.interpreter.works
    assert found.interpreter.version[0].isdigit()
    assert found.pictures.opencv[0].isdigit()
    assert not [problem for problem in found.problems if problem.fatal]
    assert found.can_classify
    assert set(found.formats) == {"float32", "float16", "dynamic", "weights8", "int8"}


def test_a_healthy_machine_has_no_problems(healthy):
    assert healthy.problems == ()
    assert healthy.can_classify


BROKEN = Interpreter("ai-edge-litert", "2.3.0", False, "it crashes (SIGILL)")
OLD = Interpreter("tflite-runtime", "2.14.0", True)
NUMPY = Interpreter("tflite-runtime", "2.14.0", False, "numpy.core.multiarray failed to import")
LOCKED = CameraDevice(Path("/dev/video0"), obstacle="Permission denied")


@pytest.mark.parametrize(
    ("changes", "words", "can_classify"),
    [
        pytest.param({"interpreters": ()}, "pip install ai-edge-litert", False, id="none"),
        pytest.param({"interpreters": (BROKEN,)}, "'ai-edge-litert<2.2'", False, id="crashes"),
        pytest.param(
            {"interpreters": (BROKEN, OLD)}, "it crashes (SIGILL)", True, id="another-works"
        ),
        pytest.param({"interpreters": (NUMPY,)}, "'numpy<2'", False, id="numpy"),
        pytest.param({"interpreters": (OLD,)}, "use the weights8 file", True, id="old"),
        pytest.param(
            {"pictures": Pictures("opencv-python", problem="libGL.so.1: cannot open")},
            "pip uninstall -y opencv-python && pip install opencv-python-headless",
            False,
            id="no-libgl",
        ),
        pytest.param(
            {"pictures": Pictures(problem="No module named 'cv2'")},
            "pip install --force-reinstall numpy pillow opencv-python-headless",
            False,
            id="no-opencv",
        ),
        pytest.param(
            {"pictures": dataclasses.replace(PICTURES, ffmpeg=False)}, "no FFmpeg", True, id="video"
        ),
        pytest.param(
            {"cameras": (LOCKED,), "in_video_group": False},
            "sudo usermod -aG video $USER",
            True,
            id="permission",
        ),
        pytest.param({"cameras": (LOCKED,)}, "plug it in again", True, id="obstacle"),
        pytest.param(
            {"cameras": (dataclasses.replace(WEBCAM, flat_cable=True),)},
            "sudo apt install python3-picamera2",
            True,
            id="flat-cable",
        ),
        pytest.param(
            {"governor": Governor("powersave", "cpufreq-dt")}, "scaling_governor", True, id="slow"
        ),
        pytest.param({"temperature_c": 81.0}, "at 81 °C", True, id="hot"),
        pytest.param(
            {"throttling": Throttling(("under-voltage",), ("under-voltage",))},
            "is slowed down (under-voltage); use a stronger power supply.",
            True,
            id="power",
        ),
        pytest.param(
            {"throttling": Throttling((), ("throttled",))},
            "was since its start slowed down (throttled); cool it.",
            True,
            id="was-hot",
        ),
        pytest.param({"memory": Memory(10**9, 10**8)}, "Only 100 MB", True, id="memory"),
    ],
)
def test_each_problem_is_a_sentence_with_what_to_do(healthy, changes, words, can_classify):
    found = dataclasses.replace(healthy, **changes)
    assert found.can_classify is can_classify
    assert [text for text in texts(found) if words in text], texts(found)
    assert found.problems[0].fatal is not can_classify


def test_the_command_says_it_and_ends_with_it(healthy, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(doctor, "examine", lambda: healthy)
    assert run(["doctor"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in (
        "ai-edge-litert 2.1.6 works",
        "no windows, FFmpeg, no GStreamer, V4L2",
        "/dev/video0 HD Webcam (uvcvideo)",
        "--source usb-HD-index0",
        "MJPG 1920x1080, 1280x720, 640x480 and 1 smaller",
        "RG10 up to 4608x2592",
        "pip install 'pocketlens[web]'",
        "This machine can classify; nothing is in the way.",
    ):
        assert words in out
    broken = dataclasses.replace(healthy, interpreters=())
    monkeypatch.setattr(doctor, "examine", lambda: broken)
    assert run(["doctor"]) == 1
    assert "cannot classify:" in capsys.readouterr().out
    assert run(["doctor", "--json", str(tmp_path / "d.json")]) == 1
    assert json.loads((tmp_path / "d.json").read_text())["can_classify"] is False


def test_json_is_alone_on_standard_output(healthy, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda: healthy)
    assert run(["doctor", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cameras"][0]["path"] == "/dev/video0"
    assert found["cameras"][0]["formats"][0]["sizes_wh"][0] == [1920, 1080]
    assert found["interpreters"] == [
        {"name": "ai-edge-litert", "version": "2.1.6", "works": True, "problem": ""}
    ]
    assert found["extras"][0]["command"] == "pip install 'pocketlens[web]'"
    assert found["problems"] == []


def test_extras_are_what_the_package_declares(monkeypatch):
    declared = [
        "numpy>=1.26",
        "surely-not-installed>=1; extra == 'web'",
        'numpy>=2; extra == "train"',
        "pytest; extra == 'dev'",
    ]
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: declared)
    found = {extra.name: extra.missing for extra in doctor._find_extras()}
    assert found == {"train": (), "web": ("surely-not-installed",)}


def fake_packages(folder, monkeypatch, **sources):
    """Put modules before the real ones, here and in the processes that are started."""
    for name, text in sources.items():
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))


CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGILL)"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_what_crashes_takes_only_its_own_process_down(tmp_path, monkeypatch):
    fake_packages(tmp_path, monkeypatch, ai_edge_litert=CRASH, cv2=CRASH)
    monkeypatch.setattr(probes, "_INTERPRETERS", {"ai-edge-litert": "ai_edge_litert"})
    (broken,) = probes.find_interpreters()
    assert (broken.works, broken.problem) == (False, "it crashes (SIGILL)")
    assert probes.find_pictures_packages().problem == "it crashes (SIGILL)"


def test_what_does_not_import_is_reported_in_its_own_words(tmp_path, monkeypatch):
    message = "libGL.so.1: cannot open shared object file"
    fake_packages(tmp_path, monkeypatch, cv2=f"raise ImportError({message!r})")
    assert probes.find_pictures_packages().problem == f"ImportError: {message}"


def test_an_interpreter_that_calculates_wrongly_does_not_work(tmp_path, monkeypatch):
    wrong = """
import numpy as np
class Interpreter:
    def __init__(self, **_): pass
    def allocate_tensors(self): pass
    def get_input_details(self): return [{"index": 0, "shape": (1, 2, 2, 4)}]
    get_output_details = get_input_details
    def set_tensor(self, *_): pass
    def invoke(self): pass
    def get_tensor(self, _): return np.full((1, 2, 2, 4), np.nan)
"""
    fake_packages(tmp_path, monkeypatch, ai_edge_litert="")
    monkeypatch.setattr(probes, "_INTERPRETERS", {"ai-edge-litert": "ai_edge_litert"})
    (tmp_path / "ai_edge_litert" / "interpreter.py").write_text(wrong)
    broken = probes.find_interpreters()[0]
    assert broken.works is False
    assert "it calculates" in broken.problem


def test_doctor_runs_where_opencv_does_not_even_import(tmp_path):
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open')")
    done = subprocess.run(
        [sys.executable, "-m", "pocketlens", "doctor", "--json", "-"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )
    assert done.returncode == 1, done.stderr
    (problem,) = [entry for entry in json.loads(done.stdout)["problems"] if entry["fatal"]]
    assert "libGL.so.1" in problem["text"]


def test_no_process_no_answer(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert "no process could be started" in probes.find_pictures_packages().problem


BUILD = """
  GUI:                           QT5
    QT:                          YES (ver 5.15.16 )

  Video I/O:
    FFMPEG:                      YES
      avcodec:                   YES (59.37.100)
    GStreamer:                   NO
    v4l/v4l2:                    YES (linux/videodev2.h)
"""


def test_what_opencv_was_built_with():
    assert build_facts(BUILD) == {"gui": "QT5", "ffmpeg": True, "gstreamer": False, "v4l2": True}
    nothing = {"gui": "", "ffmpeg": False, "gstreamer": False, "v4l2": False}
    assert build_facts("  GUI:      NONE\n") == build_facts("") == nothing
