"""Thirty SIGKILLs at random moments of a training, each followed by `--resume`.

Run by hand (`make power-cuts`). Every run is killed until it finishes by itself; meanwhile a
watcher reads every file that is visible under its final name and fails if one is not whole.
"""

import argparse
import csv
import io
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from pocketlens.card import ModelCard
from pocketlens.runtime.runs import is_run
from pocketlens.synthetic.cards import LABELS
from pocketlens.synthetic.scenes import render_many

SIZE = 96
OPTIONS = ["--image-size", str(SIZE), "--grid-epochs", "2"]
EPOCHS = ["--head-epochs", "4", "--fine-tune-epochs", "2"]


def main() -> None:
    """Kill, resume and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, help="a folder per class; drawn without one")
    parser.add_argument("--weights", type=Path, help="a run or file; trained without one")
    parser.add_argument("--alpha", type=float, default=0.35, help="that of the weights")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/power-cuts"))
    chosen = parser.parse_args()
    shutil.rmtree(chosen.out, ignore_errors=True)
    chosen.out.mkdir(parents=True)
    os.environ["POCKETLENS_CACHE"] = str(chosen.out / "cache")
    photos = chosen.photos or draw_photos(chosen.out / "photos")
    common = ["--alpha", str(chosen.alpha), *OPTIONS]
    start = chosen.weights or chosen.out / "start"
    if not chosen.weights:
        scratch = ["--weights", "none", "--fine-tune-epochs", "20"]
        finish(command(photos, start, *common, *scratch))
    options = [*common, *EPOCHS, "--weights", str(start)]
    began = time.monotonic()
    finish(command(photos, chosen.out / "whole", *options))
    duration = time.monotonic() - began
    whole = read_card(chosen.out / "whole")
    print(f"Uninterrupted: {duration:.0f} s, {whole.metrics}", flush=True)
    chooser = random.Random(chosen.seed)
    cards, kills = [], 0
    with Watcher(chosen.out) as watcher:
        while kills < chosen.kills:
            out = chosen.out / f"cut{len(cards):02}"
            while not is_run(out):
                wanted = chooser.uniform(0, duration) if kills < chosen.kills else None
                killed = train_and_kill(command(photos, out, *options, "--resume"), wanted)
                kills += killed
                print(f"{out.name}: {f'kill {kills} at {wanted:.1f} s' if killed else 'finished'}")
                sys.stdout.flush()
            cards.append(read_card(out))
            if not killed:
                leftover = [path.name for path in out.parent.glob(f".{out.name}*")]
                assert not leftover, f"{leftover} left beside {out}"
    for card in cards:
        assert card.data_hash == whole.data_hash
        print(f"{card.name}: {card.metrics}")
    accuracies = [card.metrics["test_accuracy"] for card in cards]
    print(
        f"{kills} kills, {len(cards)} runs finished; test accuracy {min(accuracies):.4f} to "
        f"{max(accuracies):.4f}, uninterrupted {whole.metrics['test_accuracy']:.4f}; "
        f"{watcher.looks} looks at {watcher.reads} states of files, all whole"
    )


def draw_photos(folder: Path) -> Path:
    """Render pictures of the demo's cards: 60 a class."""
    pixels, labels = render_many(60 * len(LABELS), 1, (SIZE, SIZE))
    for index, (picture, label_index) in enumerate(zip(pixels, labels, strict=True)):
        path = folder / LABELS[label_index] / f"{index:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture[..., ::-1])
    return folder


def command(photos: Path, out: Path, *options: str) -> list[str]:
    """Return the command line of a training."""
    return [
        *(sys.executable, "-m", "pocketlens", "train", str(photos), "--out", str(out)),
        *options,
    ]


def finish(line: list[str]) -> None:
    """Run a command that must succeed."""
    subprocess.run(line, check=True, capture_output=True)


def train_and_kill(line: list[str], after_s: float | None) -> bool:
    """Run a command; tell whether it had to be killed after some seconds."""
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, messages = process.communicate(timeout=after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    assert process.returncode == 0, messages.decode()
    return False


def read_card(run: Path) -> ModelCard:
    """Return the card of a finished run."""
    return ModelCard.from_json((run / "card.json").read_bytes())


class Watcher(threading.Thread):
    """Looks, all the time, whether every visible file in runs and caches is whole."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.looks = self.reads = 0
        self._folder = folder
        self._seen: set[Any] = set()
        self._problem: str | None = None
        self._over = threading.Event()

    def __enter__(self) -> "Watcher":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
        assert self._problem is None, self._problem

    def run(self) -> None:
        """Look until told to stop."""
        while not self._over.wait(0.02) and self._problem is None:
            self.looks += 1
            try:
                self._look()
            except Exception as error:
                self._problem = f"The watcher has failed: {error!r}"
            if self._problem:
                print(self._problem, flush=True)

    def _look(self) -> None:
        for path in self._visible():
            try:
                with path.open("rb") as stream:
                    status = os.fstat(stream.fileno())
                    state = (status.st_ino, status.st_mtime_ns, status.st_size)
                    if state in self._seen:
                        continue
                    data = stream.read()
            except FileNotFoundError:
                continue
            self._seen.add(state)
            self.reads += 1
            try:
                expect_whole(path, data)
            except Exception as error:
                self._problem = f"{path} is not whole: {error!r}"
                return

    def _visible(self) -> Iterator[Path]:
        for folder in self._folder.glob("cut*"):
            yield from files_below(folder)
        partial = list(self._folder.glob(".cut*.partial"))
        yield from (folder / "checkpoint.npz" for folder in partial)
        for folder in (self._folder / "cache", *(folder / "run" for folder in partial)):
            for path in files_below(folder):
                # What is appended to, for TensorBoard to watch, is whole when the run is finished.
                if not path.name.startswith((".", "events")):
                    yield path


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder, some of which may go meanwhile."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def expect_whole(path: Path, data: bytes) -> None:
    """Raise if the content of a file is not what its name says, to the last byte."""
    if path.suffix in (".npz", ".keras"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert archive.testzip() is None
    elif path.suffix == ".json":
        json.loads(data)
    elif path.suffix == ".csv":
        rows = list(csv.reader(io.StringIO(data.decode())))
        assert data.endswith(b"\n")
        assert {len(row) for row in rows} == {len(rows[0])}
    elif path.suffix == ".npy":
        np.load(io.BytesIO(data))
    elif path.suffix == ".png":
        Image.open(io.BytesIO(data)).load()
    elif path.suffix == ".html":
        assert data.rstrip().endswith(b"</html>")
    elif path.name.startswith("events"):
        # TFRecord: length, its checksum, that many bytes, their checksum.
        start = 0
        while start < len(data):
            start += struct.unpack_from("<Q", data, start)[0] + 16
        assert start == len(data)


if __name__ == "__main__":
    main()
