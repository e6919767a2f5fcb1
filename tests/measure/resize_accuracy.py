"""What the way of resizing does to answers: ours beside plain linear, area and none at all.

Run by hand (`make resize-accuracy RUN=runs/flowers MODEL=flowers_float32.tflite`) with a run and a
file made of it, on the run's test photos. A camera's frame is larger than such photos
and grainy, so each photo is enlarged to 720 and 1080 rows and gets a camera's noise, as coarse as
its pixels. Brought back to the model's size, it should be answered like the photo itself.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from pocketlens.runtime import Classifier
from pocketlens.runtime.pictures import Pixels, Resizer, decode
from pocketlens.runtime.runs import read_run

SIZES_WH = {"720p": (1280, 720), "1080p": (1920, 1080)}
# Of the brightness 0-255: none, good light, a barn in the evening.
NOISES = (0, 15, 40)


def main() -> None:
    """Print a table for each size and noise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--photos", type=int, default=200)
    chosen = parser.parse_args()
    labelled = read_run(chosen.run).photos("test")
    step = max(1, len(labelled.photos) // chosen.photos)
    photos = labelled.photos[::step][: chosen.photos]
    rng = np.random.default_rng(0)
    # Twice as much as the largest frame takes, so that each photo gets another part of it.
    grain = rng.standard_normal(2 * 3 * max(w * h for w, h in SIZES_WH.values()), np.float32)
    with Classifier(chosen.model) as classifier:
        ways = make_ways(classifier.size_wh)
        print(f"{chosen.model.name}, {len(photos)} photos")
        print("frame  noise  resize   accuracy  agrees with photo  score moved  median ms")
        for size, size_wh in SIZES_WH.items():
            for noise in NOISES:
                rows: dict[str, list[tuple[bool, bool, float, float]]] = defaultdict(list)
                for photo in photos:
                    picture = decode(photo.path)
                    own = classifier.classify(picture[..., ::-1])
                    large = cv2.resize(picture, size_wh, interpolation=cv2.INTER_CUBIC)
                    frame = grainy(large, noise * grain, rng)
                    for name, way in ways.items():
                        before_s = time.perf_counter()
                        small = way(frame)
                        took_ms = 1e3 * (time.perf_counter() - before_s)
                        scores = classifier.scores(small)
                        top = int(scores.argmax())
                        moved = float(np.abs(scores - own.scores).max())
                        rows[name].append(
                            (top in photo.label_indices, top == own.top.index, moved, took_ms)
                        )
                for name, entries in rows.items():
                    right, same, moved, took_ms = np.array(entries, float).T
                    print(
                        f"{size:5}  {noise:5}  {name:7}  {right.mean():8.3f}  {same.mean():17.3f}  "
                        f"{moved.mean():11.3f}  {np.median(took_ms):9.2f}",
                        flush=True,
                    )


def make_ways(size_wh: tuple[int, int]) -> dict[str, Callable[[Pixels], Pixels]]:
    """Return the ways of resizing by name."""

    def by(interpolation: int) -> Callable[[Pixels], Pixels]:
        return lambda frame: cv2.resize(frame, size_wh, interpolation=interpolation)

    return {
        "ours": Resizer(size_wh),
        "linear": by(cv2.INTER_LINEAR),
        "area": by(cv2.INTER_AREA),
        "nearest": by(cv2.INTER_NEAREST),
    }


def grainy(frame: Pixels, grain: np.ndarray, rng: np.random.Generator) -> Pixels:
    """Return a frame with a part of the grain, float32 (values,), added to it."""
    start = rng.integers(grain.size - frame.size)
    own = grain[start : start + frame.size].reshape(frame.shape)
    return cv2.add(frame, own, dtype=cv2.CV_8U)  # type: ignore[return-value]


if __name__ == "__main__":
    main()
