"""Whether two interpreters give the same answers: scores written in one environment, compared.

same_answers.py write FILE.npz PHOTOS MODEL...    in each of the two
same_answers.py compare ONE.npz OTHER.npz         in either: exit code 1 where they differ
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pocketlens.runtime import Classifier
from pocketlens.runtime.interpreters import find_backend
from pocketlens.runtime.photos import find_pictures
from pocketlens.runtime.pictures import decode, resize

MOST_PHOTOS = 100

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


def write(target: str, photos: str, *models: str) -> int:
    """Score the photos with each model and write what came out."""
    paths = sorted(find_pictures(Path(photos)))
    paths = paths[:: -(-len(paths) // MOST_PHOTOS)]
    scores = {}
    for model in models:
        with Classifier(model) as classifier:
            assert classifier.model.card is not None
            entry = classifier.model.card.format
            pixels = (resize(decode(path), classifier.size_wh) for path in paths)
            scores[entry] = np.stack([classifier.scores(picture) for picture in pixels])
    np.savez(target, **scores)
    backend = find_backend()
    print(f"{backend.name} {backend.version}: {len(models)} models, {len(paths)} photos")
    return 0


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
    sys.exit({"write": write, "compare": compare}[sys.argv[1]](*sys.argv[2:]))
