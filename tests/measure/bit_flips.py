"""Damages model files in thousands of ways and asks the three commands about each.

make bit-flips MODELS='models/*.tflite'

Each file gets 1,000 random single-bit flips anywhere, as many in the archive at its end, where
anywhere seldom hits, and 100 truncations: all are to be refused. Then its model without the card,
as a third-party file might come, is damaged in 200 coarser ways: whatever the interpreter makes of
that, this process is to live. Exit code 1 if a sealed file was not refused.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pocketlens.benchmarks import benchmark
from pocketlens.card import unpack
from pocketlens.errors import ModelFileError
from pocketlens.runtime import Classifier
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.inspection import inspect
from pocketlens.runtime.interpreters import load_interpreter

# The functions behind `inspect`, `classify` and `benchmark`.
COMMANDS: dict[str, Callable[[Path], object]] = {
    "inspect": inspect,
    "classify": Classifier,
    "benchmark": lambda path: benchmark([path]),
}
# How many bytes a coarse change overwrites.
SPREADS = (1, 4, 16, 64, 256)


def damaged(
    data: bytes, flips: int, cuts: int, rng: np.random.Generator
) -> Iterator[tuple[str, bytes]]:
    """Yield what was done to a sealed file, and its bytes."""
    archive_at = len(unpack(data).flatbuffer)
    for what, start in (("flip anywhere", 0), ("flip in the archive", archive_at)):
        for bit in rng.integers(8 * start, 8 * len(data), flips):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << (bit % 8)
            yield what, bytes(changed)
    for size in rng.integers(0, len(data), cuts):
        yield "cut", data[:size]


def coarsely_damaged(model: bytes, count: int, rng: np.random.Generator) -> Iterator[bytes]:
    """Yield models with bytes overwritten, all over or in a row; a tenth are cut as well."""
    for index in range(count):
        changed = np.frombuffer(model, np.uint8).copy()
        number = int(rng.choice(SPREADS))
        # The first eight bytes say that it is a model, and nobody goes on without them.
        start = int(rng.integers(8, len(changed) - number))
        places = rng.integers(8, len(changed), number) if index % 2 else np.arange(number) + start
        changed[places] = rng.integers(0, 256, number)
        yield changed.tobytes()[: int(rng.integers(8, len(model))) if index % 10 == 0 else None]


def refusal(call: Callable[[Path], object], path: Path) -> str | None:
    """Return the sentence with which a file was refused, None if it was not."""
    try:
        call(path)
    except ModelFileError as error:
        return str(error)
    return None


def try_sealed(data: bytes, path: Path, options: argparse.Namespace) -> int:
    """Print how many changes of a sealed file were refused; return how many were not."""
    refused: Counter[str] = Counter()
    missed = 0
    rng = np.random.default_rng(options.seed)
    for what, changed in damaged(data, options.flips, options.cuts, rng):
        path.write_bytes(changed)
        for command, call in COMMANDS.items():
            sentence = refusal(call, path) or ""
            good = "Expected" in sentence and "Received" in sentence
            refused[f"{what}, {command}"] += good
            missed += not good
    for what, count in refused.items():
        print(f"  {count:5d}  {what}")
    print(f"  {missed:5d}  not refused")
    return missed


def try_unsealed(data: bytes, path: Path, options: argparse.Namespace) -> None:
    """Print what became of damaged models without a card, and what trying them costs."""
    # Its metadata goes too, since a file that names labels and has none is refused at once.
    model = unpack(data).flatbuffer.replace(b"TFLITE_METADATA", b"UNKNOWN_RECORDS")
    ends: Counter[str] = Counter()
    rng = np.random.default_rng(options.seed)
    for changed in coarsely_damaged(model, options.corruptions, rng):
        path.write_bytes(changed)
        sentence = refusal(inspect, path)
        if sentence is None:
            ends["ran, with a weight or two changed"] += 1
        elif "process of its own" in sentence:
            ends["took its own process down, or hung"] += 1
        else:
            ends["refused"] += 1
    for what, count in ends.items():
        print(f"  {count:5d}  without its card: {what}")
    first, loads, later = [], [], []
    hints = ModelHints(mean=0, std=1)
    for index in range(options.repeats):
        # Another file each time: what follows the model is not read by anyone.
        path.write_bytes(model + bytes(index + 1))
        first.append(seconds(lambda: Classifier(path, hints=hints)))
        later.append(seconds(lambda: Classifier(path, hints=hints)))
        loads.append(seconds(lambda: load_interpreter(model)))
    print(
        f"  without its card, the first time {statistics.median(first):.3f} s, later "
        f"{statistics.median(later):.3f} s; the interpreter alone {statistics.median(loads):.3f} s"
    )


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--corruptions", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        # Nothing of this is to be remembered.
        os.environ["POCKETLENS_CACHE"] = folder
        for model in options.models:
            print(model)
            path = Path(folder) / "damaged.tflite"
            missed += try_sealed(model.read_bytes(), path, options)
            try_unsealed(model.read_bytes(), path, options)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
