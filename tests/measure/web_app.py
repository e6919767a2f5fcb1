"""Whether the web app gives the classifier's answers in a real browser, and how fast.

Each model is exported, served on this machine and driven in headless Chromium, photo by photo in
turn with the Python runtime: top-1, scores, and the times of resizing and of the model, as medians
and, which other work on the machine disturbs least, of the fastest frames.
Needs playwright and Chromium: make web-app MODELS='models/*.tflite' PHOTOS=folder
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import statistics
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import sync_playwright

from pocketlens.export import export
from pocketlens.export.browser import HEADERS
from pocketlens.export.serving import FolderServer
from pocketlens.runtime import Classifier
from pocketlens.runtime.photos import find_pictures

FRAME_WH = (1280, 720)
# A dynamic file rounds its activations anew, which each engine does in its own order; int8 files
# have a step of 1/256.
MAX_DIFFERENCE = {"float32": 0.01, "float16": 0.01, "weights8": 0.01}
# By the page's own worker. A frame is one photo at a camera's size, as pixels.
SCORES = """async text => {
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
  return (await classify(await bitmapOf(new Blob([bytes])))).scores; }"""
FRAME = """async text => {
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
  const result = await classify(await bitmapOf(new Blob([bytes])));
  return [result.resize_ms, result.invoke_ms]; }"""


def main() -> int:
    """Measure each model; 0 if 49 of 50 answers are the same, and the scores near enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", help=".tflite files that pocketlens wrote")
    parser.add_argument("--photos", type=Path, required=True, help="a folder with photos")
    parser.add_argument("--count", type=int, default=50, help="how many photos")
    parser.add_argument("--frames", type=int, default=60, help="how many frames to time")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    found = sorted(find_pictures(arguments.photos))
    photos = [found[i] for i in np.linspace(0, len(found) - 1, arguments.count).astype(int)]
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next(filter(None, map(shutil.which, names)), None)
    sandbox = [] if os.getuid() else ["--no-sandbox"]
    agree = []
    print(f"load {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores, {arguments.threads} threads")
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=sandbox)
        print(f"Chromium {browser.version}")
        print(
            "top-1  largest  mean     model: browser        Python         ratio"
            "        resize: browser       Python        engine                   file"
        )
        for model in arguments.models:
            page = browser.new_page()
            with tempfile.TemporaryDirectory() as home:
                export([model], Path(home) / "app", "web")
                agree.append(measure(page, Path(home) / "app", model, photos, arguments))
            page.close()
        browser.close()
    return int(not all(agree))


def measure(
    page: Any, folder: Path, model: Path, photos: list[Path], arguments: argparse.Namespace
) -> bool:
    """Print the figures of one model and return whether its answers are the same."""
    server = FolderServer(folder, HEADERS, 0)
    files = (path for path in folder.rglob("*") if path.is_file())
    server.names = frozenset(path.relative_to(folder).as_posix() for path in files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page.goto(f"{server.url}?threads={arguments.threads}")
    page.wait_for_function(
        "() => document.getElementById('status').dataset.state === 'ready'", timeout=60_000
    )
    same, differences = 0, []
    times: dict[str, list[float]] = {key: [] for key in ("bi", "pi", "br", "pr")}
    with Classifier(model, threads=arguments.threads) as classifier:
        card = classifier.model.card
        limit = MAX_DIFFERENCE.get(card.format if card else "", 1.0)
        for photo in photos:
            scores = np.array(page.evaluate(SCORES, encoded(photo.read_bytes())))
            raw = classifier.classify_photo(photo).scores
            raw = raw[1:] if classifier.task == "binary" else raw
            answer = classifier.answer(scores.astype(np.float32))
            same += answer == classifier.answer(raw)
            differences.append(float(np.abs(scores - raw).max()))
        for index in range(arguments.frames):
            frame_bgr = cv2.resize(cv2.imread(str(photos[index % len(photos)])), FRAME_WH)
            data = cv2.imencode(".jpg", frame_bgr)[1].tobytes()
            resize_ms, invoke_ms = page.evaluate(FRAME, encoded(data))
            timing = classifier.classify(frame_bgr).timing
            # The first ones compile and warm up.
            if index >= arguments.frames // 4:
                times["bi"].append(invoke_ms)
                times["pi"].append(timing.invoke_ms)
                times["br"].append(resize_ms)
                times["pr"].append(timing.resize_ms)
    engine = page.evaluate("`${engine.threads} threads, ${engine.simd}`")
    server.shutdown()
    server.server_close()
    shown = {key: (statistics.median(values), min(values)) for key, values in times.items()}
    text = {key: f"{median:5.2f} ({least:.2f}) ms" for key, (median, least) in shown.items()}
    ratio, least = (shown["bi"][index] / shown["pi"][index] for index in (0, 1))
    print(
        f"{same:>2}/{len(photos)}  {max(differences):.4f}   {np.mean(differences):.5f}"
        f"  {text['bi']}  {text['pi']}  {ratio:.1f} ({least:.1f})"
        f"  {text['br']}  {text['pr']}  {engine}  {model.name}"
    )
    return same >= round(0.98 * len(photos)) and max(differences) <= limit


def encoded(data: bytes) -> str:
    """Return bytes as the text in which they go to the page."""
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    sys.exit(main())
