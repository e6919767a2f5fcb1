"""Recordings: playable however they end, true in time, nothing overwritten."""

import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from pocketlens.errors import OutputError, OutputExistsError, UsageError
from pocketlens.runtime.classifier import Category
from pocketlens.runtime.live.frames import Decision, FrameResult, RunInfo
from pocketlens.runtime.live.sinks.recording import Recorder, Recording


def frame(grey=100, size_wh=(64, 48)):
    return np.full((size_wh[1], size_wh[0], 3), grey, np.uint8)


def play(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        good, image = capture.read()
        if not good:
            return frames, capture.get(cv2.CAP_PROP_FPS)
        frames.append(image)


def test_every_frame_is_recorded_in_order(tmp_path):
    greys = [20, 80, 140, 200]
    with Recording(tmp_path / "new" / "r.mp4", 12.5) as recording:
        for grey in greys:
            recording.write(frame(grey))
    frames, fps = play(tmp_path / "new" / "r.mp4")
    assert [float(f.mean()) for f in frames] == pytest.approx(greys, abs=6)
    assert fps == pytest.approx(12.5)


@pytest.mark.parametrize(
    ("size_wh", "recorded_wh"),
    [
        pytest.param((63, 47), (62, 46), id="odd"),
        pytest.param((64, 48), (64, 48), id="even"),
        pytest.param((1, 1), (2, 2), id="one-pixel"),
        pytest.param((101, 3), (100, 2), id="sliver"),
    ],
)
def test_sizes_are_made_even(tmp_path, size_wh, recorded_wh):
    with Recording(tmp_path / "r.mp4", 25) as recording:
        for _ in range(3):
            recording.write(frame(size_wh=size_wh))
    frames, _ = play(tmp_path / "r.mp4")
    assert [(f.shape[1], f.shape[0]) for f in frames] == [recorded_wh] * 3


def test_a_change_of_size_is_resized(tmp_path):
    sizes = [(64, 48), (128, 96), (32, 24), (65, 49), (64, 48)]
    with Recording(tmp_path / "r.mp4", 25) as recording:
        for size_wh in sizes:
            recording.write(frame(size_wh=size_wh))
    frames, _ = play(tmp_path / "r.mp4")
    assert [f.shape for f in frames] == [(48, 64, 3)] * 5
    assert [float(f.mean()) for f in frames] == pytest.approx([100] * 5, abs=5)


@pytest.mark.parametrize("camera_fps", [7, 24, 30, 60], ids=lambda fps: f"{fps}fps")
def test_a_camera_plays_at_true_speed(tmp_path, camera_fps):
    # The camera declares 30 and really gives something else.
    seconds = 3
    with Recording(tmp_path / "r.mp4", 30) as recording:
        for number in range(seconds * camera_fps):
            recording.write(frame(), 5.0 + number / camera_fps)
    frames, fps = play(tmp_path / "r.mp4")
    assert len(frames) / fps == pytest.approx(seconds, abs=0.16)


def test_a_gap_shows_the_frame_before(tmp_path):
    with Recording(tmp_path / "r.mp4", 10) as recording:
        recording.write(frame(40), 0.0)
        recording.write(frame(200), 0.5)
    frames, _ = play(tmp_path / "r.mp4")
    assert [round(float(f.mean()), -1) for f in frames] == pytest.approx([40] * 5 + [200], abs=10)


@pytest.mark.parametrize("fps", [None, 0.0, float("nan"), 90_000.0, -1.0], ids=str)
def test_a_rate_that_cannot_be_becomes_25(tmp_path, fps):
    with Recording(tmp_path / "r.mp4", fps) as recording:
        recording.write(frame())
    assert play(tmp_path / "r.mp4")[1] == pytest.approx(25)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError], ids=lambda e: e.__name__)
def test_an_interrupted_recording_is_kept_and_playable(tmp_path, error):
    path = tmp_path / "r.mp4"
    recording = Recording(path, 25)

    def record():
        with recording:
            for _ in range(5):
                recording.write(frame())
            assert not path.exists()
            raise error

    with pytest.raises(error):
        record()
    assert len(play(path)[0]) == 5
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_recorded_leaves_nothing(tmp_path):
    with Recording(tmp_path / "r.mp4", 25):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_refused_and_untouched(tmp_path):
    path = tmp_path / "r.mp4"
    path.write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        Recording(path, 25)
    assert path.read_bytes() == b"mine"
    with Recording(path, 25, overwrite=True) as recording:
        recording.write(frame())
        assert path.read_bytes() == b"mine"
    assert len(play(path)[0]) == 1


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"r\.mp4"):
        Recording(tmp_path / "r.avi", 25)


def test_a_folder_that_is_a_file_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Cannot write "):
        Recording(tmp_path / "file" / "r.mp4", 25)


def test_a_writer_that_does_not_open_is_an_output_error(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2.VideoWriter, "fourcc", lambda *_: -2)
    with (
        pytest.raises(OutputError, match=r"Cannot write the video .*: no 64x48"),
        Recording(tmp_path / "r.mp4", 25) as recording,
    ):
        recording.write(frame())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limits on file sizes")
def test_a_full_disk_is_an_output_error_and_leaves_nothing(tmp_path):
    program = (
        "import resource, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from pocketlens.runtime.live.sinks.recording import Recording\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "noise = np.random.default_rng(0)\n"
        "with Recording(Path(sys.argv[1]), 25) as recording:\n"
        "    for _ in range(20):\n"
        "        recording.write(noise.integers(0, 255, (240, 320, 3), dtype=np.uint8))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "r.mp4")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "OutputError: Expected to write a playable recording" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_hours_without_frames_are_left_out(tmp_path):
    times_s = [0.0, 0.1, 0.2, 5.0, 7200.0, 7200.1]
    with Recording(tmp_path / "r.mp4", 10) as recording:
        for time_s in times_s:
            recording.write(frame(), time_s)
    # Five seconds are filled, two hours are not.
    assert len(play(tmp_path / "r.mp4")[0]) == 51 + 2


def test_a_disk_that_is_nearly_full_ends_a_recording_that_plays(tmp_path, monkeypatch, caplog):
    free = [1 << 30]
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free[0]))
    path = tmp_path / "r.mp4"
    recording = Recording(path, 25)

    def record():
        with recording:
            for number in range(100):
                if number == 30:
                    free[0] = 1000
                recording.write(frame())

    with pytest.raises(OutputError, match=r"ends after 50 frames, with 50 left out"):
        record()
    assert len(play(path)[0]) == 50
    assert [entry.message for entry in caplog.records] == [
        f"The disk is full: {path} ends after 50 frames."
    ]
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_full_from_the_start_is_one_sentence_and_leaves_nothing(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with (
        pytest.raises(OutputError, match=r"ends after 0 frames, with 1 left out"),
        Recording(tmp_path / "r.mp4", 25) as recording,
    ):
        recording.write(frame())
    assert list(tmp_path.iterdir()) == []


def test_the_decision_is_drawn(tmp_path):
    categories = (Category("tulips", 0.9, 0), Category("daisy", 0.1, 1))
    shown = []
    recorder = Recorder(tmp_path / "r.mp4")
    recorder.opened(RunInfo(live=False, fps=25.0))
    for number, decision in enumerate([Decision(categories[:1], True), Decision((), True)]):
        shown.append(np.full((240, 320, 3), 100, np.uint8))
        result = FrameResult(number, number / 25, categories, categories[:1], decision, 1.0, 1.0)
        recorder.result(shown[-1], result)
    recorder.closed()
    known, unknown = shown
    assert (known != unknown).any()
    frames, _ = play(tmp_path / "r.mp4")
    for played, own, other in zip(frames, (known, unknown), (unknown, known), strict=True):
        far = [np.abs(played.astype(int) - frame_bgr).mean() for frame_bgr in (own, other)]
        assert far[0] < far[1]
    # "unknown" is a large row of its own, above both labels.
    heights = [np.flatnonzero((frame_bgr != 100).any(axis=(1, 2)))[-1] for frame_bgr in shown]
    assert heights[1] > heights[0]


@pytest.mark.parametrize("live", [True, False], ids=["camera", "file"])
def test_a_recording_follows_the_times_of_the_frames(tmp_path, live):
    recorder = Recorder(tmp_path / "r.mp4")
    recorder.opened(RunInfo(live=live, fps=10.0))
    for time_s in (0.0, 1.0, 2.0):
        recorder.result(frame(), FrameResult(0, time_s, (), (), Decision((), False), 1.0, 1.0))
    recorder.closed()
    assert len(play(tmp_path / "r.mp4")[0]) == 21


@pytest.mark.parametrize(
    ("frames", "said"),
    [(1, "Written to {}"), (0, "No frame came, so {} was not written.")],
    ids=["a frame", "no frame"],
)
def test_it_is_said_whether_there_is_a_file(tmp_path, caplog, frames, said):
    recorder = Recorder(tmp_path / "r.mp4")
    recorder.opened(RunInfo(live=True, fps=10.0))
    with caplog.at_level("INFO", "pocketlens"):
        for number in range(frames):
            decision = Decision((), False)
            recorder.result(frame(), FrameResult(number, 0.0, (), (), decision, 1.0, 1.0))
        recorder.closed()
    assert caplog.messages == [said.format(tmp_path / "r.mp4")]
