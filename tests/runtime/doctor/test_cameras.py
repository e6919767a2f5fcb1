"""Cameras asked by V4L2: drivers that answer as the kernel's structures say."""

import errno
import struct
import sys

import pytest

from pocketlens.runtime.doctor.cameras import (
    CAPABILITY,
    ENUM_FMT,
    ENUM_FRAMESIZES,
    FORMAT,
    FRAME_SIZE,
    QUERYCAP,
    PixelFormat,
    find_cameras,
    read_camera,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no V4L2")

CAPTURE, CAPTURE_MPLANE, OUTPUT, STREAMING, META = 0x1, 0x1000, 0x2, 0x04000000, 0x00800000
DEVICE_CAPS = 0x80000000
WEBCAM = {
    "MJPG": [(1, (640, 480)), (1, (1920, 1080)), (1, (1280, 720))],
    "YUYV": [(1, (640, 480))],
}


class Driver:
    """Answers like a camera's driver; `fails` has the error that ends a request."""

    def __init__(self, card="HD Webcam", name="uvcvideo", caps=CAPTURE, formats=WEBCAM, fails=None):
        self.card, self.name, self.caps = card, name, caps
        self.formats, self.fails = formats, fails or {}

    def __call__(self, descriptor, request, buffer):
        if request in self.fails:
            raise OSError(self.fails[request], "no")
        if request == QUERYCAP:
            # The whole device can do more than this node of it.
            whole = DEVICE_CAPS | CAPTURE | META | STREAMING
            answer = (self.name.encode(), self.card.encode(), b"usb-1", 1, whole, self.caps)
            buffer[:] = CAPABILITY.pack(*answer, 0, 0, 0)
        elif request == ENUM_FMT:
            index, kind, *_ = FORMAT.unpack(buffer)
            assert kind == (1 if self.caps & CAPTURE else 9)
            code = self._at(list(self.formats), index)
            number = struct.unpack("<I", code.encode())[0]
            buffer[:] = FORMAT.pack(index, kind, 0, b"words", number, 0, 0, 0, 0)
        elif request == ENUM_FRAMESIZES:
            index, number, *_ = FRAME_SIZE.unpack(buffer)
            sizes = self.formats[struct.pack("<I", number).decode()]
            kind, values = self._at(sizes, index)
            values = (*values, 0, 0, 0, 0, 0, 0)[:6]
            buffer[:] = FRAME_SIZE.pack(index, number, kind, *values, 0, 0)
        else:
            raise AssertionError(hex(request))

    @staticmethod
    def _at(entries, index):
        if index >= len(entries):
            raise OSError(errno.EINVAL, "the end of the list")
        return entries[index]


def test_the_structures_have_the_sizes_that_the_requests_name():
    for request, layout in (
        (QUERYCAP, CAPABILITY),
        (ENUM_FMT, FORMAT),
        (ENUM_FRAMESIZES, FRAME_SIZE),
    ):
        # asm-generic/ioctl.h: the size is in bits 16 to 29.
        assert request >> 16 & 0x3FFF == layout.size


@pytest.fixture
def devices(tmp_path):
    (tmp_path / "v4l" / "by-id").mkdir(parents=True)
    for number in (10, 2, 0):
        (tmp_path / f"video{number}").touch()
    (tmp_path / "video-something").touch()
    (tmp_path / "v4l" / "by-id" / "usb-HD-index0").symlink_to("../../video2")
    return tmp_path


def test_cameras_are_found_with_names_formats_and_sizes(devices):
    cameras = find_cameras(devices, Driver())
    assert [camera.path.name for camera in cameras] == ["video0", "video2", "video10"]
    assert [camera.names for camera in cameras] == [(), ("usb-HD-index0",), ()]
    assert (cameras[0].card, cameras[0].driver) == ("HD Webcam", "uvcvideo")
    assert cameras[0].formats == (
        PixelFormat("MJPG", ((1920, 1080), (1280, 720), (640, 480))),
        PixelFormat("YUYV", ((640, 480),)),
    )


@pytest.mark.parametrize(
    "driver",
    [
        pytest.param(Driver(caps=META | STREAMING), id="metadata"),
        pytest.param(Driver(caps=OUTPUT), id="output"),
        pytest.param(Driver(name="bcm2835-isp"), id="part-of-a-board"),
        pytest.param(Driver(fails={QUERYCAP: errno.ENOTTY}), id="no-v4l2"),
    ],
)
def test_what_is_no_camera_is_left_out(devices, driver):
    assert find_cameras(devices, driver) == []


def test_a_camera_that_scales_freely(devices):
    # Widths from 32 to 4608 by 2, heights from 24 to 2592 by 2.
    stepwise = {"RG10": [(3, (32, 4608, 2, 24, 2592, 2))]}
    driver = Driver("unicam", "unicam", CAPTURE_MPLANE, stepwise)
    camera = read_camera(devices / "video0", (), driver)
    assert camera.formats == (PixelFormat("RG10", ((4608, 2592), (32, 24)), True),)
    assert camera.flat_cable


def test_a_driver_that_lists_no_sizes(devices):
    driver = Driver(fails={ENUM_FRAMESIZES: errno.ENOTTY})
    camera = read_camera(devices / "video0", (), driver)
    assert camera.formats == (PixelFormat("MJPG", ()), PixelFormat("YUYV", ()))


def test_a_driver_that_never_stops(devices):
    endless = Driver(formats={"MJPG": [(1, (64, 48))] * 5000})
    assert read_camera(devices / "video0", (), endless).formats[0].sizes_wh == ((64, 48),)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENODEV])
def test_a_camera_that_goes_while_it_is_asked(devices, number):
    camera = read_camera(devices / "video0", ("usb",), Driver(fails={QUERYCAP: number}))
    assert camera.obstacle
    assert camera.names == ("usb",)


def test_a_device_that_does_not_open(tmp_path):
    assert read_camera(tmp_path / "video9").obstacle == "No such file or directory"


def test_the_real_system_is_asked_and_a_file_is_no_camera(devices):
    assert find_cameras(devices) == []
