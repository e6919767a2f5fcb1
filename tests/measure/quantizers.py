"""What each format loses to its Keras model on test photos, beside TFLiteConverter's plain files.

Run by hand (`make quantizers RUNS='runs/a runs/b'`) on runs that `make flowers` trained; all runs'
test photos count together. Calibration sees training photos only, the limit on what int8 may
lose validation photos only.
"""

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from plain import PLAIN, convert_plainly, predict

from pocketlens.convert import Comparison, Demands, Reference, convert
from pocketlens.convert.formats import rerun
from pocketlens.convert.photos import choose_stratified, load_labelled, load_pixels
from pocketlens.evaluation.intervals import wilson
from pocketlens.keras_files import load_keras_model
from pocketlens.quiet import quiet
from pocketlens.runtime.model_files import read_model_file
from pocketlens.runtime.runs import read_run

_PHOTOS = 200


def main() -> None:
    """Convert every run both ways and print the pooled table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    results: dict[str, list[Comparison]] = defaultdict(list)
    for folder in parser.parse_args().runs:
        for name, comparison in compare(folder).items():
            results[name].append(comparison)
            print(f"{folder.name} {name}: {comparison}", flush=True)
    print("\nfile                agreement (95 % interval)   net lost  distance")
    for name, entries in results.items():
        photos = sum(entry.photos for entry in entries)
        same = sum(round(entry.agreement * entry.photos) for entry in entries)
        net = sum(entry.lost - entry.won for entry in entries)
        low, high = wilson(same, photos)
        distance = np.mean([entry.distance for entry in entries])
        print(
            f"{name:18}  {same / photos:.4f} ({low:.4f} to {high:.4f})   "
            f"{100 * net / photos:+.2f}      {distance:.4f}   ({photos} photos)"
        )


def compare(folder: Path) -> dict[str, Comparison]:
    """Return every file's comparison with the Keras model on the test photos."""
    run = read_run(folder)
    size_wh, mode = run.card.input_size_wh, run.card.resize_mode
    pixels, truth = load_labelled(run.photos("test"), size_wh, mode)
    model = load_keras_model(run.model)
    test = Reference(pixels, truth, predict(model, pixels), run.card)
    seed = int(run.card.training["seed"])
    photos = load_pixels(
        choose_stratified(run.photos("train").photos, _PHOTOS, seed), size_wh, mode
    )
    found = {}
    with tempfile.TemporaryDirectory() as out:
        for file in convert(folder, Path(out), demands=Demands(force=True), samples=_PHOTOS):
            flatbuffer = read_model_file(file.path).flatbuffer
            found[file.format] = test.compare(rerun(flatbuffer, run.card, pixels, file.path).scores)
    for name in PLAIN:
        with quiet():
            flatbuffer = convert_plainly(model, name, photos)
        found[f"{name}, plain"] = test.compare(
            rerun(flatbuffer, run.card, pixels, Path(name)).scores
        )
    return found


if __name__ == "__main__":
    main()
