"""Trying what everything stands on, each in a process of its own, since what is broken may crash.

Nothing here imports NumPy, OpenCV or an interpreter before a child does.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from pocketlens.workers import describe_exit, run_child

# A `.tflite` file by which it shows whether an interpreter works at all: float32 (1, 2, 2, 4) in, a
# 1x1 convolution with ReLU, the same out.
_SAMPLE = base64.b64decode(
    "CAAAAFRGTDM+////FAAAAJgAAACsAAAAHAIAAAMAAAADAAAAgAAAACwAAAAEAAAA4v///wQAAAAQAAAAAAAAPwAAgL"
    "4AAIA/AAAAPgAABgAIAAQABgAAAAQAAABAAAAAAAAAvgAAQL4AAIC+AACgvgAAAD4AAIA9AABAPgAA4D4AAOA+AADA"
    "vgAAoD4AAIC9AACgPgAAQD4AAAC/AADgPgQABAAEAAAAEQAAAHBvY2tldGxlbnMgZG9jdG9yAAAAAQAAABQAAAAAAA"
    "4AGAAUABAADAAIAAQADgAAABQAAAAcAAAAeAAAAHwAAACAAAAABAAAAG1haW4AAAAAAQAAABQAAAAAAA4AFAAAABAA"
    "DAALAAQADgAAABwAAAAAAAABJAAAACgAAAAMABAAAAAMAAgABwAMAAAAAAAAAQEAAAABAAAAAQAAAAMAAAADAAAAAA"
    "AAAAEAAAACAAAAAQAAAAMAAAABAAAAAAAAAAQAAACcAAAAYAAAADAAAAAEAAAAgP///wgAAAAMAAAAAwAAAG91dAAE"
    "AAAAAQAAAAIAAAACAAAABAAAAOD///8MAAAAAgAAAAwAAAABAAAAYgAAAAEAAAAEAAAADAAQAAwAAAAIAAQADAAAAA"
    "wAAAABAAAADAAAAAEAAAB3AAAABAAAAAQAAAABAAAAAQAAAAQAAAAMAAwACAAAAAAABAAMAAAACAAAAAwAAAACAAAA"
    "aW4AAAQAAAABAAAAAgAAAAIAAAAEAAAAAQAAABAAAAAMAAwACwAAAAAABAAMAAAAAwAAAAAAAAM="
)

# What it makes of ones at each of the four places.
_SAMPLE_OUTPUT = (0.0, 0.5625, 1.3125, 0.5625)

# In the order in which they are tried; their modules are `interpreters.BACKENDS`'s.
_INTERPRETERS = {
    "ai-edge-litert": "ai_edge_litert",
    "tflite-runtime": "tflite_runtime",
    "tf.lite": "tensorflow",
}
_OPENCV_PACKAGES = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
)

# TensorFlow takes a while on a small board.
_LIMIT_S = 120.0
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Interpreter:
    """An interpreter that is installed.

    `works` says whether it ran a small model and gave what it should; None where a better one
    does, so that it was not tried. `problem` is what came instead, in a few words.
    """

    name: str
    version: str
    works: bool | None
    problem: str = ""


@dataclass(frozen=True)
class Pictures:
    """The packages that read pictures, and what OpenCV was built with.

    `package` is under which name OpenCV was installed. `gui` names its windows, "" without any.
    `problem` is why one of the packages does not import; then nothing else is known.
    """

    package: str = ""
    opencv: str = ""
    numpy: str = ""
    pillow: str = ""
    gui: str = ""
    ffmpeg: bool = False
    gstreamer: bool = False
    v4l2: bool = False
    problem: str = ""


def find_interpreters() -> list[Interpreter]:
    """Try the interpreters that are installed until one works."""
    found: list[Interpreter] = []
    for name, module in _INTERPRETERS.items():
        if not _is_installed(module):
            continue
        version = package_version("tensorflow" if name == "tf.lite" else name) or "unknown"
        if any(entry.works for entry in found):
            found.append(Interpreter(name, version, None))
            continue
        _, problem = _ask("interpreter", name)
        found.append(Interpreter(name, version, not problem, problem))
    return found


def find_pictures_packages() -> Pictures:
    """Import the packages that read pictures and return what OpenCV was built with."""
    values, problem = _ask("pictures")
    package = next((name for name in _OPENCV_PACKAGES if package_version(name)), "")
    if problem:
        return Pictures(package, problem=problem)
    return Pictures(package, **values)


def package_version(name: str) -> str | None:
    """Return the version of an installed package, or None."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None


def build_facts(text: str) -> dict[str, Any]:
    """Return what matters of `cv2.getBuildInformation()`."""
    entries = dict(re.findall(r"^ +([A-Za-z0-9/]+): +(\S.*?) *$", text, re.MULTILINE))
    gui = entries.get("GUI", "NONE")
    return {
        "gui": "" if gui == "NONE" else gui,
        "ffmpeg": entries.get("FFMPEG", "NO").startswith("YES"),
        "gstreamer": entries.get("GStreamer", "NO").startswith("YES"),
        "v4l2": entries.get("v4l/v4l2", "NO").startswith("YES"),
    }


def main(question: str, *arguments: str) -> None:
    """Be the child: try something and print what is known of it as JSON."""
    print(json.dumps(_QUESTIONS[question](*arguments)), flush=True)


def _try_interpreter(name: str) -> dict[str, Any]:
    import numpy as np

    from pocketlens.runtime.interpreters import load_interpreter

    interpreter = load_interpreter(_SAMPLE, backend=name)
    entry = interpreter.get_input_details()[0]
    interpreter.set_tensor(entry["index"], np.ones(entry["shape"], np.float32))
    interpreter.invoke()
    came = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).reshape(-1, 4)
    if not np.allclose(came, _SAMPLE_OUTPUT, atol=_TOLERANCE):
        raise ValueError(f"it calculates {came.tolist()} where {_SAMPLE_OUTPUT} is right")
    return {}


def _try_pictures() -> dict[str, Any]:
    import cv2
    import numpy
    import PIL.Image

    return {
        "opencv": cv2.__version__,
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
        **build_facts(cv2.getBuildInformation()),
    }


_QUESTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "interpreter": _try_interpreter,
    "pictures": _try_pictures,
}


def _ask(*question: str) -> tuple[dict[str, Any], str]:
    """Return a child's answer, and what is wrong where there is none."""
    try:
        done = run_child(__name__, *question, limit_s=_LIMIT_S)
    except subprocess.TimeoutExpired:
        return {}, f"no answer in {_LIMIT_S:g} s"
    except OSError as error:
        return {}, f"no process could be started ({error.strerror or error})"
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    if done.returncode == 0 and lines:
        return json.loads(lines[-1]), ""
    reason = describe_exit(done.returncode, done.stderr)
    return {}, f"it crashes ({reason})" if done.returncode < 0 else reason


def _is_installed(module: str) -> bool:
    with contextlib.suppress(ImportError, ValueError):
        return find_spec(module) is not None
    return False
