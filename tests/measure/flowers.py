"""The whole road on real photos, several seeds, with and without training on the grid.

Run by hand (`make flowers PHOTOS=… WEIGHTS=…`); prints the README's table of formats. Every step
is the command that a user would type. Options that this script does not know go to `train`.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pocketlens.runtime.runs import is_run

# The benchmark's figures of one run by format, as `--json` has them.
Figures = dict[str, dict[str, Any]]

FORMATS = ("float32", "float16", "dynamic", "weights8", "int8")


def main() -> None:
    """Train, convert and benchmark for every seed, then add the test photos up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--out", type=Path, default=Path("build/flowers"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    chosen, train_options = parser.parse_known_args()
    for grid_epochs in (4, 0):
        results = [road(chosen, seed, grid_epochs, train_options) for seed in chosen.seeds]
        print_table(results, grid_epochs)


def road(
    chosen: argparse.Namespace, seed: int, grid_epochs: int, train_options: list[str]
) -> Figures:
    """Return the benchmark's figures of one seed by format."""
    run = chosen.out / f"seed{seed}_grid{grid_epochs}"
    models = chosen.out / "models"
    figures = models / f"{run.name}.json"
    if not is_run(run):
        options = ["--weights", chosen.weights, "--grid-epochs", str(grid_epochs), *train_options]
        pocketlens("train", chosen.photos, "--out", run, "--seed", seed, *options)
    if not figures.is_file():
        pocketlens("convert", run, "--out", models, "--overwrite", "--force")
        files = [models / f"{run.name}_{entry}.tflite" for entry in FORMATS]
        pocketlens("benchmark", *files, "--photos", run, "--json", figures)
    return {entry["format"]: entry for entry in json.loads(figures.read_text())["files"]}


def print_table(results: list[Figures], grid_epochs: int) -> None:
    """Print the formats' figures, all seeds' test photos together."""
    print(f"\nGrid epochs: {grid_epochs}. Accuracy by seed (float32):", end=" ")
    print(", ".join(f"{result['float32']['accuracy']['top1']:.4f}" for result in results))
    print("format     accuracy  net loss  agreement  size ratio  invoke ratio (median of seeds)")
    right = sum(result["float32"]["accuracy"]["correct"] for result in results)
    for entry in FORMATS:
        files = [result[entry] for result in results]
        total = sum(file["accuracy"]["total"] for file in files)
        correct = sum(file["accuracy"]["correct"] for file in files)
        agreeing = sum(file["accuracy"]["agreement"] * file["accuracy"]["total"] for file in files)
        ratios = sorted(file["latencies"][0]["invoke"]["ratio"] for file in files)
        size = files[0]["size_bytes"] / results[0]["float32"]["size_bytes"]
        print(
            f"{entry:10} {correct / total:.4f}    {(right - correct) / total:+.4f}   "
            f"{agreeing / total:.4f}     {size:.3f}       "
            f"{ratios[len(ratios) // 2]:.2f}"
        )


def pocketlens(*arguments: object) -> None:
    """Run a command and stop everything if it fails."""
    command = [sys.executable, "-m", "pocketlens", *map(str, arguments)]
    print("$", "pocketlens", *map(str, arguments), flush=True)
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
