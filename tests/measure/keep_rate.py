"""Whether keeping frames for labelling slows down classification.

Run by hand (`make keep-rate MODEL=file.tflite VIDEO=file.mp4`). A video, again and again, and a
fake camera that is faster than any model are classified; in turns of 50 frames, `--keep` gets the
results and does not. Ends with 1 where the median of the turns' rates is more than 2 % lower with
it.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from pocketlens.clock import CLOCK
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.live.capture.opening import open_capture
from pocketlens.runtime.live.decisions import Decider, DecisionSettings
from pocketlens.runtime.live.frames import FrameResult, RunInfo, Sink
from pocketlens.runtime.live.loop import classify_source
from pocketlens.runtime.live.sinks.keep import Keep
from pocketlens.runtime.live.sources import SourceRequest

SIZE_WH = (1280, 720)
CAMERA_FPS = 500.0
TURN = 50
MOST_SLOWER = 0.98


class Turns(Sink):
    """Gives results to another sink in every second turn, and takes the rate of each."""

    def __init__(self, keep: Keep) -> None:
        self.keep = keep
        self.rates: tuple[list[float], list[float]] = ([], [])
        self._count = 0
        self._since_s = 0.0

    def opened(self, run: RunInfo) -> None:
        """Begin."""
        self.keep.opened(run)

    def result(self, frame_bgr: np.ndarray, result: FrameResult) -> None:
        """Take a result."""
        turn, place = divmod(self._count, TURN)
        # Which of the two comes first changes, as what else the machine does may have a rhythm.
        keeps = (turn + turn // 2) % 2
        if place == 0:
            now_s = CLOCK.now_s()
            if turn > 1:
                before = (turn - 1 + (turn - 1) // 2) % 2
                self.rates[before].append(TURN / (now_s - self._since_s))
            self._since_s = now_s
        self._count += 1
        if keeps:
            self.keep.result(frame_bgr, result)

    def closed(self) -> None:
        """End."""
        self.keep.closed()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=12_000)
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    slow = False
    # A camera that is faster than any model, so that the rate is that of the classifier.
    sources = {
        "video": SourceRequest(str(chosen.video)),
        "camera": SourceRequest("fake:", SIZE_WH, CAMERA_FPS),
    }
    with Classifier(chosen.model) as classifier:
        for name, source in sources.items():
            without, keeping, kept = measure(classifier, source, chosen.frames)
            ratio = statistics.median(keeping) / statistics.median(without)
            slow |= ratio < MOST_SLOWER
            figures = {
                "source": name,
                "turns": len(keeping),
                "fps_without": round(statistics.median(without), 1),
                "fps_with": round(statistics.median(keeping), 1),
                "ratio_of_medians": round(ratio, 4),
                "ratio_of_means": round(statistics.mean(keeping) / statistics.mean(without), 4),
                "kept": kept,
                "load": round(os.getloadavg()[0], 1),
            }
            print(json.dumps(figures), flush=True)
    sys.exit(slow)


def measure(
    classifier: Classifier, source: SourceRequest, frames: int
) -> tuple[list[float], list[float], int]:
    """Return the rates of turns without and with it, and how many frames were kept."""
    rates: tuple[list[float], list[float]] = ([], [])
    done = kept = 0
    while done < frames:
        with tempfile.TemporaryDirectory() as folder:
            turns = Turns(Keep(Path(folder)))
            decider = Decider(classifier.labels, classifier.task, 0.5, DecisionSettings())
            about = RunInfo(task=classifier.task, labels=tuple(classifier.labels))
            capture = open_capture(source)
            summary = classify_source(
                classifier,
                capture,
                sinks=[turns],
                decisions=decider,
                run=about,
                max_frames=frames - done,
            )
            capture.close()
            for all_of, those in zip(rates, turns.rates, strict=True):
                all_of += those
            done += summary.frames
            kept += turns.keep.counts()["kept_frames"]
    return (*rates, kept)


if __name__ == "__main__":
    main()
