"""The fake camera: its frames, and the script that `--source fake:SCRIPT` takes."""

import json
import sys
import threading

import pytest
from timing import PATIENCE_S

from pocketlens.cli.main import run
from pocketlens.clock import CLOCK
from pocketlens.errors import SourceError, UsageError
from pocketlens.runtime.live.capture.opening import open_capture
from pocketlens.runtime.live.frames import STALE, SourceState
from pocketlens.runtime.live.sources import SourceRequest, open_source
from pocketlens.runtime.live.sources.fake import ERROR, FakeCamera, frame_number, parse_script


def read_all(source):
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    return frames


def test_a_fake_camera_follows_its_script():
    camera = FakeCamera(frames=4, faults={2: ERROR})
    assert [frame_number(camera.read()) for _ in range(2)] == [0, 1]
    with pytest.raises(SourceError, match="Expected frame 2"):
        camera.read()
    assert frame_number(camera.read()) == 3
    assert camera.read() is None


def test_frame_numbers_are_told_apart_beyond_a_byte():
    camera = FakeCamera(frames=300)
    assert [frame_number(frame) for frame in read_all(camera)] == list(range(300))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", {}, id="nothing"),
        pytest.param("hang=3", {"faults": {3: "hang"}}, id="fault"),
        pytest.param("half=3-5", {"faults": dict.fromkeys((3, 4, 5), "half")}, id="range"),
        pytest.param(
            "end=1,kill=2,end=4", {"faults": {1: "end", 2: "kill", 4: "end"}}, id="several"
        ),
        pytest.param("away=10-19", {"away": range(10, 20)}, id="away"),
        pytest.param("stuck=10", {"hangs_on_open": range(10, 11)}, id="stuck"),
        pytest.param("delay=3:1.5,delay=9:2", {"delays_s": {3: 1.5, 9: 2.0}}, id="delays"),
        pytest.param("size=1280x720:50", {"sizes_wh": {50: (1280, 720)}}, id="size"),
        pytest.param("still", {"still": True}, id="still"),
    ],
)
def test_a_script_becomes_arguments(text, expected):
    nothing = {"faults": {}, "delays_s": {}, "sizes_wh": {}}
    assert parse_script(text) == {**nothing, **expected}


@pytest.mark.parametrize(
    "text",
    [
        *("hang", "hang=", "hang=x", "hang=3:1", "still=3", "delay=3", "delay=3:1.2.3"),
        *("delay=3-4:1", "size=64x48", "size=3", "nonsense=3", "hang=3,,end=4", "hang=3;end=4"),
        "away=3x4:5",
    ],
)
def test_what_is_no_script_is_one_sentence(text):
    with pytest.raises(UsageError, match="Expected a fake camera's script"):
        parse_script(text)


def test_size_and_rate_are_those_that_were_asked_for():
    source = open_source(SourceRequest("fake:size=32x24:1", size_wh=(64, 48), fps=100.0))
    assert (source.live, source.fps) == (True, 100.0)
    assert [source.read().shape for _ in range(2)] == [(48, 64, 3), (24, 32, 3)]


def test_opened_again_it_goes_on_with_the_frame_that_is_due():
    begun_s = CLOCK.now_s() - 10
    source = open_source(SourceRequest("fake:hang=3", fps=10.0, begun_s=begun_s))
    assert 100 <= frame_number(source.read()) <= 10 * (CLOCK.now_s() - begun_s)


def test_frames_are_late_by_what_its_script_says(clock):
    camera = FakeCamera(interval_s=0.125, delays_s={2: 1.5}, clock=clock)
    times_s = []
    for number in range(4):
        assert frame_number(camera.read()) == number
        times_s.append(clock.now_s() - 1000)
    assert times_s == [0.125, 0.25, 1.875, 2.0]
    # Whoever reads late loses no time of its own to it.
    clock.advance(1.0)
    camera.read()
    assert clock.now_s() == 1003.0
    opened_again = FakeCamera(interval_s=0.125, since_s=1000.0, clock=clock)
    assert frame_number(opened_again.read()) == 25


@pytest.mark.real_time
@pytest.mark.skipif(sys.platform == "win32", reason="a camera's own process needs descriptors")
def test_a_fault_happens_once_and_the_camera_is_opened_again():
    # After 2, 8, 32 and 128 s: a process that starts too late for one meets the next.
    capture = open_capture(SourceRequest("fake:kill=100,kill=400,kill=1600,kill=6400", fps=50.0))
    stop, states = threading.Event(), []
    timer = threading.Timer(PATIENCE_S, stop.set)
    timer.start()
    try:
        while len(states) < 2 and (came := capture.next(stop)) is not None:
            states += [came.state] if isinstance(came, SourceState) else []
    finally:
        capture.close()
        timer.cancel()
    assert states == [STALE, "live"]
    assert capture.counts.reconnects >= 1


def test_live_plays_a_script(tiny_tflite, capfd):
    options = ["--source", "fake:still", "--fps", "50", "--size", "64x48"]
    assert run(["live", str(tiny_tflite), *options, "--max-frames", "5", "--jsonl", "-"]) == 0
    answers = [json.loads(line)["answers"] for line in capfd.readouterr().out.splitlines()]
    assert len(answers) == 5
    assert answers == [answers[0]] * 5
    assert run(["live", str(tiny_tflite), "--source", "fake:nonsense=3"]) == 2
    assert "Expected a fake camera's script" in capfd.readouterr().err
