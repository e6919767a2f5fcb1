"""Whether the benchmark's bare `invoke()` is what a loop written by hand measures.

Run by hand (`make bare-invoke MODELS='models/*.tflite'`), best on an idle machine. Each round times
all files as a process of `pocketlens benchmark` does, in turn with everything else, and then each
of them with the loop that anyone would write around the interpreter, in one process, so that noise
hits both alike. Ends with 1 where the two medians are more than 3 % apart and the interval of their
ratio does not hold 1.
"""

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from pocketlens.benchmarks.latency import Settings
from pocketlens.benchmarks.processes import time_files
from pocketlens.runtime import Classifier
from pocketlens.runtime.interpreters import find_backend

LIMIT = 0.03
RESAMPLES = 1000


def main() -> int:
    """Print a row for each file and number of threads; 0 if all are within the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", help=".tflite files")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--runs", type=int, default=50, help="of each in a round")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    chosen = parser.parse_args()
    rows = [(i, count) for i in range(len(chosen.models)) for count in chosen.threads]
    medians_ms = np.empty((chosen.rounds, len(rows), 2))
    with ExitStack() as stack:
        ours = {
            (i, count): stack.enter_context(Classifier(chosen.models[i], threads=count))
            for i, count in rows
        }
        others = {(i, count): load_by_hand(chosen.models[i], count) for i, count in rows}
        for number in range(chosen.rounds):
            settings = Settings(chosen.runs, min_secs=0, warmup_runs=1, seed=number)
            series = time_files(ours, settings)
            for place, row in enumerate(rows):
                by_hand_ms = np.median(loop_by_hand(others[row], chosen.runs))
                ours_ms = np.median(series.durations_ns[row, "invoke"]) / 1e6
                medians_ms[number, place] = ours_ms, by_hand_ms
    print("                                threads  benchmark ms  by hand ms   ratio (95 %)")
    within = [
        say(chosen.models[i].name, count, medians_ms[:, place])
        for place, (i, count) in enumerate(rows)
    ]
    return int(not all(within))


def load_by_hand(model: Path, threads: int) -> Any:
    """Load a file as tutorials do and put a picture of noise into it."""
    interpreter = find_backend().module.Interpreter(model_path=str(model), num_threads=threads)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    picture = np.random.default_rng(0).integers(0, 256, entry["shape"]).astype(entry["dtype"])
    interpreter.set_tensor(entry["index"], picture)
    interpreter.invoke()
    return interpreter


def loop_by_hand(interpreter: Any, runs: int) -> list[float]:
    """Time `invoke()` as anyone would, in milliseconds."""
    times_ms = []
    for _ in range(runs):
        start = time.perf_counter()
        interpreter.invoke()
        times_ms.append(1000 * (time.perf_counter() - start))
    return times_ms


def say(name: str, threads: int, medians_ms: Any) -> bool:
    """Print how far two columns of medians (rounds, 2) are apart; True if within the limit."""
    ours, by_hand = np.median(medians_ms, axis=0)
    drawn = np.random.default_rng(0).integers(0, len(medians_ms), (RESAMPLES, len(medians_ms)))
    resampled = np.median(medians_ms[drawn], axis=1)
    low, high = np.percentile(resampled[:, 0] / resampled[:, 1], (2.5, 97.5))
    ratio = ours / by_hand
    good = bool(abs(ratio - 1) <= LIMIT or low <= 1 <= high)
    print(
        f"{name[-30:]:30}  {threads:7}  {ours:12.3f}  {by_hand:10.3f}  {ratio:6.3f} "
        f"({low:.3f}–{high:.3f}){'' if good else ' !'}"
    )
    return good


if __name__ == "__main__":
    sys.exit(main())
