"""`pocketlens doctor`: what this machine can do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pocketlens.cli.options import command, deliver, json_option, overwrite_option
from pocketlens.files import refuse_targets

if TYPE_CHECKING:
    from pocketlens.runtime.doctor.cameras import CameraDevice, PixelFormat
    from pocketlens.runtime.doctor.examination import Diagnosis
    from pocketlens.runtime.doctor.probes import Interpreter

_MOST_SIZES = 3


@command("doctor", example="pocketlens doctor --json -")
@json_option
@overwrite_option
def doctor_command(json_target: str | None, overwrite: bool) -> int:
    """Show what this machine supports, what is missing and how to fix it.

    The exit code is 0 if this machine can classify photos, else 1.
    """
    refuse_targets(json_target, overwrite=overwrite)
    from pocketlens.runtime.doctor.examination import examine

    found = examine()
    deliver(json_target, found.to_json, lambda: print_diagnosis(found))
    return 0 if found.can_classify else 1


def print_diagnosis(found: Diagnosis) -> None:
    """Print what was found, and below it what is in the way."""
    from pocketlens.report.terminal import facts_table, new_console

    console = new_console()
    facts = (*_software(found), *_board(found), *_cameras(found), *_additions(found))
    console.print(facts_table(facts))
    console.print()
    verdict = "can classify" if found.can_classify else "cannot classify"
    problems = found.problems
    console.print(f"This machine {verdict}{':' if problems else '; nothing is in the way.'}")
    for problem in problems:
        console.print(f"- {problem.text}")


def _software(found: Diagnosis) -> Iterator[tuple[str, str]]:
    yield "pocketlens", f"{found.pocketlens}, Python {found.python}, {found.system}"
    yield "interpreter", "; ".join(map(_interpreter, found.interpreters)) or "none"
    pictures = found.pictures
    if pictures.problem:
        yield "OpenCV", f"{pictures.package or 'none'}: does not import"
        return
    parts = {"FFmpeg": pictures.ffmpeg, "GStreamer": pictures.gstreamer, "V4L2": pictures.v4l2}
    built = [f"windows ({pictures.gui})" if pictures.gui else "no windows"]
    built += [name if there else f"no {name}" for name, there in parts.items()]
    yield "OpenCV", f"{pictures.opencv}: {', '.join(built)}"
    yield "others", f"NumPy {pictures.numpy}, Pillow {pictures.pillow}"


def _interpreter(entry: Interpreter) -> str:
    states = {True: "works", False: "does not work", None: "not needed"}
    return f"{entry.name} {entry.version} {states[entry.works]}"


def _board(found: Diagnosis) -> Iterator[tuple[str, str]]:
    features = found.features
    names = (features.vectors, features.dot_products, features.half_floats) if features else ()
    has = ", ".join(name for name in names if name)
    yield "processor", f"{found.cpu}, {found.cores} cores{f': {has}' if has else ''}"
    for name, note in found.formats.items():
        yield f"  {name}", note
    if found.memory:
        free, total = found.memory.available_bytes / 1e6, found.memory.total_bytes / 1e6
        yield "memory", f"{free:,.0f} of {total:,.0f} MB free"
    if found.governor:
        yield "governor", f"{found.governor.name} ({found.governor.driver or 'unknown driver'})"
    if found.temperature_c is not None:
        yield "temperature", f"{found.temperature_c:.0f} °C"
    if found.throttling:
        now = ", ".join(found.throttling.now) or "no"
        before = ", ".join(found.throttling.before) or "no"
        yield "throttled", f"{now}; since its start: {before}"


def _cameras(found: Diagnosis) -> Iterator[tuple[str, str]]:
    if not found.cameras:
        yield "cameras", "none found"
    for camera in found.cameras:
        yield str(camera.path), _camera(camera)
        for name in camera.names:
            yield "", f"--source {name}"
        for entry in camera.formats:
            yield "", _format(entry)
    yield "picamera2", "installed" if found.picamera2 else "not installed"
    if found.in_video_group is not None:
        yield "group video", "you may use cameras" if found.in_video_group else "you are not in it"


def _camera(camera: CameraDevice) -> str:
    if camera.obstacle:
        return f"does not open: {camera.obstacle}"
    own = "; a Raspberry Pi's own: --source picamera2" if camera.flat_cable else ""
    return f"{camera.card} ({camera.driver}){own}"


def _format(entry: PixelFormat) -> str:
    sizes = [f"{width}x{height}" for width, height in entry.sizes_wh]
    if entry.free:
        return f"{entry.fourcc}  up to {sizes[0]}"
    more = f" and {len(sizes) - _MOST_SIZES} smaller" if len(sizes) > _MOST_SIZES else ""
    return f"{entry.fourcc}  {', '.join(sizes[:_MOST_SIZES])}{more}"


def _additions(found: Diagnosis) -> Iterator[tuple[str, str]]:
    for extra in found.extras:
        missing = f"missing: {extra.command}" if extra.missing else "installed"
        yield f"[{extra.name}]", f"{extra.purpose}; {missing}"
