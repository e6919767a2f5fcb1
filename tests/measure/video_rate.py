"""Whether a video file is classified as fast as its slowest stage alone: decode, classify, encode.

Run by hand (`make video-rate MODELS='models/*.tflite' PHOTOS=folder`, or `VIDEO=file`). Each round
measures every stage alone and then the whole, with and without recording. Stages overlap only as
far as there are cores: what the CPU time of all stages takes on all cores at best is printed too,
and counts as the slowest stage where it is. Ends with 1 where the whole is slower than 0.95 of it.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2

from pocketlens.runtime import Classifier
from pocketlens.runtime.live.capture.opening import open_capture
from pocketlens.runtime.live.frames import FrameResult, RunInfo, Sink
from pocketlens.runtime.live.loop import classify_source
from pocketlens.runtime.live.sinks.recording import Recorder
from pocketlens.runtime.live.sources import SourceRequest, open_source
from pocketlens.runtime.photos import find_pictures
from pocketlens.runtime.pictures import Pixels, decode

SIZE_WH = (1280, 720)
FPS = 30
LEAST = 0.95
# Held in memory to measure stages without the decoder: 160 MB.
HELD = 60
DECODE, CLASSIFY, ENCODE = "decode", "classify", "encode"
WHOLES = {"classify a file": (DECODE, CLASSIFY), "and record": (DECODE, CLASSIFY, ENCODE)}


def main() -> int:
    """Print the figures of each model; 0 if every rate is high enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", help=".tflite files")
    parser.add_argument("--photos", type=Path, help="a folder with photos to make a video of")
    parser.add_argument("--video", type=Path, help="a video file instead")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    if chosen.photos is None and chosen.video is None:
        parser.error("give --photos or --video")
    cv2.setNumThreads(1)  # As `live` does.
    with tempfile.TemporaryDirectory() as folder:
        video = chosen.video or make_video(chosen.photos, Path(folder) / "video.mp4", chosen.frames)
        enough = [measure(model, video, chosen.rounds, Path(folder)) for model in chosen.models]
    return int(not all(enough))


def make_video(photos: Path, path: Path, frames: int) -> Path:
    """Write a video that moves over photos, one second over each."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, SIZE_WH)
    width, height = SIZE_WH
    found = sorted(find_pictures(photos))
    for photo in itertools.islice(itertools.cycle(found), max(1, frames // FPS)):
        picture = cv2.resize(decode(photo), (width + 4 * FPS, height + 2 * FPS))[..., ::-1]
        for step in range(FPS):
            writer.write(picture[2 * step :, 4 * step :][:height, :width].copy())
    writer.release()
    return path


def measure(model: Path, video: Path, rounds: int, folder: Path) -> bool:
    """Print one model's figures and return whether the rates are high enough."""
    request = SourceRequest(str(video))
    before = os.getloadavg()[0]
    wall_s: dict[str, list[float]] = defaultdict(list)
    cpu_s: dict[str, list[float]] = defaultdict(list)

    def timed(name: str, work: Callable[[], int]) -> None:
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        frames = work()
        wall_s[name].append((time.perf_counter() - began_s) / frames)
        cpu_s[name].append((time.process_time() - began_cpu_s) / frames)

    with Classifier(model) as classifier:
        frames_bgr, results = hold(request, classifier)
        for _ in range(rounds):
            timed(DECODE, lambda: decode_all(request))
            timed(CLASSIFY, lambda: sum(1 for f in frames_bgr if classifier.classify(f)))
            timed(ENCODE, lambda: encode_all(frames_bgr, results, folder))
            timed("classify a file", lambda: classify_all(classifier, request))
            timed("and record", lambda: record_all(classifier, request, folder))
    print(f"\n{model.name}; load average {before:.2f} before, {os.getloadavg()[0]:.2f} after")
    print("                 ms a frame   fps  CPU ms")
    middle = {name: statistics.median(entry) for name, entry in wall_s.items()}
    cpu = {name: statistics.median(entry) for name, entry in cpu_s.items()}
    for name in middle:
        print(
            f"{name:16} {1e3 * middle[name]:10.2f} {1 / middle[name]:6.0f} {1e3 * cpu[name]:7.2f}"
        )
    enough = True
    for name, stages in WHOLES.items():
        limits = {stage: middle[stage] for stage in stages}
        limits[f"{os.cpu_count()} cores"] = sum(cpu[s] for s in stages) / (os.cpu_count() or 1)
        slowest = max(limits, key=limits.__getitem__)
        ratio = limits[slowest] / middle[name]
        alone = max(middle[stage] for stage in stages) / middle[name]
        enough &= ratio >= LEAST
        print(f"{name}: {ratio:.3f} of what the slowest allows ({slowest}); {alone:.3f} of stages")
    return enough


def hold(request: SourceRequest, classifier: Classifier) -> tuple[list[Pixels], list[FrameResult]]:
    """Return the first frames and their results."""
    frames_bgr: list[Pixels] = []
    results: list[FrameResult] = []

    class Keep(Sink):
        def result(self, frame_bgr: Pixels, result: FrameResult) -> None:
            frames_bgr.append(frame_bgr)
            results.append(result)

    capture = open_capture(request)
    classify_source(classifier, capture, sinks=[Keep()], max_frames=HELD)
    capture.close()
    return frames_bgr, results


def decode_all(request: SourceRequest) -> int:
    """Decode the file and return the number of its frames."""
    source = open_source(request)
    frames = 0
    while source.read() is not None:
        frames += 1
    source.close()
    return frames


def encode_all(frames_bgr: list[Pixels], results: list[FrameResult], folder: Path) -> int:
    """Draw labels on frames and record them; return their number."""
    recorder = Recorder(folder / "alone.mp4", overwrite=True)
    recorder.opened(RunInfo(live=False, fps=FPS))
    for frame_bgr, result in zip(frames_bgr, results, strict=True):
        recorder.result(frame_bgr, result)
    recorder.closed()
    return len(frames_bgr)


def classify_all(classifier: Classifier, request: SourceRequest, *sinks: Sink) -> int:
    """Classify the file and return the number of its frames."""
    capture = open_capture(request, threading.Event())
    summary = classify_source(classifier, capture, sinks=sinks)
    capture.close()
    return summary.frames


def record_all(classifier: Classifier, request: SourceRequest, folder: Path) -> int:
    """Classify and record the file and return the number of its frames."""
    recorder = Recorder(folder / "whole.mp4", overwrite=True)
    return classify_all(classifier, request, recorder)


if __name__ == "__main__":
    sys.exit(main())
