"""What `classify` and the way to the first answer may not cost, in ways that a busy machine allows.

The figures that count are measured by hand: make classify-speed, startup and video-rate.
"""

import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pocketlens.runtime import Classifier
from pocketlens.runtime.interpreters import find_backend
from pocketlens.runtime.model_files import read_model_file

FRAMES = {"own": (96, 96), "720p": (720, 1280), "1080p": (1080, 1920)}
# Less than a copy of the smallest frame.
MOST_NEW_BYTES = 20_000


def frame(name: str) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*FRAMES[name], 3), np.uint8)


@pytest.mark.parametrize("mode", ["stretch", "pad"])
@pytest.mark.parametrize("entry", ["float32", "int8"])
def test_a_frame_needs_no_new_memory(tiny_models: dict[str, Path], entry: str, mode: str) -> None:
    model = read_model_file(tiny_models[entry])
    assert model.card is not None
    model = model._replace(card=replace(model.card, resize_mode=mode))
    with Classifier(model) as classifier:
        for name in FRAMES:
            frame_bgr = frame(name)
            classifier.classify(frame_bgr)
            # Threads of other tests may take memory in between.
            peak = min(new_bytes(lambda f=frame_bgr: classifier.classify(f)) for _ in range(10))
            assert peak < MOST_NEW_BYTES, name


@pytest.mark.real_time
@pytest.mark.parametrize("entry", ["float32", "int8"])
def test_little_comes_on_top_of_what_has_to_be_done(
    tiny_models: dict[str, Path], entry: str
) -> None:
    with Classifier(tiny_models[entry]) as classifier:
        interpreter = classifier.interpreter
        taken, given = classifier.signature.input, classifier.signature.output

        def by_hand(frame_bgr: np.ndarray) -> None:
            half = cv2.resize(frame_bgr, (640, 360), interpolation=cv2.INTER_AREA)
            quarter = cv2.resize(half, (320, 180), interpolation=cv2.INTER_AREA)
            pixels = cv2.cvtColor(cv2.resize(quarter, (96, 96)), cv2.COLOR_BGR2RGB)
            interpreter.set_tensor(taken.index, pixels[None].astype(taken.dtype))
            interpreter.invoke()
            interpreter.get_tensor(given.index)

        frame_bgr = frame("720p")
        hand_s, our_s = fastest(
            lambda: by_hand(frame_bgr), lambda: classifier.classify(frame_bgr), 200
        )
    assert our_s < 1.5 * hand_s


def test_first_answer_imports_no_more_than_it_needs(tiny_tflite: Path) -> None:
    bare = loaded_by(f"import cv2, numpy, {find_backend().module.__name__}")
    ours = loaded_by(
        "import numpy\n"
        "from pocketlens.runtime import Classifier\n"
        f"with Classifier({str(tiny_tflite)!r}) as classifier:\n"
        "    classifier.classify(numpy.zeros((720, 1280, 3), numpy.uint8))"
    )
    # What `quiet` holds standard error in comes from the system on Linux only.
    heavy = {"PIL", "zipfile", "subprocess", "click", "rich", "csv", "random", "pathlib", "logging"}
    heavy |= {"tempfile", "shutil"} if sys.platform == "linux" else set()
    assert not heavy & (ours - bare)
    others = {"files", "workers", "runtime.metadata", "runtime.operators"}
    assert not {f"pocketlens.{name}" for name in others} & ours


def new_bytes(call: Callable[[], object]) -> int:
    """Return the most memory that Python and NumPy took anew at a time, in bytes."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def fastest(first: Callable[[], object], second: Callable[[], object], runs: int) -> list[float]:
    """Return the least time of each in seconds, taken in turn."""
    least = [float("inf")] * 2
    for _ in range(runs):
        for index, call in enumerate((first, second)):
            before_s = time.perf_counter()
            call()
            least[index] = min(least[index], time.perf_counter() - before_s)
    return least


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("LOADED"))
    return set(line.split()[1:])
