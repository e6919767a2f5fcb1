"""Whether measuring accuracy keeps all cores busy with decoding and inference, and nothing else.

Run by hand (`make accuracy-speed MODELS='models/*.tflite' PHOTOS=folder-per-class`). In turn, as
often as `--times` says: reading all photos once on all cores; a bare `invoke()` of each file, as
often as there are photos; and the accuracy part of a benchmark of all files. Ends with 1 where the
median of its time over reading + invokes ÷ cores is above the limit.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

from pocketlens.benchmarks.candidates import read_candidates
from pocketlens.benchmarks.evaluations import evaluate_files
from pocketlens.runtime.photos import read_labelled
from pocketlens.runtime.runs import evaluation_photos
from pocketlens.workers import count_cores

LIMIT = 1.15
_INVOKES = 100


def main() -> int:
    """Print a line for each time; 0 if the median ratio is within the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", help=".tflite files of one input size")
    parser.add_argument("--photos", type=Path, required=True, help="a folder per class")
    parser.add_argument("--times", type=int, default=3)
    chosen = parser.parse_args()
    candidates, _ = read_candidates(chosen.models)
    photos, cores = evaluation_photos(chosen.photos), count_cores()
    print(f"{len(candidates)} files, {len(photos.photos)} photos, {cores} cores")
    print("reading s  invokes s  accuracy s  ratio")
    ratios = []
    for _ in range(chosen.times):
        with candidates[0].load() as classifier:
            shape = classifier.size_wh, classifier.resize_mode
        start = time.perf_counter()
        count = sum(1 for _ in read_labelled(photos, *shape, []))
        reading_s = time.perf_counter() - start
        invokes_s = sum(count * invoke_s(candidate) for candidate in candidates)
        start = time.perf_counter()
        evaluate_files(candidates, [shape] * len(candidates), photos, 0)
        accuracy_s = time.perf_counter() - start
        ratios.append(accuracy_s / (reading_s + invokes_s / cores))
        print(f"{reading_s:9.2f}  {invokes_s:9.2f}  {accuracy_s:10.2f}  {ratios[-1]:5.3f}")
    ratio = statistics.median(ratios)
    print(f"median {ratio:.3f}, limit {LIMIT}")
    return int(ratio > LIMIT)


def invoke_s(candidate):
    """Return the median seconds of a bare invoke with one thread."""
    with candidate.load() as classifier:
        times = []
        for _ in range(_INVOKES):
            start = time.perf_counter()
            classifier.interpreter.invoke()
            times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
