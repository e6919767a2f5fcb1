"""How soon `live --watch-shift` finds what happens to cameras, and how often it cries wolf.

Run by hand (`make shift MODELS='models/*.tflite' PHOTOS=runs/NAME`), with photos that training
has not seen: a run gives its test photos. From the same photos come frames that are dark, blurred,
grey or half covered. A trial is a camera that shows so many of them in random order, and none
twice; the watch looks at each. Ends with 1 where a shift is found in less than 99 % of 200 trials,
or an alarm comes in more than 1 of 1,000 trials without one.
"""

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from pocketlens.choices import SHIFT_KINDS
from pocketlens.runtime import Classifier
from pocketlens.runtime.live.shifts import WINDOW, ShiftWatch
from pocketlens.runtime.pictures import Pixels, decode, resize
from pocketlens.runtime.runs import evaluation_photos
from pocketlens.runtime.shift import picture_numbers

FOUND_LIMIT = 0.99
ALARM_LIMIT = 0.001
# Of the larger side, as out of focus as a lens that was touched.
BLUR = 0.01


def dark(pixels: Pixels) -> Pixels:
    """Return a picture as at dusk, by a gamma of 2.5."""
    return cv2.LUT(pixels, (255 * (np.arange(256) / 255) ** 2.5).round().astype(np.uint8))


def blurred(pixels: Pixels) -> Pixels:
    """Return a picture out of focus."""
    return cv2.GaussianBlur(pixels, (0, 0), BLUR * max(pixels.shape[:2]))


def grey(pixels: Pixels) -> Pixels:
    """Return a picture without colours, as of a camera in night mode."""
    return cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def half_covered(pixels: Pixels) -> Pixels:
    """Return a picture of which something black hides the left half."""
    covered = pixels.copy()
    covered[:, : covered.shape[1] // 2] = 0
    return covered


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "none": lambda pixels: pixels,
    "dark": dark,
    "blurred": blurred,
    "grey": grey,
    "half covered": half_covered,
}

Numbers = list[dict[str, float]]


def main() -> int:
    """Print a line for each change; 0 if the limits are held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", help=".tflite files with a reference")
    parser.add_argument("--photos", type=Path, required=True, help="a run, or a folder per class")
    parser.add_argument("--trials", type=int, default=200, help="with each shift")
    parser.add_argument("--windows", type=int, default=1000, help="without one")
    chosen = parser.parse_args()
    held = [measure(path, chosen.photos, chosen.trials, chosen.windows) for path in chosen.models]
    return int(not all(held))


def measure(path: Path, photos: Path, trials: int, windows: int) -> bool:
    """Print one file's figures and return whether they are within the limits."""
    held = True
    with Classifier(path) as classifier:
        card = classifier.card
        known = [label for label in card.labels if label != card.unknown]
        labelled = evaluation_photos(photos).with_labels(card.labels, card.task)
        paths = [
            photo.path
            for photo in labelled.photos
            if all(card.labels[index] in known for index in photo.label_indices)
        ]
        print(f"{path.name}: {card.shift['photos']} photos; frames of {len(paths)} others", end="")
        began_s = time.perf_counter()
        numbers = {
            name: read_numbers(classifier, paths, change) for name, change in CHANGES.items()
        }
        print(f", {time.perf_counter() - began_s:.0f} s")
    random = np.random.default_rng(0)
    for name, frames in numbers.items():
        count = windows if name == "none" else trials
        kinds: Counter[str] = Counter()
        after: list[int] = []
        for _ in range(count):
            watch = ShiftWatch(card)
            order = random.permutation(len(frames))[:WINDOW]
            looks = next((n for n, row in enumerate(order, 1) if watch.add(frames[row])), None)
            if looks is not None and watch.kind is not None:
                kinds[watch.kind] += 1
                after.append(looks)
        share = len(after) / count
        good = share <= ALARM_LIMIT if name == "none" else share >= FOUND_LIMIT
        held &= good
        said = ", ".join(f"{kind} {kinds[kind]}" for kind in SHIFT_KINDS if kinds[kind])
        median = (
            f"after {statistics.median(after):.0f} frames (at most {max(after)})" if after else ""
        )
        print(
            f"  {name:13s} {len(after):4d} of {count:4d} {median} {said}{'' if good else '  LIMIT'}"
        )
    return held


def read_numbers(
    classifier: Classifier, paths: Sequence[Path], change: Callable[[Pixels], Pixels]
) -> Numbers:
    """Return the numbers of each photo as a camera would show it after a change."""
    card, found = classifier.card, []
    for path in paths:
        pixels = resize(change(decode(path)), card.input_size_wh, card.resize_mode)
        found.append(picture_numbers(pixels, classifier.scores(pixels), card.unknown_index))
    return found


if __name__ == "__main__":
    sys.exit(main())
