"""Video files as people have them: interlaced, of a varying rate, damaged, with any name."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import types
from functools import partial

import cv2
import numpy as np
import pytest
from timing import PATIENCE_S

from pocketlens.errors import PictureError, SourceError
from pocketlens.runtime.live.capture.child import Opened, Ready
from pocketlens.runtime.live.capture.file import ChildSource
from pocketlens.runtime.live.capture.opening import open_capture
from pocketlens.runtime.live.sinks.recording import Recording
from pocketlens.runtime.live.sources import SourceRequest
from pocketlens.runtime.live.sources.complaints import Complaints, complaint
from pocketlens.runtime.live.sources.fake import HANG, KILL, FakeCamera
from pocketlens.runtime.live.sources.opencv import OpenCvSource

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows reads in a thread")

RED, BLUE = (0, 0, 255), (255, 0, 0)


@pytest.fixture
def ffmpeg(tmp_path):
    """Make a video: `ffmpeg(name, filter, options...)`."""
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("there is no ffmpeg to make such a video")

    def make(name, source, *options):
        path = tmp_path / name
        command = [program, "-loglevel", "error", "-f", "lavfi", "-i", source, *options, str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"this ffmpeg cannot make such a video: {done.stderr.strip()[-200:]}")
        return path

    return make


def read(path):
    """Return (time, frame) of all frames, and the counts."""
    with contextlib.closing(open_capture(SourceRequest(str(path)))) as capture:
        frames = []
        while (came := capture.next(threading.Event())) is not None:
            frames.append((came.time_s, came.frame_bgr))
        return frames, capture.counts


def is_colour(frame_bgr, colour_bgr):
    return np.abs(frame_bgr.mean((0, 1)) - colour_bgr).max() < 12


INTERLACED = {
    "mpeg2": ("i.ts", ["-c:v", "mpeg2video", "-flags", "+ildct+ilme"]),
    "h264": ("i.mp4", ["-c:v", "libx264", "-x264-params", "interlaced=1:tff=1"]),
}


@pytest.fixture(params=INTERLACED.values(), ids=INTERLACED)
def interlaced(ffmpeg, request):
    name, options = request.param
    source = "color=red:s=160x96:d=0.4:r=25[a];color=blue:s=160x96:d=0.4:r=25[b];[a][b]concat"
    return ffmpeg(name, source, "-vf", "setfield=tff,format=yuv420p", *options)


def test_an_interlaced_video_is_decoded(interlaced):
    frames, counts = read(interlaced)
    assert [is_colour(frame, RED) for _, frame in frames] == [True] * 10 + [False] * 10
    assert [is_colour(frame, BLUE) for _, frame in frames] == [False] * 10 + [True] * 10
    assert counts.damaged == 0


def test_without_ffmpeg_it_is_decoded_or_refused_by_one_sentence(interlaced, monkeypatch):
    monkeypatch.setenv("PATH", "")
    try:
        frames, _ = read(interlaced)
    except SourceError as error:
        assert "interlaced" in str(error)  # noqa: PT017
    else:
        assert is_colour(frames[0][1], RED)


VARYING = [0.0, 1.0, 2.0, *(3 + n / 10 for n in range(10))]


@pytest.fixture
def varying(ffmpeg):
    """Three red frames, a second each, then ten blue ones in one second."""
    source = "color=red:s=160x96:d=3:r=1[a];color=blue:s=160x96:d=10:r=1[b];[a][b]concat"
    times = "settb=1/1000,setpts='if(lt(N,3),N*1000,3000+(N-3)*100)'"
    rate = ["-fps_mode", "passthrough", "-enc_time_base", "1/1000"]
    return ffmpeg("v.mp4", source, "-vf", f"{times},format=yuv420p", *rate, "-c:v", "libx264")


def test_frames_of_a_varying_rate_have_their_own_times(varying):
    frames, _ = read(varying)
    assert [time_s for time_s, _ in frames] == pytest.approx(VARYING, abs=0.002)
    assert [is_colour(frame, BLUE) for _, frame in frames] == [False] * 3 + [True] * 10


def test_a_codec_without_a_decoder_is_named(ffmpeg):
    path = ffmpeg("a.mp4", "color=red:s=160x96:d=0.4:r=10", "-c:v", "libsvtav1")
    try:
        frames, _ = read(path)
    except SourceError as error:
        assert "no decoder for AV1 in this OpenCV" in str(error)  # noqa: PT017
    else:
        assert is_colour(frames[0][1], RED)


def test_a_video_with_a_lost_piece_is_told_and_the_rest_is_right(ffmpeg):
    options = ["-c:v", "libx264", "-g", "12", "-pix_fmt", "yuv420p"]
    path = ffmpeg("d.mp4", "testsrc2=s=320x240:d=4:r=25", *options)
    clean = {round(time_s, 3): frame for time_s, frame in read(path)[0]}
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat"), data.index(b"moov")
    at = (start + end) // 2
    data[at : at + 6000] = bytes(6000)
    path.write_bytes(data)
    frames, counts = read(path)
    assert 1 <= counts.damaged <= 60
    assert len(frames) >= 40
    for time_s, frame in frames:
        difference = np.abs(frame.astype(int) - clean[round(time_s, 3)])
        assert difference.mean() < 2, f"at {time_s} s, of {counts}"


class FakeDriver:
    """Stands in for cv2.VideoCapture: two threads, an intra frame each twelve frames."""

    def __init__(self):
        self.number = -1

    def read(self):
        self.number += 1
        return True, np.full((48, 64, 3), self.number, np.uint8)

    def get(self, name):
        intra = self.number % 12 == 0
        known = {cv2.CAP_PROP_N_THREADS: 2, cv2.CAP_PROP_FPS: 25}
        return float({**known, cv2.CAP_PROP_FRAME_TYPE: ord("I" if intra else "P")}.get(name, 0))


def test_what_is_predicted_from_a_damaged_frame_is_damaged_until_an_intra_frame(monkeypatch):
    said = {10: "error while decoding MB 3 4"}
    driver = FakeDriver()
    monkeypatch.setattr(
        "pocketlens.runtime.live.sources.opencv.COMPLAINTS",
        types.SimpleNamespace(news=lambda: said.get(driver.number, "")),
    )
    source = OpenCvSource(driver)
    right = []
    for number in range(60):
        with contextlib.suppress(PictureError):
            assert source.read()[0, 0, 0] == number
            right.append(number)
    # The intra frame 12 may be the one that is damaged: decoders work ahead.
    assert right == [*range(10), *range(24, 60)]


NAMES = ["vid_\udce9.mp4", "2024-05-01T12:30:00.mp4", "cam:front.mp4", "a%03d.mp4", "谷 仓.mp4"]


@pytest.mark.parametrize("name", NAMES, ids=["not-utf-8", "time", "colon", "percent", "wide"])
def test_any_name_is_written_and_read(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with Recording(tmp_path / name, 10.0) as recording:
        for _ in range(5):
            recording.write(np.full((48, 64, 3), 90, np.uint8))
    assert os.listdir(os.fsencode(tmp_path)) == [os.fsencode(name)]
    assert len(read(name)[0]) == 5


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("fault", "limit_s", "words"), [(KILL, PATIENCE_S, "SIGKILL"), (HANG, 4.0, "within 4 s")]
)
def test_a_decoder_that_crashes_or_hangs_is_one_sentence(monkeypatch, fault, limit_s, words):
    monkeypatch.setattr("pocketlens.runtime.live.capture.file._LIMIT_S", limit_s)
    source = ChildSource(partial(FakeCamera, faults={3: fault}, live=False), "v.mp4")
    for _ in range(3):
        assert source.read() is not None
    with pytest.raises(SourceError, match=words):
        source.read()
    source.close()


class Silent:
    """A process that says what it is given, and then nothing."""

    def __init__(self, clock, *says):
        self.clock, self.says, self.killed = clock, list(says), False

    def receive(self, timeout_s):
        if self.says:
            return self.says.pop(0)
        self.clock.sleep(timeout_s)
        return None

    def send(self, command):
        pass

    def kill(self):
        self.killed = True

    close = kill


@pytest.mark.parametrize(
    ("says", "seconds"),
    [((), 20.0), ((Ready(),), 8.0), ((Ready(), Opened(25.0)), 8.0)],
    ids=["starting", "opening", "decoding"],
)
def test_a_decoder_has_its_time_and_no_longer(clock, says, seconds):
    child = Silent(clock, *says)
    with pytest.raises(SourceError, match=f"within {seconds:g} s"):
        ChildSource(lambda: None, "v.mp4", clock=clock, start=lambda *_, **__: child).read()
    assert child.killed
    assert clock.now_s() == 1000 + seconds


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[h264 @ 0x55f0] error while decoding MB 3 4", "error while decoding MB 3 4"),
        ("[swscaler @ 0x1f] Cannot convert.", "Cannot convert"),
        ("[h264 @ 0x55f0] SEI type 5 size 32 truncated at 16", ""),
        ("Corrupt JPEG data: premature end of data segment", "Corrupt JPEG data: premature end"),
        ("Corrupt JPEG data: 4 extraneous bytes before marker 0xd9", ""),
        ("Corrupt JPEG data: 202 extraneous bytes before marker 0xd9", "Corrupt JPEG data: 202"),
        ("[0:00:01.2] [12] INFO Camera camera_manager.cpp:284 libcamera v0.1", ""),
    ],
)
def test_what_counts_as_a_complaint(line, said):
    assert complaint(f"something else\n{line}\n").startswith(said)
    assert bool(complaint(line)) == bool(said)


def test_complaints_are_told_once_and_their_file_stays_small(tmp_path):
    with (tmp_path / "said").open("ab", buffering=0) as file, (tmp_path / "said").open("r+b") as r:
        heard = Complaints()
        heard.listen(r.fileno())
        assert heard.news() == ""
        file.write(b"[h264 @ 0x1] bad\n")
        assert heard.news() == "bad"
        assert heard.news() == ""
        file.write(b"x" * (1 << 21))
        assert heard.news() == ""
        assert file.seek(0, 2) == 0
        file.write(b"[h264 @ 0x1] worse\n")
        assert heard.news() == "worse"


def test_the_shared_cases(shared):
    for name in ("inter_h264.mp4", "inter_mpeg2.ts"):
        frames, _ = read(shared / "cases" / "01-interlaced-black" / name)
        assert is_colour(frames[0][1], RED)
        assert is_colour(frames[-1][1], BLUE)
    frames, _ = read(shared / "cases" / "02-vfr-times" / "vfr.mp4")
    assert [time_s for time_s, _ in frames] == pytest.approx(VARYING, abs=0.002)
