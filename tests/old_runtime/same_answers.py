"""Whether two interpreters give the same answers: scores written in one environment, compared.

same_answers.py video FILE.mp4 PHOTOS                  makes a short video of photos
same_answers.py write FILE.npz SOURCE... MODEL...      in each of the two; a source is a folder of
                                                       photos or a video, of which MOST_PICTURES
                                                       are taken
same_answers.py compare ONE.npz OTHER.npz              in either: exit code 1 where they differ
"""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pocketlens.runtime import Classifier
from pocketlens.runtime.interpreters import find_backend
from pocketlens.runtime.live.sources import SourceRequest, open_source
from pocketlens.runtime.photos import find_pictures
from pocketlens.runtime.pictures import Pixels, decode, resize

MOST_PICTURES = int(os.environ.get("MOST_PICTURES", "100"))
VIDEO_WH = (320, 240)

# How far a score may be off. Float files are calculated in float32 by both. In the others each
# layer rounds to 8 bits, by rules that the two interpreters do not share: 0.030 was the most for
# dynamic and 0.023, six steps of its output, for int8, over 100 flowers (MobileNetV2 1.0/224,
# tflite-runtime 2.14 against ai-edge-litert 2.3, x86-64), the median 0.00002 and 0.
TOLERANCES = {
    "float32": 1e-4,
    "float16": 1e-4,
    "weights8": 1e-4,
    "dynamic": 0.06,
    "int8": 0.06,
}
# Answers may only differ where the best two are closer than this: three steps of int8's output.
CLOSE = 3 / 256


def video(target: str, photos: str) -> int:
    """Write a video that shows one photo after the other, 15 frames in all."""
    writer = cv2.VideoWriter(target, cv2.VideoWriter.fourcc(*"mp4v"), 10, VIDEO_WH)
    for path in evenly(sorted(find_pictures(Path(photos))), 15):
        writer.write(cv2.resize(decode(path)[..., ::-1], VIDEO_WH, interpolation=cv2.INTER_AREA))
    writer.release()
    return 0


def write(target: str, *names: str) -> int:
    """Score the pictures with each model and write what came out."""
    models = [name for name in names if name.endswith(".tflite")]
    sources = [name for name in names if name not in models]
    scores = {}
    for model in models:
        started_s = time.perf_counter()
        with Classifier(model) as classifier:
            assert classifier.model.card is not None
            entry = classifier.model.card.format
            scores[entry] = np.stack(
                [
                    classifier.scores(resize(picture_rgb, classifier.size_wh))
                    for source in sources
                    for picture_rgb in pictures(source)
                ]
            )
        seconds = time.perf_counter() - started_s
        print(f"{entry:8}  {len(scores[entry])} pictures in {seconds:.1f} s")
    np.savez(target, **scores)
    backend = find_backend()
    print(f"{backend.name} {backend.version}: {len(models)} models")
    return 0


def pictures(source: str) -> Iterator[Pixels]:
    """Give the photos of a folder, or the frames of a video, as RGB."""
    if Path(source).is_dir():
        for path in evenly(sorted(find_pictures(Path(source))), MOST_PICTURES):
            yield decode(path)
        return
    opened = open_source(SourceRequest(source))
    while (frame_bgr := opened.read()) is not None:
        yield np.ascontiguousarray(frame_bgr[..., ::-1])
    opened.close()


def evenly(paths: list[Path], most: int) -> list[Path]:
    return paths[:: -(-len(paths) // most)]


def compare(one: str, other: str) -> int:
    """Print how far the scores are apart and say what is not as it should be."""
    with np.load(one) as ours, np.load(other) as theirs:
        faults = [
            fault
            for entry in TOLERANCES
            for fault in differences(entry, ours[entry], theirs[entry])
        ]
    for fault in faults:
        print(fault)
    return int(bool(faults))


def differences(entry: str, ours: np.ndarray, theirs: np.ndarray) -> Iterator[str]:
    assert ours.shape == theirs.shape
    farthest = float(np.abs(ours - theirs).max())
    best = np.sort(ours, axis=1)
    margins = best[:, -1] - best[:, -2]
    other_answer = ours.argmax(axis=1) != theirs.argmax(axis=1)
    print(
        f"{entry:8}  same top-1 {(~other_answer).sum()}/{len(ours)}, scores within {farthest:.2g}"
    )
    if not farthest <= TOLERANCES[entry]:
        yield f"{entry}: expected scores within {TOLERANCES[entry]}. Received: {farthest:.4g}."
    close = CLOSE if TOLERANCES[entry] > CLOSE else TOLERANCES[entry]
    for margin in margins[other_answer & (margins > close)]:
        yield f"{entry}: expected the same answer. Received: another, with {margin:.4f} between."


if __name__ == "__main__":
    sys.exit({"video": video, "write": write, "compare": compare}[sys.argv[1]](*sys.argv[2:]))
