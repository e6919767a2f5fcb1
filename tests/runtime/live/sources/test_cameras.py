"""Cameras that are not there: what is asked of OpenCV and picamera2, and in which order."""

import subprocess
import sys
import types
from functools import partial

import cv2
import numpy as np
import pytest

from pocketlens.errors import MissingDependencyError, PictureError, SourceError, UsageError
from pocketlens.runtime.live.sources import SourceRequest, by_id, check_wishes, open_source
from pocketlens.runtime.live.sources.camera import Camera
from pocketlens.runtime.live.sources.opencv import as_bgr

MJPG = cv2.VideoWriter.fourcc(*"MJPG")
FRAME = np.full((48, 64, 3), 90, np.uint8)
JPEG = cv2.imencode(".jpg", FRAME)[1].tobytes()


class FakeDriver:
    """Stands in for cv2.VideoCapture: notes what is set and gives what it was told."""

    def __init__(self, frames, *, granted=None, times_ms=None):
        self.frames = list(frames)
        self.times_ms = list(times_ms or [])
        self.calls = []
        self.properties = {cv2.CAP_PROP_FPS: 30.0, **(granted or {})}
        self.fixed = set(granted or {})
        self.now_ms = 0.0

    def __call__(self, target, backend, options=()):
        self.calls.append(("open", target, backend))
        return self

    def isOpened(self):  # noqa: N802
        return True

    def set(self, name, value):
        self.calls.append(("set", name, value))
        if name not in self.fixed:
            self.properties[name] = value
        return True

    def get(self, name):
        if name == cv2.CAP_PROP_POS_MSEC:
            return self.now_ms
        return float(self.properties.get(name, 0))

    def read(self):
        if not self.frames:
            return False, None
        self.now_ms = self.times_ms.pop(0) if self.times_ms else 0.0
        return True, self.frames.pop(0)

    def release(self):
        self.calls.append(("release",))


def open_camera(monkeypatch, driver, request, **options):
    monkeypatch.setattr(cv2, "VideoCapture", driver)
    return Camera(request, **options)


def test_the_format_is_asked_for_first_and_buffers_are_kept_few(monkeypatch):
    driver = FakeDriver([])
    request = SourceRequest("2", (1280, 720), 15.0, "MJPG")
    open_camera(monkeypatch, driver, request)
    backend = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
    assert driver.calls == [
        ("open", 2, backend),
        ("set", cv2.CAP_PROP_FOURCC, MJPG),
        ("set", cv2.CAP_PROP_FRAME_WIDTH, 1280),
        ("set", cv2.CAP_PROP_FRAME_HEIGHT, 720),
        ("set", cv2.CAP_PROP_FPS, 15.0),
        ("set", cv2.CAP_PROP_BUFFERSIZE, 1),
        ("set", cv2.CAP_PROP_CONVERT_RGB, 0),
    ]


def test_what_a_camera_does_not_grant_is_said(monkeypatch, caplog):
    granted = {cv2.CAP_PROP_FRAME_WIDTH: 640, cv2.CAP_PROP_FRAME_HEIGHT: 480}
    granted[cv2.CAP_PROP_FOURCC] = cv2.VideoWriter.fourcc(*"YUYV")
    driver = FakeDriver([FRAME], granted=granted)
    camera = open_camera(monkeypatch, driver, SourceRequest("0", (1280, 720), None, "MJPG"))
    assert caplog.messages == [
        "camera 0 gives YUYV, not MJPG.",
        "camera 0 gives 640x480, not 1280x720.",
    ]
    assert ("set", cv2.CAP_PROP_CONVERT_RGB, 0) not in driver.calls
    assert camera.read().shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (30.0, "camera 0 gives 30 frames per second, asked for 5."),
        (0.0, "camera 0 does not say how many frames per second, asked for 5."),
        (5.01, None),
    ],
)
def test_a_rate_that_a_camera_does_not_give_is_said(monkeypatch, caplog, given, words):
    driver = FakeDriver([], granted={cv2.CAP_PROP_FPS: given})
    open_camera(monkeypatch, driver, SourceRequest("0", None, 5.0))
    assert caplog.messages == ([words] if words else [])


def test_jpegs_of_a_driver_are_decoded_here_and_damaged_ones_told(monkeypatch):
    whole = np.frombuffer(JPEG, np.uint8)
    frames = [whole[None], whole[None, :200], whole[:, None]]
    driver = FakeDriver(frames, granted={cv2.CAP_PROP_FOURCC: MJPG})
    camera = open_camera(monkeypatch, driver, SourceRequest("0"))
    assert camera.read().shape == (48, 64, 3)
    with pytest.raises(PictureError):
        camera.read()
    assert camera.read().shape == (48, 64, 3)


def test_the_drivers_clock_tells_frames_apart(monkeypatch):
    driver = FakeDriver([FRAME] * 4, times_ms=[100.0, 133.0, 133.0, 166.0])
    camera = open_camera(monkeypatch, driver, SourceRequest("0"))
    stamps = [(camera.read(), camera.stamp)[1] for _ in range(4)]
    assert stamps == [None, 133.0, 133.0, 166.0]


def test_a_driver_whose_clock_stands_still_is_not_believed(monkeypatch):
    driver = FakeDriver([FRAME] * 3, times_ms=[5.0, 5.0, 5.0])
    camera = open_camera(monkeypatch, driver, SourceRequest("0"))
    assert [(camera.read(), camera.stamp)[1] for _ in range(3)] == [None] * 3


def test_a_camera_that_gives_nothing_more_is_an_error(monkeypatch):
    camera = open_camera(monkeypatch, FakeDriver([FRAME]), SourceRequest("0"))
    camera.read()
    with pytest.raises(SourceError, match="another frame from camera 0"):
        camera.read()
    camera.close()
    assert camera.read() is None


@pytest.mark.parametrize(
    ("address", "target"),
    [
        pytest.param("{}/video3", 3, id="path"),
        pytest.param("usb-Cam-index0", 3, id="name"),
        pytest.param("{}/v4l/by-id/usb-Cam-index0", 3, id="by-id-path"),
        pytest.param("{}/media7", "{}/media7", id="no-number"),
    ],
)
def test_devices_are_found_by_path_and_by_name(monkeypatch, tmp_path, address, target):
    for name in ("video3", "media7"):
        (tmp_path / name).touch()
    (tmp_path / "v4l" / "by-id").mkdir(parents=True)
    (tmp_path / "v4l" / "by-id" / "usb-Cam-index0").symlink_to("../../video3")
    assert by_id("usb-Cam-index0", tmp_path)
    assert by_id("../../video3", tmp_path) is None
    driver = FakeDriver([FRAME])
    request = SourceRequest(address.format(tmp_path))
    open_camera(monkeypatch, driver, request, devices=tmp_path)
    wanted = target.format(tmp_path) if isinstance(target, str) else target
    assert driver.calls[0][1] == wanted


def test_a_missing_permission_is_said_with_the_remedy(monkeypatch, tmp_path):
    (tmp_path / "video9").touch()
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(SourceError, match=r"no permission .* usermod -aG video"):
        Camera(SourceRequest("9"), devices=tmp_path)


@pytest.mark.parametrize(
    ("frame", "shape"),
    [
        pytest.param(FRAME, (48, 64, 3), id="bgr"),
        pytest.param(FRAME[..., 0], (48, 64, 3), id="grey"),
        pytest.param(FRAME[..., :1], (48, 64, 3), id="grey-with-channel"),
        pytest.param(FRAME[..., :2], (48, 64, 3), id="yuyv"),
        pytest.param(np.dstack([FRAME, FRAME[..., :1]]), (48, 64, 3), id="bgra"),
    ],
)
def test_formats_become_bgr(frame, shape):
    frame_bgr = as_bgr(np.ascontiguousarray(frame))
    assert (frame_bgr.shape, frame_bgr.dtype) == (shape, np.uint8)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(FRAME.astype(np.uint16), id="sixteen-bit"),
        pytest.param(np.zeros((0, 64, 3), np.uint8), id="empty"),
        pytest.param(np.zeros((4, 4, 5), np.uint8), id="five-channels"),
        pytest.param(np.zeros((2, 4, 4, 3), np.uint8), id="four-dimensions"),
    ],
)
def test_what_is_no_picture_is_refused(frame):
    with pytest.raises(PictureError):
        as_bgr(frame)


@pytest.mark.parametrize(
    ("address", "wishes", "words"),
    [
        pytest.param("v.mp4", {"fps": 5.0}, "--fps", id="video-fps"),
        pytest.param("v.mp4", {"size_wh": (64, 48)}, "--size", id="video-size"),
        pytest.param("rtsp://a/b", {"size_wh": (64, 48)}, "--size", id="rtsp-size"),
        pytest.param("http://a:b@c/", {"fourcc": "MJPG"}, "--fourcc", id="http-fourcc"),
        pytest.param("picamera2", {"fourcc": "MJPG"}, "--fourcc", id="picamera-fourcc"),
    ],
)
def test_what_a_source_cannot_be_asked_for_is_refused(address, wishes, words):
    with pytest.raises(UsageError, match=rf"Expected {words} only .* Leave {words} out\."):
        check_wishes(SourceRequest(address, **wishes))


class FakePicamera2:
    """As much of picamera2 as is used: YUV420 rows padded to 64 bytes."""

    def __init__(self, log, fail=None):
        self.log = log
        if fail:
            raise fail

    def create_video_configuration(self, **configuration):
        self.log.append(configuration)
        self.size_wh = configuration["lores"]["size"]
        return configuration

    def configure(self, configuration):
        self.log.append("configure")

    def start(self):
        self.log.append("start")

    def close(self):
        self.log.append("close")

    def capture_request(self):
        return self

    def release(self):
        self.log.append("release")

    def get_metadata(self):
        return {"SensorTimestamp": 123_000}

    def make_array(self, stream):
        assert stream == "lores"
        width, height = self.size_wh
        bgr = np.zeros((height, -(-width // 64) * 64, 3), np.uint8)
        bgr[:, :width] = (30, 60, 200)
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)


def test_picamera2_gives_its_low_resolution_stream(monkeypatch):
    log = []
    module = types.SimpleNamespace(Picamera2=partial(FakePicamera2, log))
    monkeypatch.setitem(sys.modules, "picamera2", module)
    source = open_source(SourceRequest("picamera2", (328, 246), 20.0))
    frame_bgr = source.read()
    source.close()
    source.close()
    assert frame_bgr.shape == (246, 328, 3)
    assert frame_bgr.flags.c_contiguous
    assert np.abs(frame_bgr.astype(int) - (30, 60, 200)).max() <= 6
    assert source.stamp == 123_000
    assert log[0]["lores"] == {"size": (328, 246), "format": "YUV420"}
    assert log[0]["main"]["size"] == (328, 246)
    assert log[0]["controls"] == {"FrameRate": 20.0}
    assert log[0]["queue"] is False
    assert log[1:] == ["configure", "start", "release", "close"]
    assert source.read() is None


def test_picamera2_without_a_camera_is_one_sentence(monkeypatch):
    fail = IndexError("list index out of range")
    module = types.SimpleNamespace(Picamera2=partial(FakePicamera2, [], fail))
    monkeypatch.setitem(sys.modules, "picamera2", module)
    with pytest.raises(SourceError, match="ribbon cable"):
        open_source(SourceRequest("picamera2"))


def test_picamera2_that_is_not_installed_is_said_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(MissingDependencyError, match="apt install python3-picamera2"):
        open_source(SourceRequest("picamera2"))


def test_a_kind_of_source_is_imported_only_when_it_is_opened():
    code = (
        "import sys\n"
        "from pocketlens.runtime.live.sources import SourceRequest, open_source\n"
        "try: open_source(SourceRequest('http://127.0.0.1:9/'))\n"
        "except OSError: pass\n"
        "kinds = {name.rpartition('.')[2] for name in sys.modules if '.sources.' in name}\n"
        "print(sorted(kinds))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['complaints', 'jpeg', 'mjpeg']"
