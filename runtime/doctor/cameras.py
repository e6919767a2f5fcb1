"""Cameras that Linux knows, with their pixel formats and sizes: V4L2 asked directly.

Nothing is streamed, so a camera that another program uses answers too. Structures and numbers are
those of linux/videodev2.h, the same on x86 and Arm, 32 and 64 bits.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketlens.runtime.live.sources import DEVICES

Ioctl = Callable[[int, int, bytearray], Any]
"""What asks a driver: `fcntl.ioctl`, or what stands in for it."""

QUERYCAP = 0x80685600
ENUM_FMT = 0xC0405602
ENUM_FRAMESIZES = 0xC02C564A

# struct v4l2_capability: driver, card, bus, version, capabilities, device_caps, reserved.
CAPABILITY = struct.Struct("=16s32s32s3I3I")
# struct v4l2_fmtdesc: index, type, flags, description, pixelformat, mbus_code, reserved.
FORMAT = struct.Struct("=3I32s5I")
# struct v4l2_frmsizeenum: index, pixel_format, type, a union of six numbers at most, reserved.
FRAME_SIZE = struct.Struct("=3I6I2I")

_CAPTURE = 0x1
_CAPTURE_MPLANE = 0x1000
_DEVICE_CAPS = 0x80000000
_DISCRETE = 1
# Buffer types of the two.
_TYPE_CAPTURE = 1
_TYPE_CAPTURE_MPLANE = 9
# Drivers may not know when to stop.
_MOST = 64
# What the kernel answers for other drivers, and emulators for what they do not know.
_NO_V4L2 = (errno.ENOTTY, errno.EINVAL, errno.ENOSYS)
# Parts of a board's own pipeline, which give pictures only to whoever feeds them.
_PARTS = frozenset({"bcm2835-isp", "bcm2835-codec", "pispbe", "rpi-hevc-dec", "rpivid"})
_FLAT_CABLE = frozenset({"unicam", "bm2835 mmal", "rp1-cfe"})


@dataclass(frozen=True)
class PixelFormat:
    """A pixel format of a camera: its four characters, and its sizes in pixels, largest first.

    Of a camera that scales freely `sizes_wh` has the smallest and the largest, and `free` is true.
    """

    fourcc: str
    sizes_wh: tuple[tuple[int, int], ...]
    free: bool = False


@dataclass(frozen=True)
class CameraDevice:
    """A device file that is a camera.

    `names` are its stable names in `v4l/by-id`. `flat_cable` says that it is a Raspberry Pi's own
    camera, whose raw frames picamera2 makes pictures of. `obstacle` is why it could not be asked;
    then only `path` and `names` are known.
    """

    path: Path
    names: tuple[str, ...] = ()
    card: str = ""
    driver: str = ""
    formats: tuple[PixelFormat, ...] = ()
    flat_cable: bool = False
    obstacle: str = ""


def find_cameras(devices: Path = DEVICES, ioctl: Ioctl | None = None) -> list[CameraDevice]:
    """Return the cameras among the video devices, in the order of their numbers."""
    paths = [path for path in devices.glob("video*") if re.fullmatch("video[0-9]+", path.name)]
    names = _stable_names(devices)
    found = (
        read_camera(path, tuple(names.get(os.path.realpath(path), ())), ioctl)
        for path in sorted(paths, key=lambda path: int(path.name[len("video") :]))
    )
    return [camera for camera in found if camera is not None]


def read_camera(
    path: Path, names: tuple[str, ...] = (), ioctl: Ioctl | None = None
) -> CameraDevice | None:
    """Return what a device says of itself; None where it is no camera."""
    if ioctl is None:
        from fcntl import ioctl as system_ioctl

        ioctl = system_ioctl
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        return CameraDevice(path, names, obstacle=error.strerror or str(error))
    try:
        answer = _ask(ioctl, descriptor, QUERYCAP, CAPABILITY)
        driver, card, capabilities = _text(answer[0]), _text(answer[1]), answer[4]
        if capabilities & _DEVICE_CAPS:
            capabilities = answer[5]
        if not capabilities & (_CAPTURE | _CAPTURE_MPLANE) or driver in _PARTS:
            return None
        kind = _TYPE_CAPTURE if capabilities & _CAPTURE else _TYPE_CAPTURE_MPLANE
        formats = tuple(_formats(ioctl, descriptor, kind))
    except OSError as error:
        if error.errno in _NO_V4L2:
            return None
        return CameraDevice(path, names, obstacle=error.strerror or str(error))
    finally:
        os.close(descriptor)
    return CameraDevice(path, names, card, driver, formats, driver in _FLAT_CABLE)


def _formats(ioctl: Ioctl, descriptor: int, kind: int) -> Iterator[PixelFormat]:
    # Every list of V4L2 ends with an error.
    with contextlib.suppress(OSError):
        for index in range(_MOST):
            answer = _ask(ioctl, descriptor, ENUM_FMT, FORMAT, index, kind, 0, b"", 0, 0, *[0] * 3)
            code = answer[4]
            sizes_wh, free = _sizes(ioctl, descriptor, code)
            yield PixelFormat(struct.pack("<I", code).decode("latin-1"), sizes_wh, free)


def _sizes(ioctl: Ioctl, descriptor: int, code: int) -> tuple[tuple[tuple[int, int], ...], bool]:
    sizes_wh: set[tuple[int, int]] = set()
    with contextlib.suppress(OSError):
        for index in range(_MOST):
            answer = _ask(ioctl, descriptor, ENUM_FRAMESIZES, FRAME_SIZE, index, code, *[0] * 9)
            if answer[2] != _DISCRETE:
                # Least, most and step of the width, then of the height.
                least_w, most_w, _, least_h, most_h, _ = answer[3:9]
                return ((most_w, most_h), (least_w, least_h)), True
            sizes_wh.add((answer[3], answer[4]))
    return tuple(sorted(sizes_wh, key=lambda size: (-size[0] * size[1], size))), False


def _ask(
    ioctl: Ioctl, descriptor: int, request: int, layout: struct.Struct, *values: Any
) -> tuple[Any, ...]:
    buffer = bytearray(layout.pack(*values) if values else layout.size)
    ioctl(descriptor, request, buffer)
    return layout.unpack(buffer)


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "replace").strip()


def _stable_names(devices: Path) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for link in sorted((devices / "v4l" / "by-id").glob("*")):
        names.setdefault(os.path.realpath(link), []).append(link.name)
    return names
