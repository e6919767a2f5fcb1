"""What models do with photos of something else: strangers, look-alikes, few photos, label sets.

Run by hand (`make unknown PHOTOS=… STRANGERS=…`), some minutes a training. Each of the parts trains
with `train`, converts with `convert`, and asks all five files about test photos, which training has
not seen, and about strangers:

- plain: no counter-examples; all strangers count.
- counter: every other stranger is a counter-example; the others count.
- left-out: a class is kept from training, another one for each seed; its photos are the strangers.
- few: ten photos a class, the other photos are test photos.

The exit status is 1 where a limit is not held.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import ModelCard
from pocketlens.choices import FORMATS
from pocketlens.evaluation.answers import to_answers
from pocketlens.evaluation.intervals import wilson
from pocketlens.evaluation.sets import SetCoverage, measure_sets
from pocketlens.evaluation.unknown import Refusals, Strangers, known_part
from pocketlens.runtime import Classifier
from pocketlens.runtime.photos import find_pictures
from pocketlens.runtime.pictures import decode, resize
from pocketlens.runtime.runs import is_run, read_split

FEW = 10
PARTS = ("plain", "counter", "left-out", "few")
# Of all seeds together: at least so many known photos kept, at most so many strangers accepted.
LIMITS = {"plain": (0.94, 0.06), "counter": (0.94, 0.03), "left-out": (0, 1), "few": (0, 0.15)}
SAME = {"float32": 1, "float16": 0.99, "dynamic": 0.99, "weights8": 0.99, "int8": 0.98}
SET_LEVEL, SET_TOLERANCE = 0.95, 0.02


@dataclass(frozen=True)
class Found:
    """What one file says: `right` and `known` of test photos, `same` of all photos' decisions."""

    refusals: Refusals
    right: int
    same: float
    sets: tuple[SetCoverage, ...]


def main() -> int:
    """Measure the parts that are asked for and print what is found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="a folder for each class")
    parser.add_argument("strangers", type=Path)
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--out", type=Path, default=Path("build/unknown"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    chosen, options = parser.parse_known_args()
    strangers = sorted(find_pictures(chosen.strangers))
    held = True
    for part in chosen.parts:
        found = [
            _seed(chosen, part, seed, strangers, ["--weights", chosen.weights, *options])
            for seed in chosen.seeds
        ]
        held &= _print(part, found)
    return 0 if held else 1


def _seed(
    chosen: argparse.Namespace, part: str, seed: int, strangers: list[Path], options: list[str]
) -> dict[str, Found]:
    """Return by format what the files of one seed say."""
    folder = chosen.out / f"{part}{seed}"
    photos, run = folder / "photos", folder / "run"
    others = strangers[1::2] if part == "counter" else strangers
    classes = sorted(path for path in chosen.photos.iterdir() if path.is_dir())
    rest: dict[Path, str] = {}
    if part == "left-out":
        gone = classes.pop(seed % len(classes))
        others = sorted(find_pictures(gone))
    for each in classes:
        own = sorted(find_pictures(each))
        if part == "few":
            order = np.random.default_rng(seed).permutation(len(own))
            rest |= {own[row]: each.name for row in order[FEW:]}
            own = [own[row] for row in order[:FEW]]
        _copy(own, photos / each.name)
    if part == "counter":
        _copy(strangers[::2], photos / "unknown")
    if not is_run(run):
        more = ["--no-test"] if part == "few" else []
        _pocketlens("train", photos, "--out", run, "--seed", seed, *options, *more)
    files = {entry: folder / "models" / f"run_{entry}.tflite" for entry in FORMATS}
    if not all(path.is_file() for path in files.values()):
        _pocketlens("convert", run, "--out", folder / "models", "--overwrite", "--force")
    if not rest:
        names = {each.name for each in classes}
        parts = read_split(run).parts
        rest = {photos / name: str(label) for name, label in parts["test"].items()}
        rest = {photo: label for photo, label in rest.items() if label in names}
    return _ask(files, rest, others)


def _copy(photos: Sequence[Path], folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for photo in photos:
        shutil.copy(photo, folder)


def _ask(
    files: dict[str, Path], known: dict[Path, str], strangers: Sequence[Path]
) -> dict[str, Found]:
    """Return by format what the files say of known photos and of strangers."""
    found: dict[str, Found] = {}
    reference: NDArray[np.intp] | None = None
    pixels: list[Any] = []
    for entry, path in files.items():
        with Classifier(path) as classifier:
            card: ModelCard = classifier.card
            if not pixels:
                size, mode = card.input_size_wh, card.resize_mode
                pixels = [resize(decode(photo), size, mode) for photo in (*known, *strangers)]
            scores = np.stack([classifier.scores(each) for each in pixels])
        answers = scores.argmax(axis=1)
        reference = answers if reference is None else reference
        truth = np.array([card.labels.index(label) for label in known.values()])
        others = Strangers(scores[len(known) :], tuple(strangers))
        part = known_part(scores[: len(known)], truth, card, list(known), others)
        assert part.refusals is not None
        whole = to_answers(scores[: len(known)], truth, card.labels, card.task)
        found[entry] = Found(
            part.refusals,
            int((part.scores.argmax(axis=1) == part.truth).sum()),
            float((answers == reference).mean()),
            measure_sets(whole, card.sets),
        )
    return found


def _print(part: str, seeds: Sequence[dict[str, Found]]) -> bool:
    """Print one part's figures and return whether they are within the limits."""
    least_kept, most_accepted = LIMITS[part]
    held = True
    print(f"\n{part}: {len(seeds)} trainings")
    print(
        "format    kept             accepted         accuracy  same    ROC AUC  by seed: accepted"
    )
    for entry in FORMATS:
        found = [seed[entry] for seed in seeds]
        known, kept, strangers, accepted = (
            sum(getattr(each.refusals, name) for each in found)
            for name in ("known", "kept", "strangers", "accepted")
        )
        same = float(np.mean([each.same for each in found]))
        auroc = np.mean([each.refusals.auroc for each in found])
        each_accepted = " ".join(
            f"{each.refusals.accepted / each.refusals.strangers:.3f}" for each in found
        )
        print(
            f"{entry:9} {_share(kept, known)}  {_share(accepted, strangers)}  "
            f"{sum(each.right for each in found) / known:.4f}    {same:.4f}  {auroc:.4f}   "
            f"{each_accepted}"
        )
        held &= kept / known >= least_kept and accepted / strangers <= most_accepted
        held &= part in ("left-out", "few") or same >= SAME[entry]
    for entry in ("float32", "int8"):
        sets = [each for seed in seeds for each in seed[entry].sets if each.level == SET_LEVEL]
        if sets:
            coverage = float(np.mean([each.coverage for each in sets]))
            worst = min(sets, key=lambda each: each.worst_coverage)
            print(
                f"label sets of {SET_LEVEL}, {entry}: right in {coverage:.4f} "
                f"({' '.join(f'{each.coverage:.3f}' for each in sets)}), "
                f"{np.mean([each.mean_size for each in sets]):.3f} labels on average, worst class "
                f"of a seed {worst.worst_class!r} with {worst.worst_coverage:.3f}"
            )
            held &= part != "plain" or abs(coverage - SET_LEVEL) <= SET_TOLERANCE
    return bool(held)


def _share(count: int, total: int) -> str:
    low, high = wilson(count, total)
    return f"{count / total:.3f} ({low:.3f}-{high:.3f})"


def _pocketlens(*arguments: object) -> None:
    """Run a command and stop everything if it fails."""
    command = [sys.executable, "-m", "pocketlens", *map(str, arguments)]
    print("$", "pocketlens", *map(str, arguments), flush=True)
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
