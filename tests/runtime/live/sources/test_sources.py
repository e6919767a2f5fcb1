"""Opening sources: files whole and in order, everything else one sentence."""

import contextlib
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import PngImagePlugin

from pocketlens.errors import PictureError, SourceError
from pocketlens.runtime.live import sources
from pocketlens.runtime.live.capture.thread import ThreadCapture
from pocketlens.runtime.live.sources import SourceRequest, open_source
from pocketlens.runtime.pictures import decode

# Far enough apart to survive compression.
GREYS = [20, 60, 100, 140, 180, 220]


def write_video(path, greys=GREYS, fps=10.0, size_wh=(64, 48)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size_wh)
    for grey in greys:
        writer.write(np.full((size_wh[1], size_wh[0], 3), grey, np.uint8))
    writer.release()
    return path


def read_all(source):
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    return frames


def test_a_file_is_read_completely_and_in_order(tmp_path):
    source = open_source(SourceRequest(str(write_video(tmp_path / "v.mp4"))))
    frames = read_all(source)
    assert [min(GREYS, key=lambda g: abs(g - int(f.mean()))) for f in frames] == GREYS
    assert frames[0].shape == (48, 64, 3)
    assert frames[0].dtype == np.uint8
    assert source.fps == pytest.approx(10.0)
    assert not source.live
    assert source.read() is None
    source.close()
    source.close()


def damaged(tmp_path):
    path = write_video(tmp_path / "cut.mp4")
    path.write_bytes(path.read_bytes()[:300])
    return path


def no_video(tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("no video " * 100)
    return path


def no_frames(tmp_path):
    return write_video(tmp_path / "none.mp4", greys=[])


@pytest.mark.parametrize(
    ("make", "came"),
    [
        pytest.param(lambda folder: folder / "missing.mp4", "nothing there", id="missing"),
        pytest.param(lambda folder: folder, "without any", id="folder-without-pictures"),
        pytest.param(damaged, "has none", id="cut-off"),
        pytest.param(no_video, "has none", id="text"),
        pytest.param(no_frames, "has none", id="no-frames"),
        pytest.param(lambda folder: "57", "no such camera", id="no-camera"),
        pytest.param(lambda folder: "9" * 30, "no such camera", id="huge-number"),
        pytest.param(lambda folder: "-1", "nothing there", id="negative"),
        pytest.param(lambda folder: "", "an empty name", id="empty"),
    ],
)
def test_what_does_not_open_is_one_sentence(tmp_path, capfd, make, came):
    with pytest.raises(SourceError, match=r"Expected .* Received: .*\.") as caught:
        open_source(SourceRequest(str(make(tmp_path))))
    assert came in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def numbered(tmp_path):
    """Pictures in two folders whose greys tell their order."""
    names = ["b/shot10.png", "b/shot9.png", "a/shot2.jpg", "b/shot100.png"]
    greys = {"a/shot2.jpg": 20, "b/shot9.png": 60, "b/shot10.png": 100, "b/shot100.png": 140}
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.full((48, 64, 3), greys[name], np.uint8))
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "greys"),
    [
        pytest.param("", [20, 60, 100, 140], id="folder"),
        pytest.param("b", [60, 100, 140], id="one-folder"),
        pytest.param("b/*.png", [60, 100, 140], id="pattern"),
        pytest.param("**/shot1*.png", [100, 140], id="at-any-depth"),
        pytest.param("a/shot2.jpg", [20], id="picture"),
    ],
)
def test_pictures_come_completely_and_in_order(numbered, pattern, greys):
    source = open_source(SourceRequest(str(numbered / pattern), fps=2.0))
    assert (source.live, source.fps) == (False, 2.0)
    assert [int(frame.mean()) for frame in read_all(source)] == pytest.approx(greys, abs=1)
    source.close()
    assert source.read() is None


def test_a_picture_is_blue_first_and_upright(shared):
    source = open_source(SourceRequest(str(shared / "data" / "awkward_images" / "good.jpg")))
    frame = source.read()
    assert np.array_equal(frame[..., ::-1], decode(shared / "data" / "awkward_images" / "good.jpg"))
    assert frame.flags.c_contiguous


def test_a_damaged_picture_is_counted_and_costs_only_itself(numbered, caplog):
    (numbered / "b" / "shot9.png").write_bytes(b"no picture")
    capture = ThreadCapture(open_source(SourceRequest(str(numbered))))
    came = []
    while (captured := capture.next(threading.Event())) is not None:
        came.append((captured.number, captured.time_s))
    capture.close()
    assert came == [(0, 0.0), (2, 2 / 25), (3, 3 / 25)]
    assert capture.counts.damaged == 1
    assert "shot9.png" in caplog.text


@pytest.mark.parametrize(
    ("address", "live"),
    [
        ("0", True),
        ("/dev/video7", True),
        ("/dev/v4l/by-id/usb-Cam-index0", True),
        ("picamera2", True),
        ("rtsp://camera/live", True),
        ("HTTPS://camera/live", True),
        ("fake:", True),
        ("fake:hang=300", True),
        ("garden.mp4", False),
        ("/dev/shm/garden.mp4", False),
        ("photos/*.jpg", False),
        ("-1", False),
    ],
)
def test_cameras_and_streams_are_live_and_files_are_not(address, live):
    assert SourceRequest(address).live is live


def test_each_kind_in_the_table_has_its_module_and_each_module_a_kind():
    folder = Path(sources.__file__).parent
    # What several kinds have in common.
    shared = {"__init__", "complaints", "jpeg", "opencv"}
    modules = {path.stem for path in folder.glob("*.py")} - shared
    assert modules == {kind.module for kind in sources.SOURCES}
    for kind in sources.SOURCES:
        assert f" {kind.opener}" in (folder / f"{kind.module}.py").read_text("utf-8")


def test_whatever_a_decoder_raises_costs_one_picture(numbered, monkeypatch, caplog):
    def fail(_self):
        raise RuntimeError("the decoder gave up")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    source = open_source(SourceRequest(str(numbered)))
    for _ in range(4):
        with contextlib.suppress(PictureError):
            assert source.read() is not None
    assert source.read() is None
    assert caplog.text.count("the decoder gave up") == 3
