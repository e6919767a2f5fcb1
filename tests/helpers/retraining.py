"""Trainings one after the other, without their networks: photos are divided and records written."""

import random
from pathlib import Path

import cv2
import numpy as np

from pocketlens.project import create_project
from pocketlens.runtime.runs import write_split
from pocketlens.train.data_check import check_data
from pocketlens.train.lineage import SeenPhotos, earlier_runs, read_earlier
from pocketlens.train.splits import Contents, DividedPhotos

LABELS = ("ant", "bee")


def picture(path: Path, seed: int) -> None:
    """Write a picture that is like no other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(coarse, (64, 48)))


class Retraining:
    """A project: photos of two classes, and runs.

    `prints` has the fingerprint of every photo that was ever there, by its SHA-256.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.runs = folder / "runs"
        self.photos = create_project(folder, LABELS).photos
        self.prints: dict[str, str] = {}
        for number, label in enumerate(LABELS):
            for index in range(count):
                picture(self.photos / label / f"{index:02}.png", 10_000 * (number + 1) + index)

    def train(
        self,
        name: str,
        seed: int,
        *,
        test: bool = True,
        splits_of: tuple[Path, ...] | None = None,
    ) -> tuple[DividedPhotos, Contents]:
        """Divide the photos and write what a run keeps of them; without `splits_of`, all runs'."""
        runs = earlier_runs(self.photos) if splits_of is None else splits_of
        earlier = read_earlier(runs)
        check = check_data(self.photos, seen=earlier)
        divided = check.divide(seed, test=test)
        for path, text in check.contents.fingerprints.items():
            self.prints[check.contents.digests[path]] = text
        run = self.runs / name
        run.mkdir()
        (run / "model.keras").touch()
        known = SeenPhotos().and_those_of(divided.splits, check.contents)
        others = earlier.without(known)
        write_split(
            run,
            run,
            divided.root,
            divided.labels,
            divided.splits,
            known.to_json(),
            others.to_json() if others.splits else None,
        )
        return divided, check.contents

    def change(self, chooser: random.Random, step: int) -> None:
        """Add photos and near copies, delete, relabel and rename some."""
        for number, label in enumerate(LABELS):
            folder = self.photos / label
            for index in range(chooser.randrange(4, 9)):
                seed = 1_000_000 * step + 1000 * number + index
                picture(folder / f"new{step}-{index}.png", seed)
            there = sorted(folder.glob("*.png"))
            # One of each kind at least: of what stays, and of what goes.
            for index, path in enumerate(chooser.sample(there, 3)):
                image = cv2.imread(str(path))
                small = cv2.resize(image, (56, 42), interpolation=cv2.INTER_AREA)
                copy = folder / f"copy{step}-{index}.jpg"
                cv2.imwrite(str(copy), small, [cv2.IMWRITE_JPEG_QUALITY, 80])
                if index == 0:
                    path.unlink()
            renamed = chooser.choice(sorted(folder.glob("*.png")))
            renamed.rename(folder / f"a{step}-renamed.png")
        # A photo that was in the wrong folder.
        path = chooser.choice(sorted((self.photos / LABELS[0]).glob("*.png")))
        path.rename(self.photos / LABELS[1] / f"moved{step}.png")
