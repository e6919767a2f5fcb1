"""How long five formats of a run take, beside five plain conversions; and the dynamic file's speed.

Run by hand (`make conversion-time RUN=runs/flowers`). The plain ones are separate calls of
TFLiteConverter as its guide shows it, on the model and photos that the run's conversion reads
(TFLiteConverter has no weights8: its dynamic file is made a second time in its place). Everything
runs in turn in one process, so that imports count for neither. Afterwards the inference times of
TFLiteConverter's own dynamic file, of ours and of the other formats, interleaved, one thread.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from plain import convert_plainly

from pocketlens.benchmarks.latency import Settings, time_interleaved
from pocketlens.convert import FORMATS, Demands, convert
from pocketlens.convert.photos import choose_stratified, load_pixels
from pocketlens.keras_files import load_keras_model
from pocketlens.quiet import quiet
from pocketlens.runtime.interpreters import load_interpreter
from pocketlens.runtime.model_files import read_model_file
from pocketlens.runtime.runs import read_run

_PHOTOS = 200
_PLAIN_DYNAMIC = "TFLiteConverter's dynamic"


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    spent: dict[str, list[float]] = {"plain": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        # A first, short conversion, so that neither pays for what is loaded once.
        convert(chosen.run, Path(folder), ["float32"], overwrite=True)
        for _ in range(chosen.rounds):
            started = time.perf_counter()
            plain_dynamic = five_plain(chosen.run)
            spent["plain"].append(time.perf_counter() - started)
            started = time.perf_counter()
            demands = Demands(force=True)
            files = convert(chosen.run, Path(folder), demands=demands, overwrite=True)
            spent["ours"].append(time.perf_counter() - started)
            print({name: [round(value, 1) for value in values] for name, values in spent.items()})
        flatbuffers = {file.format: read_model_file(file.path).flatbuffer for file in files}
    for name, values in spent.items():
        print(f"{name}: {min(values):.1f} s, {min(values) / min(spent['plain']):.2f} of plain")
    print_latencies({**flatbuffers, _PLAIN_DYNAMIC: plain_dynamic})


def five_plain(folder: Path) -> bytes:
    """Do five plain conversions, each from the saved model, and return the dynamic file."""
    run = read_run(folder)
    seed = int(run.card.training["seed"])
    made = {}
    for name in ("float32", "float16", "dynamic", "dynamic", "int8"):
        with quiet():
            paths = choose_stratified(run.photos("train").photos, _PHOTOS, seed)
            photos = []
            if name == "int8":
                photos = load_pixels(paths, run.card.input_size_wh, run.card.resize_mode)
            made[name] = convert_plainly(load_keras_model(run.model), name, photos)
    return made["dynamic"]


def print_latencies(flatbuffers: dict[str, bytes]) -> None:
    """Print the medians of `invoke()`, also as shares of two of them."""
    with quiet():
        interpreters = {name: load_interpreter(data) for name, data in flatbuffers.items()}
    calls = {name: interpreter.invoke for name, interpreter in interpreters.items()}
    durations = time_interleaved(calls, Settings(num_runs=100))
    medians = {name: float(np.median(values)) / 1e6 for name, values in durations.items()}
    for name in (*FORMATS, _PLAIN_DYNAMIC):
        print(
            f"{name}: {medians[name]:.2f} ms, {medians[name] / medians['float32']:.2f} of float32, "
            f"{medians[name] / medians[_PLAIN_DYNAMIC]:.2f} of {_PLAIN_DYNAMIC}"
        )


if __name__ == "__main__":
    main()
