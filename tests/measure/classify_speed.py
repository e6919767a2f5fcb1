"""What `classify` costs over the bare `invoke()`, from frames of several sizes.

Run by hand (`make classify-speed MODELS='models/*.tflite' PHOTOS=folder`). One process, one
interpreter with one thread, calls in bursts in an order shuffled anew, so that noise hits all of
them alike. Ends with 1 where a ratio of medians is above its limit. With `--mediapipe` (see
`make peers`) the limit is what MediaPipe's ImageClassifier takes for the same file and frame, which
it gets as RGB already, as no camera gives it.
"""

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pocketlens.benchmarks.latency import Settings, time_interleaved
from pocketlens.runtime import Classifier
from pocketlens.runtime.photos import find_pictures
from pocketlens.runtime.pictures import Pixels, decode

SIZES_WH = {"own": None, "720p": (1280, 720), "1080p": (1920, 1080)}
OWN_LIMIT = 1.03
LIMITS = {np.dtype(np.uint8): 1.15, np.dtype(np.float32): 1.08}
INVOKE = "invoke"
PEER = "MediaPipe"


def main() -> int:
    """Print a table for each model; 0 if every ratio is within its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", help=".tflite files")
    parser.add_argument("--photos", type=Path, required=True, help="a folder with photos")
    parser.add_argument("--runs", type=int, default=500, help="of each call, at least")
    parser.add_argument("--mediapipe", action="store_true", help="time MediaPipe too")
    chosen = parser.parse_args()
    picture = cv2.cvtColor(decode(min(find_pictures(chosen.photos))), cv2.COLOR_RGB2BGR)
    print(f"OpenCV {cv2.__version__} with {cv2.getNumThreads()} threads, {os.cpu_count()} cores")
    within = [measure(model, picture, chosen) for model in chosen.models]
    return int(not all(within))


def measure(model: Path, picture: Pixels, chosen: argparse.Namespace) -> bool:
    """Print one model's figures and return whether they are within the limits."""
    with ExitStack() as stack:
        classifier = stack.enter_context(Classifier(model))
        frames = {
            name: cv2.resize(picture, size_wh or classifier.size_wh, interpolation=cv2.INTER_CUBIC)
            for name, size_wh in SIZES_WH.items()
        }
        calls: dict[str, Callable[[], object]] = {INVOKE: classifier.interpreter.invoke}
        for name, frame_bgr in frames.items():
            calls[name] = lambda frame_bgr=frame_bgr: classifier.classify(frame_bgr)
            if chosen.mediapipe:
                calls[f"{PEER} {name}"] = peer_call(model, frame_bgr, stack)
        before = os.getloadavg()[0]
        times_ms = {
            name: entry / 1e6
            for name, entry in time_interleaved(calls, Settings(num_runs=chosen.runs)).items()
        }
        load = f"load average {before:.2f} before, {os.getloadavg()[0]:.2f} after"
        limits = dict.fromkeys(frames, LIMITS[classifier.signature.input.dtype])
        limits["own"] = OWN_LIMIT
        parts = {name: parts_of(classifier, frame) for name, frame in frames.items()}
    print(f"\n{model.name}, {len(classifier.labels)} labels; {load}")
    print("                  median ms  p95 ms  ÷ invoke: median    p95    min  limit")
    within = True
    bare = figures(times_ms[INVOKE])
    if chosen.mediapipe:
        limits = {name: (figures(times_ms[f"{PEER} {name}"]) / bare)[0] for name in frames}
    for name, entry in times_ms.items():
        ratios = figures(entry) / bare
        verdict = ""
        if name in limits:
            good = bool(ratios[0] <= limits[name])
            within &= good
            verdict = f"  {limits[name]:5.2f} {' ' if good else '!'}  {parts[name]}"
        print(
            f"{name:16}  {figures(entry)[0]:9.3f}  {figures(entry)[1]:6.3f}            "
            f"{ratios[0]:6.3f} {ratios[1]:6.3f} {ratios[2]:6.3f}{verdict}"
        )
    return within


def figures(times_ms: Any) -> Any:
    """Return median, 95th percentile and minimum."""
    return np.append(np.percentile(times_ms, (50, 95)), times_ms.min())


def parts_of(classifier: Classifier, frame_bgr: Pixels) -> str:
    """Return medians of where `classify` says that its time went."""
    timings = [classifier.classify(frame_bgr).timing for _ in range(100)]
    resize, invoke, post = np.median(
        [(entry.resize_ms, entry.invoke_ms, entry.post_ms) for entry in timings], axis=0
    )
    return f"resize {resize:.3f}, invoke {invoke:.3f}, post {post:.3f} ms"


def peer_call(model: Path, frame_bgr: Pixels, stack: ExitStack) -> Callable[[], object]:
    """Return a call of MediaPipe's classifier for a frame."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

    options = ImageClassifierOptions(BaseOptions(model_asset_path=str(model)), max_results=5)
    peer = stack.enter_context(ImageClassifier.create_from_options(options))
    frame_rgb = cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2RGB)

    def classify() -> object:
        return peer.classify(
            mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=frame_rgb)
        )

    return classify


if __name__ == "__main__":
    sys.exit(main())
