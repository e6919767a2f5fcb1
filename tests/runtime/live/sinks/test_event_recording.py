"""Videos around events: complete, bounded in memory and on the disk, and never in the way."""

import os
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager

import cv2
import numpy as np
import pytest
from fake_process import OPEN_S, START_S, FakeProcesses

from pocketlens.errors import OutputError, UsageError
from pocketlens.runtime.classifier import Category, Result
from pocketlens.runtime.live.capture.process import ProcessCapture
from pocketlens.runtime.live.decisions import Decider, DecisionSettings
from pocketlens.runtime.live.frames import (
    LIVE,
    STALE,
    Decision,
    FrameResult,
    RunInfo,
    SourceState,
)
from pocketlens.runtime.live.loop import classify_source
from pocketlens.runtime.live.sinks import event_recording
from pocketlens.runtime.live.sinks.event_recording import EventRecording, safe_name
from pocketlens.runtime.live.sources.fake import END

SIZE_WH = (400, 48)
PIXELS_PER_S = 3
# The wall clock's time of a video's begin.
NOON_S = 1_700_000_000.0


def draw(time_s):
    """Draw a bar whose place is the time, up to 120 s, which survives compression."""
    frame = np.zeros((SIZE_WH[1], SIZE_WH[0], 3), np.uint8)
    left = round(PIXELS_PER_S * time_s)
    frame[:, left : left + 20] = 255
    return frame


def play(path):
    """Return the times that a video of `film` shows, and its frame rate."""
    capture = cv2.VideoCapture(str(path))
    times_s = []
    while True:
        good, image = capture.read()
        if not good:
            return times_s, capture.get(cv2.CAP_PROP_FPS)
        columns = image.mean(axis=(0, 2)) > 128
        times_s.append((np.flatnonzero(columns).mean() - 9.5) / PIXELS_PER_S)


@contextmanager
def open_recording(folder, fps, *, live, **options):
    recording = EventRecording(folder, **options)
    recording.opened(RunInfo(fps=fps, live=live))
    yield recording
    recording.closed()


def film(events, seconds, recording, *, fps=10, start_s=0.0):
    """Feed frames that show their time; `events` are labels by time in tenths of a second."""
    label = None
    for number in range(round(seconds * fps)):
        time_s = start_s + number / fps
        changed = round(time_s * 10) in events and number % (fps // 10) == 0
        if changed:
            label = events[round(time_s * 10)]
        categories = (Category(label, 0.9, 0),) if label else ()
        decision = Decision(categories, changed)
        result = FrameResult(
            *(number, time_s, categories, categories, decision, 1.0, 1.0), at_s=NOON_S + time_s
        )
        recording.result(draw(time_s), result)


def seconds_of(path):
    """Return the first and the last time that a video shows, and how long it is."""
    times_s, fps = play(path)
    return times_s[0], times_s[-1], len(times_s) / fps


def record(folder, events, seconds, *, fps=10, **options):
    with open_recording(folder, fps, live=False, **options) as recording:
        film(events, seconds, recording, fps=fps)
    assert not [path for path in folder.iterdir() if "partial" in path.name]
    return sorted(folder.glob("*.mp4")), recording


def test_a_video_shows_what_was_before_and_after_its_event(tmp_path):
    (path,), recording = record(tmp_path / "new" / "clips", {200: "fox"}, 40)
    assert path.name == "000001_20.000s_fox.mp4"
    first_s, last_s, length_s = seconds_of(path)
    assert first_s == pytest.approx(17, abs=0.4)
    assert last_s == pytest.approx(25, abs=0.4)
    assert length_s == pytest.approx(8, abs=0.2)
    assert (recording.written, recording.lost) == (1, 0)


@pytest.mark.parametrize("at_s", [0, 1, 29.5], ids=["start", "second", "end"])
def test_an_event_near_the_start_or_the_end_has_what_there_is(tmp_path, at_s):
    (path,), _ = record(tmp_path, {round(at_s * 10): "fox"}, 30)
    first_s, last_s, length_s = seconds_of(path)
    assert first_s == pytest.approx(max(0, at_s - 3), abs=0.4)
    assert last_s == pytest.approx(min(29.9, at_s + 5), abs=0.4)
    assert length_s == pytest.approx(min(30, at_s + 5) - max(0, at_s - 3), abs=0.2)


def test_events_in_a_row_are_one_video_and_later_ones_another(tmp_path):
    paths, _ = record(tmp_path, {50: "fox", 90: "cat", 250: "dog"}, 35)
    assert [path.name for path in paths] == [
        "000001_5.000s_fox+cat.mp4",
        "000002_25.000s_dog.mp4",
    ]
    first_s, last_s, _ = seconds_of(paths[0])
    assert (first_s, last_s) == (pytest.approx(2, abs=0.4), pytest.approx(14, abs=0.4))


def test_flicker_makes_no_endless_video(tmp_path):
    events = {tenth: ("fox", "cat")[tenth % 2] for tenth in range(20, 1000)}
    paths, _ = record(tmp_path, events, 100)
    lengths_s = [seconds_of(path)[2] for path in paths]
    assert len(lengths_s) == 2
    assert lengths_s[0] == pytest.approx(62, abs=1)
    # Nothing is missing between the two.
    assert seconds_of(paths[1])[0] == pytest.approx(seconds_of(paths[0])[1], abs=0.7)


def test_nothing_known_is_an_event_after_something_only(tmp_path):
    paths, _ = record(tmp_path, {0: None, 100: "fox", 250: None}, 40)
    assert [path.name for path in paths] == [
        "000001_10.000s_fox.mp4",
        "000002_25.000s_unknown.mp4",
    ]


def test_a_name_has_what_was_decided_meanwhile(tmp_path):
    (path,), _ = record(tmp_path, {0: "cat", 20: None, 30: "fox", 40: "cat", 50: None}, 20)
    assert path.name == "000001_0.000s_cat+fox.mp4"


def test_a_stale_source_ends_its_video_at_once(tmp_path):
    with open_recording(tmp_path, 10, live=False) as recording:
        film({20: "fox"}, 3, recording)
        recording.state(SourceState(STALE, 3.0, "unplugged", 0))
        (path,) = tmp_path.iterdir()
        assert path.name == "000001_2.000s_fox.mp4"
        assert seconds_of(path)[1] == pytest.approx(2.9, abs=0.4)
        recording.state(SourceState(LIVE, 9.0, "", 1))
        film({90: None, 120: "cat"}, 10, recording, start_s=9.0)
    later = tmp_path / "000002_12.000s_cat.mp4"
    # What was before the source was away is no part of what came after.
    assert seconds_of(later)[0] == pytest.approx(9, abs=0.4)
    assert sorted(tmp_path.iterdir()) == [path, later]


@pytest.mark.parametrize("fps", [10, 30, 60])
def test_videos_have_few_frames_at_true_speed(tmp_path, fps):
    (path,), _ = record(tmp_path, {50: "fox"}, 12, fps=fps)
    times_s, rate = play(path)
    assert rate == min(fps, 15)
    assert len(times_s) / rate == pytest.approx(8, abs=0.2)
    # It goes on evenly: no second of it is missing or shown twice.
    assert np.diff(times_s[:: int(rate)]) == pytest.approx(1, abs=0.4)


@pytest.mark.parametrize("fps", [None, 0.0, 0.01, float("nan"), 90_000.0], ids=str)
def test_a_rate_that_cannot_be_does_no_harm(tmp_path, fps):
    with open_recording(tmp_path, fps, live=True) as recording:
        film({5: "fox"}, 3, recording)
    (path,) = tmp_path.iterdir()
    assert seconds_of(path)[2] == pytest.approx(3, abs=0.2)


def test_large_frames_are_made_smaller(tmp_path):
    with open_recording(tmp_path, 10, live=False) as recording:
        frame = np.zeros((1080, 1920, 3), np.uint8)
        decision = Decision((Category("fox", 0.9, 0),), True)
        recording.result(frame, FrameResult(0, 0.0, (), (), decision, 1.0, 1.0))
    (path,) = tmp_path.iterdir()
    assert cv2.VideoCapture(str(path)).read()[1].shape == (720, 1280, 3)


def test_memory_is_bounded_in_bytes(tmp_path):
    rng = np.random.default_rng(0)
    with open_recording(tmp_path, 15, live=True, held_bytes=200_000) as recording:
        for number in range(60):
            noise = rng.integers(0, 255, (240, 320, 3), np.uint8)
            event = number == 50
            decision = Decision((Category("fox", 0.9, 0),) if event else (), event)
            recording.result(noise, FrameResult(number, number / 15, (), (), decision, 1.0, 1.0))
            assert recording.held_bytes <= 200_000
    (path,) = tmp_path.iterdir()
    assert 10 < len(play(path)[0]) < 30


def test_a_cameras_video_is_named_by_the_time_of_day(tmp_path):
    with open_recording(tmp_path, None, live=True) as recording:
        film({1: "fox"}, 1, recording)
    (path,) = tmp_path.iterdir()
    number, when, label = path.stem.split("_")
    assert (number, label) == ("000001", "fox")
    # The second of the event, which is a tenth of one after the begin.
    assert when == time.strftime("%Y%m%dT%H%M%S%z", time.localtime(NOON_S))


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("tulips", "tulips"),
        ("a/b\\c:d*e?", "a-b-c-d-e"),
        ("../../etc/passwd", "etc-passwd"),
        ("Füchse + Dächse", "Füchse-+-Dächse"),
        ("狐狸", "狐狸"),
        ("\n\0", ""),
        ("🦊", ""),
        ("ü" * 200, "ü" * 30),
    ],
    ids=repr,
)
def test_labels_become_names_for_any_file_system(tmp_path, label, name):
    assert safe_name(label) == name
    (path,), _ = record(tmp_path, {2: label}, 0.5)
    assert path.name == f"000001_0.200s_{name or 'unknown'}.mp4"


def test_the_oldest_go_by_number_and_nothing_else_does(tmp_path):
    for other in ("mine.mp4", "000001_holiday.mp4", "notes.txt"):
        (tmp_path / other).write_text("mine")
    events = dict.fromkeys(range(0, 1200, 200), "fox")
    paths, recording = record(tmp_path, events, 121, keep=2)
    numbers = [path.name for path in paths if "s_fox" in path.name]
    assert numbers == ["000005_80.000s_fox.mp4", "000006_100.000s_fox.mp4"]
    assert recording.written == 6
    for other in ("mine.mp4", "000001_holiday.mp4", "notes.txt"):
        assert (tmp_path / other).read_text() == "mine"
    # A later run goes on counting, whatever the clock says.
    for path in paths:
        os.utime(path, (0, 0))
    paths, _ = record(tmp_path, {0: "cat"}, 1, keep=2)
    assert [path.name for path in paths if path.name[6:7] == "_"][-2:] == [
        "000006_100.000s_fox.mp4",
        "000007_0.000s_cat.mp4",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks on Windows")
def test_what_a_power_cut_left_is_removed_and_nobody_elses_video(tmp_path):
    import fcntl

    old, ours = (tmp_path / f".000001_1.000s_fox.{i:016x}.partial.mp4" for i in range(2))
    other = tmp_path / ".holiday.1234.partial.mp4"
    for path in (old, ours, other):
        path.write_bytes(b"half a video")
    with ours.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with open_recording(tmp_path, 10, live=False):
            pass
    assert sorted(tmp_path.iterdir()) == sorted([ours, other])


def test_a_full_disk_is_counted_and_told_once_and_over_when_there_is_room(
    tmp_path, monkeypatch, caplog
):
    room = [False]
    monkeypatch.setattr(event_recording, "has_room", lambda _: room[0])
    with open_recording(tmp_path, 10, live=False) as recording:
        film({10: "fox", 200: "cat"}, 30, recording)
        assert recording.lost == 2
        assert list(tmp_path.iterdir()) == []
        (told,) = [entry.message for entry in caplog.records]
        assert told.startswith("An event is not recorded: The disk is full: ")
        room[0] = True
        film({400: "dog"}, 10, recording, start_s=35)
    assert [path.name for path in tmp_path.iterdir()] == ["000003_40.000s_dog.mp4"]
    assert caplog.records[-1].message == "Events are recorded again; 2 were lost."
    assert (recording.written, recording.lost) == (1, 2)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limits on file sizes")
def test_a_disk_that_fills_up_while_writing_loses_the_video_and_not_the_run(tmp_path):
    program = (
        "import resource, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from pocketlens.runtime.classifier import Category\n"
        "from pocketlens.runtime.live.frames import Decision, FrameResult, RunInfo\n"
        "from pocketlens.runtime.live.sinks.event_recording import EventRecording\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "noise = np.random.default_rng(0)\n"
        "fox = (Category('fox', 0.9, 0),)\n"
        "recording = EventRecording(Path(sys.argv[1]))\n"
        "recording.opened(RunInfo(fps=10, live=False))\n"
        "for number in range(200):\n"
        "    frame = noise.integers(0, 255, (240, 320, 3), dtype=np.uint8)\n"
        "    decision = Decision(fox, number % 100 == 0)\n"
        "    result = FrameResult(number, number / 10, fox, fox, decision, 1, 1)\n"
        "    recording.result(frame, result)\n"
        "recording.closed()\n"
        "print(recording.written, recording.lost)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "0 2\n", done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_goes_is_made_again(tmp_path):
    folder = tmp_path / "clips"
    with open_recording(folder, 10, live=False) as recording:
        film({10: "fox"}, 8, recording)
        (folder / "000001_1.000s_fox.mp4").unlink()
        folder.rmdir()
        film({100: "cat"}, 8, recording, start_s=9)
    assert [path.name for path in folder.iterdir()] == ["000002_10.000s_cat.mp4"]


def test_a_folder_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="Cannot write "):
        EventRecording(tmp_path / "file").opened(RunInfo())
    with pytest.raises(UsageError, match="Received: 0"):
        EventRecording(tmp_path, keep=0)


def test_a_camera_that_goes_and_comes_back_makes_two_videos(tmp_path, clock):
    class Bright:
        def classify(self, frame_bgr):
            said = (Category("bright", 0.9, 0), Category("dark", 0.1, 1))
            return Result(said, said[:1], scores=np.array([0.9, 0.1], np.float32))

    # Eight frames a second; it ends after ten seconds and is back an eighth of one later.
    camera, stop = FakeProcesses(clock, faults={80: END}), threading.Event()
    clock.after(20.0, stop.set)
    capture = ProcessCapture(lambda: None, name="fake", clock=clock, start=camera.start)
    recording = EventRecording(tmp_path)
    # In the thread of the clock, so that no frame finds no room.
    recording.own_thread = False
    with closing(capture):
        summary = classify_source(
            Bright(),
            capture,
            decisions=Decider(("bright", "dark"), "multiclass", 0.0, DecisionSettings()),
            sinks=[recording],
            stop=stop,
            clock=clock,
        )
    assert (summary.events, summary.counts.stalls) == (2, 1)
    assert (recording.written, recording.lost) == (2, 0)
    paths = sorted(tmp_path.iterdir())
    assert [path.name[-11:] for path in paths] == ["_bright.mp4"] * 2
    # Each event came with the first frame, and its video goes on for five seconds.
    for path, time_s in zip(paths, (START_S + OPEN_S, 10.125), strict=True):
        day = time.strftime("%Y%m%dT%H%M%S%z", time.localtime(camera.start_s + time_s))
        assert path.name.split("_")[1] == day
        video = cv2.VideoCapture(str(path))
        assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 5 * 8 + 1
