"""What a machine can do with pocketlens, what is missing and what is in the way."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pocketlens import __version__
from pocketlens.runtime.doctor.cameras import CameraDevice, Ioctl, find_cameras
from pocketlens.runtime.doctor.probes import (
    Interpreter,
    Pictures,
    find_interpreters,
    find_pictures_packages,
    package_version,
)
from pocketlens.runtime.live.sources import DEVICES
from pocketlens.runtime.machine import (
    HOT_C,
    CpuFeatures,
    Governor,
    Memory,
    Throttling,
    cpu_name,
    format_notes,
    read_cpu_features,
    read_governor,
    read_memory,
    read_temperature_c,
    read_throttling,
)
from pocketlens.workers import count_cores

# A live run of a small model took 77 MB (`make soak`); the system wants some, too.
_LITTLE_BYTES = 150e6
_GROUP = "video"
_PURPOSES = {
    "train": "training, converting and evaluating models",
    "report": "pages and plots",
    "web": "the live view in a browser",
    "mqtt": "events to an MQTT broker",
    "heic": "photos in HEIC, as iPhones take them",
}


@dataclass(frozen=True)
class Extra:
    """Something that can be installed in addition: its name, what for, what of it is missing."""

    name: str
    purpose: str
    missing: tuple[str, ...]

    @property
    def command(self) -> str:
        """What installs it."""
        return f"pip install 'pocketlens[{self.name}]'"


@dataclass(frozen=True)
class Problem:
    """What is in the way, with what to do; where it is `fatal`, nothing can be classified."""

    text: str
    fatal: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """What was found on a machine. None stands for what the system does not tell."""

    pocketlens: str
    python: str
    system: str
    cpu: str
    cores: int
    features: CpuFeatures | None
    formats: dict[str, str]
    governor: Governor | None
    temperature_c: float | None
    throttling: Throttling | None
    memory: Memory | None
    interpreters: tuple[Interpreter, ...]
    pictures: Pictures
    cameras: tuple[CameraDevice, ...]
    picamera2: bool
    in_video_group: bool | None
    extras: tuple[Extra, ...]

    @property
    def interpreter(self) -> Interpreter | None:
        """The interpreter that classifies here, or None where none works."""
        return next((entry for entry in self.interpreters if entry.works), None)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is in the way, the worst first."""
        return tuple(sorted(_problems(self), key=lambda problem: not problem.fatal))

    @property
    def can_classify(self) -> bool:
        """Whether a photo can be classified here."""
        return not any(problem.fatal for problem in self.problems)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "can_classify": self.can_classify,
            **asdict(self),
            "cameras": [{**asdict(entry), "path": str(entry.path)} for entry in self.cameras],
            "extras": [{**asdict(entry), "command": entry.command} for entry in self.extras],
            "problems": [asdict(entry) for entry in self.problems],
        }


def examine(devices: Path = DEVICES, ioctl: Ioctl | None = None) -> Diagnosis:
    """Look at this machine; takes a second or two, since interpreters are tried out.

    Args:
        devices: where the cameras are.
        ioctl: what asks their drivers; None asks the system.
    """
    features = read_cpu_features()
    return Diagnosis(
        pocketlens=__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        cpu=cpu_name(),
        cores=count_cores(),
        features=features,
        formats=format_notes(features),
        governor=read_governor(),
        temperature_c=read_temperature_c(),
        throttling=read_throttling(),
        memory=read_memory(),
        interpreters=tuple(find_interpreters()),
        pictures=find_pictures_packages(),
        cameras=tuple(find_cameras(devices, ioctl)),
        picamera2=find_spec("picamera2") is not None,
        in_video_group=_in_group(_GROUP),
        extras=tuple(_find_extras()),
    )


def _find_extras() -> Iterator[Extra]:
    """Compare what our own package declares with what is installed."""
    try:
        declared = metadata.requires("pocketlens") or []
    except metadata.PackageNotFoundError:  # Run from its folder, not installed.
        return
    needed: dict[str, list[str]] = {}
    for line in declared:
        name = re.match(r"[A-Za-z0-9._-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([A-Za-z0-9._-]+)['\"]", line)
        if name and extra:
            needed.setdefault(extra[1], []).append(name[0])
    for entry, purpose in _PURPOSES.items():
        missing = [name for name in needed.get(entry, []) if package_version(name) is None]
        if entry in needed:
            yield Extra(entry, purpose, tuple(dict.fromkeys(missing)))


def _in_group(name: str) -> bool | None:
    with contextlib.suppress(ImportError, KeyError):
        import grp

        number = grp.getgrnam(name).gr_gid
        return os.geteuid() == 0 or number in (os.getegid(), *os.getgroups())
    return None


def _problems(found: Diagnosis) -> Iterator[Problem]:
    yield from _interpreter_problems(found)
    yield from _picture_problems(found.pictures)
    yield from _camera_problems(found)
    yield from _board_problems(found)


def _interpreter_problems(found: Diagnosis) -> Iterator[Problem]:
    if not found.interpreters:
        yield Problem(
            "No TFLite interpreter is installed; install one: pip install ai-edge-litert", True
        )
    for entry in found.interpreters:
        if entry.works is False:
            yield Problem(
                f"{entry.name} {entry.version} does not run a small model here ({entry.problem}); "
                f"{_interpreter_advice(entry, found)}",
                found.interpreter is None,
            )
    if found.interpreter and found.interpreter.name == "tflite-runtime":
        yield Problem(
            "tflite-runtime 2.14 runs int8 and dynamic files slowly; use the weights8 file, or "
            "ai-edge-litert if it has a wheel for this machine."
        )


def _interpreter_advice(entry: Interpreter, found: Diagnosis) -> str:
    if "numpy" in entry.problem.lower():
        return "install the numpy that it was built for: pip install 'numpy<2'"
    if entry.name == "ai-edge-litert" and "aarch64" in found.system:
        return "try an older one: pip install 'ai-edge-litert<2.2'"
    return f"install it again: pip install --force-reinstall {_package(entry)}"


def _package(entry: Interpreter) -> str:
    return "tensorflow" if entry.name == "tf.lite" else entry.name


def _picture_problems(pictures: Pictures) -> Iterator[Problem]:
    if pictures.problem:
        advice = "install them again: pip install --force-reinstall numpy pillow " + (
            pictures.package or "opencv-python-headless"
        )
        if pictures.package and not pictures.package.endswith("headless"):
            advice = (
                "without a desktop use the headless OpenCV: pip uninstall -y "
                f"{pictures.package} && pip install opencv-python-headless"
            )
        yield Problem(f"Pictures cannot be read ({pictures.problem}); {advice}", True)
        return
    if not pictures.ffmpeg:
        yield Problem(
            "This OpenCV has no FFmpeg, so that video files and RTSP streams do not open; install "
            "the wheel: pip install --force-reinstall opencv-python-headless"
        )
    if platform.system() == "Linux" and not pictures.v4l2:
        yield Problem(
            "This OpenCV has no V4L2, so that cameras do not open; install the wheel: "
            "pip install --force-reinstall opencv-python-headless"
        )


def _camera_problems(found: Diagnosis) -> Iterator[Problem]:
    for camera in found.cameras:
        if not camera.obstacle:
            continue
        advice = "unplug it and plug it in again."
        if found.in_video_group is False:
            advice = "join its group and log in again: sudo usermod -aG video $USER"
        yield Problem(f"{camera.path} does not open ({camera.obstacle}); {advice}")
    if any(camera.flat_cable for camera in found.cameras) and not found.picamera2:
        yield Problem(
            "The camera on the ribbon cable needs picamera2; install it and make the virtual "
            "environment with --system-site-packages: sudo apt install python3-picamera2"
        )


def _board_problems(found: Diagnosis) -> Iterator[Problem]:
    if found.governor and found.governor.is_slow:
        yield Problem(
            "The governor powersave keeps the clock at its lowest; set another: echo ondemand | "
            "sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        )
    if found.temperature_c is not None and found.temperature_c >= HOT_C:
        yield Problem(
            f"The processor is at {found.temperature_c:.0f} °C and slows down or soon will; "
            "cool it with a heat sink or a fan."
        )
    if found.throttling and (found.throttling.now or found.throttling.before):
        words = found.throttling.now or found.throttling.before
        when = "is" if found.throttling.now else "was since its start"
        advice = "cool it." if "under-voltage" not in words else "use a stronger power supply."
        yield Problem(f"The board {when} slowed down ({', '.join(words)}); {advice}")
    if found.memory and found.memory.available_bytes < _LITTLE_BYTES:
        yield Problem(
            f"Only {found.memory.available_bytes / 1e6:.0f} MB of memory are free, and a live run "
            "takes about 80; end other programs."
        )
