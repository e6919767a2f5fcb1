"""Mutated photos, models, videos and camera pictures through the commands themselves.

make fuzz MODEL=file.tflite PHOTOS=folder [OPTIONS='--photos 10000 --models 5000 …']

Each input is a real file that was damaged: bits flipped, bytes overwritten, cut, doubled or left
out. A command may answer or say one sentence; it must not end in a traceback or by a signal, take
longer than 10 s for an input, or more than 1 GB in any of its processes. Of a changed sealed model
no answer may come. Exit code 1 if any of that happened; the inputs are kept then.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import resource
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from pocketlens.card import unpack
from pocketlens.cli.main import run as run_command

BATCH = 100
LIMIT_S = 10.0
LIMIT_BYTES = 1 << 30
# Numbers at which sizes and offsets overflow.
EDGES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\x01\0\0\0")
SAVED = (
    ("a.jpg", "JPEG", {"quality": 90}),
    ("progressive.jpg", "JPEG", {"progressive": True}),
    ("b.png", "PNG", {}),
    ("c.webp", "WEBP", {}),
    ("d.tif", "TIFF", {"compression": "tiff_lzw"}),
    ("e.bmp", "BMP", {}),
    ("f.gif", "GIF", {}),
)


class Outcome(NamedTuple):
    """How a command ended: exit code, or the signal as a negative number."""

    code: int
    seconds: float
    peak_bytes: int
    output: str
    errors: str


class Fuzz:
    """Runs commands in processes of their own, and notes what must not happen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[str] = []
        self.ends: Counter[str] = Counter()
        self.slowest_s = 0.0
        self.peak_bytes = 0

    def run(self, *arguments: str | Path, limit_s: float = LIMIT_S) -> Outcome:
        """Run a command in a fork of this process, which has imported what all of them need."""
        out, err = self.folder / "stdout", self.folder / "stderr"
        sys.stdout.flush()
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            os.setsid()
            for number, path in ((1, out), (2, err)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
            code = 99
            try:
                code = run_command([os.fspath(argument) for argument in arguments])
            except BaseException:
                # Nothing but an exit code may leave a command.
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        status, usage = self._wait(child, started + 3 * limit_s)
        seconds = time.monotonic() - started
        return Outcome(
            os.waitstatus_to_exitcode(status),
            seconds,
            1024 * usage.ru_maxrss,
            out.read_text("utf-8", "replace"),
            err.read_text("utf-8", "replace"),
        )

    def judge(self, outcome: Outcome, what: str, source: Path, limit_s: float = LIMIT_S) -> bool:
        """Note how a command ended; return whether nothing forbidden happened."""
        self.ends[f"{what}, exit code {outcome.code}"] += 1
        self.slowest_s = max(self.slowest_s, outcome.seconds)
        self.peak_bytes = max(self.peak_bytes, outcome.peak_bytes)
        fault = ""
        if outcome.code not in (0, 1, 2):
            fault = f"ended with {outcome.code}"
        elif "Traceback" in outcome.errors + outcome.output:
            fault = "a traceback"
        elif outcome.code and not outcome.errors.strip():
            fault = "failed without a word"
        elif outcome.seconds > limit_s:
            fault = f"took {outcome.seconds:.1f} s"
        elif outcome.peak_bytes > LIMIT_BYTES:
            fault = f"took {outcome.peak_bytes >> 20} MB"
        if fault:
            self.fail(f"{what}: {fault}", source, outcome.errors)
        return not fault

    def fail(self, sentence: str, source: Path, errors: str = "") -> None:
        """Note a fault and keep what led to it."""
        kept = self.folder / "kept" / f"{len(self.faults)}_{source.name}"
        kept.parent.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, kept)
        self.faults.append(f"{sentence}, kept as {kept}")
        print(f"FAULT {self.faults[-1]}\n{errors[-2000:]}", flush=True)

    @staticmethod
    def _wait(child: int, end: float) -> tuple[int, resource.struct_rusage]:
        while True:
            found, status, usage = os.wait4(child, os.WNOHANG)
            if found:
                return status, usage
            if time.monotonic() > end:
                os.killpg(child, signal.SIGKILL)
                _, status, usage = os.wait4(child, 0)
                return status, usage
            time.sleep(0.002)


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the data damaged in one to three places."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        size = len(changed)
        at = int(rng.integers(0, max(1, size)))
        length = int(min(size - at, 2 ** rng.integers(0, 12)))
        kind = int(rng.integers(0, 7))
        if kind == 0:
            changed[at : at + 1] = (
                bytes([changed[at] ^ 1 << int(rng.integers(0, 8))]) if size else b""
            )
        elif kind == 1:
            changed[at : at + length] = rng.bytes(length)
        elif kind == 2:
            changed[at : at + 4] = EDGES[int(rng.integers(0, len(EDGES)))]
        elif kind == 3:
            changed[at:at] = changed[at : at + length]
        elif kind == 4:
            del changed[at : at + length]
        elif kind == 5:
            # Headers are small, and what they say is believed.
            at = int(rng.integers(0, max(1, min(size, 512))))
            changed[at : at + 1] = rng.bytes(1)
        elif at:
            del changed[at:]
    return bytes(changed)


def seeds(photos: list[Path]) -> list[tuple[str, bytes]]:
    """Return names and bytes of photos in every format that is read."""
    found = []
    for path, (name, encoding, options) in zip(photos * len(SAVED), SAVED, strict=False):
        stream = io.BytesIO()
        with Image.open(path) as picture:
            picture.convert("RGB").resize((320, 240)).save(stream, encoding, **options)
        found.append((name, stream.getvalue()))
    found += [(path.name, path.read_bytes()) for path in photos[:4]]
    return found


def try_photos(fuzz: Fuzz, model: Path, photos: list[Path], count: int, seed: int) -> None:
    """Classify folders of damaged photos; every fifth folder is evaluated as well."""
    rng, originals = np.random.default_rng([seed, 1]), seeds(photos)
    for first in range(0, count, BATCH):
        folder = fuzz.folder / "photos"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "one").mkdir(parents=True)
        (folder / "two").mkdir()
        for index in range(first, min(first + BATCH, count)):
            name, data = originals[index % len(originals)]
            (folder / ("one", "two")[index % 2] / f"{index:06}_{name}").write_bytes(
                mutate(data, rng)
            )
        target = fuzz.folder / "answers.json"
        arguments = ("classify", model, folder, "--json", target, "--overwrite")
        outcome = fuzz.run(*arguments, limit_s=60)
        if not fuzz.judge(outcome, f"classify {BATCH} photos", folder, limit_s=60):
            continue
        if outcome.seconds > LIMIT_S:
            for photo in sorted(folder.rglob("*.*")):
                fuzz.judge(fuzz.run("classify", model, photo), "classify a slow photo", photo)
        answers = json.loads(target.read_text())["pictures"]
        wanted = sorted(os.fspath(path) for path in folder.rglob("*.*"))
        if sorted(entry["path"] for entry in answers) != wanted:
            fuzz.fail("classify: not one entry for each photo", folder)
        fuzz.ends["a photo, classified"] += sum("error" not in entry for entry in answers)
        fuzz.ends["a photo, named as unreadable"] += sum("error" in entry for entry in answers)
        if first // BATCH % 5 == 0:
            labels = fuzz.folder / "labels.csv"
            name = answers[0].get("categories", [{"label": ""}])[0]["label"]
            labels.write_text(
                "path,label\n" + "".join(f"{path},{name}\n" for path in wanted), "utf-8"
            )
            outcome = fuzz.run("evaluate", model, labels, limit_s=60)
            fuzz.judge(outcome, f"evaluate on {BATCH} photos", folder, limit_s=60)


def try_models(fuzz: Fuzz, model: Path, photo: Path, count: int, seed: int) -> None:
    """Classify with damaged models: half of them sealed, half without their card."""
    rng = np.random.default_rng([seed, 2])
    sealed = model.read_bytes()
    # Its metadata goes too, since a file that names labels and has none is refused at once.
    bare = unpack(sealed).flatbuffer.replace(b"TFLITE_METADATA", b"UNKNOWN_RECORDS")
    archive_at = len(unpack(sealed).flatbuffer)
    path = fuzz.folder / "damaged.tflite"
    for index in range(count):
        kind = ("sealed", "bare", "sealed archive", "bare")[index % 4]
        if kind == "bare":
            changed = mutate(bare, rng)
        elif kind == "sealed":
            changed = mutate(sealed, rng)
        else:
            changed = sealed[:archive_at] + mutate(sealed[archive_at:], rng)
        path.write_bytes(changed)
        hints = ("--mean", "0", "--std", "1") if kind == "bare" else ()
        outcome = fuzz.run("classify", model if changed == sealed else path, photo, *hints)
        fuzz.judge(outcome, f"classify with a {kind} model", path)
        if kind != "bare" and changed not in (sealed, b"") and _answered(outcome):
            fuzz.fail(f"an answer from a changed {kind} model", path, outcome.output)


def _answered(outcome: Outcome) -> bool:
    return outcome.code == 0 and bool(re.search(r"^ +[01]\.\d{4}  ", outcome.output, re.MULTILINE))


def try_videos(fuzz: Fuzz, model: Path, photos: list[Path], count: int, seed: int) -> None:
    """Run live on damaged videos."""
    rng = np.random.default_rng([seed, 3])
    originals = [
        _video(fuzz.folder, photos, *kind) for kind in (("mp4v", ".mp4"), ("MJPG", ".avi"))
    ]
    for index in range(count):
        original = originals[index % len(originals)]
        path = fuzz.folder / f"damaged{original.suffix}"
        path.write_bytes(mutate(original.read_bytes(), rng))
        outcome = fuzz.run("live", model, "--source", path, "--max-frames", "20")
        fuzz.judge(outcome, f"live on a damaged {original.suffix[1:]} video", path)


def _video(folder: Path, photos: list[Path], fourcc: str, suffix: str) -> Path:
    path = folder / f"whole{suffix}"
    writer = cv2.VideoWriter(os.fspath(path), cv2.VideoWriter.fourcc(*fourcc), 10, (160, 120))
    for index in range(20):
        picture = np.asarray(Image.open(photos[index % len(photos)]).convert("RGB"))
        writer.write(cv2.resize(picture[..., ::-1], (160, 120), interpolation=cv2.INTER_AREA))
    writer.release()
    return path


def try_camera(fuzz: Fuzz, model: Path, photos: list[Path], count: int, seed: int) -> None:
    """Run live on a network camera that sends damaged pictures, then good ones."""
    rng = np.random.default_rng([seed, 4])
    good = next(data for name, data in seeds(photos) if name == "a.jpg")
    for first in range(0, count, BATCH):
        damaged = [mutate(good, rng) for _ in range(min(BATCH, count - first))]
        folder = fuzz.folder / "camera"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for index, data in enumerate(damaged):
            (folder / f"{index}.jpg").write_bytes(data)
        with _camera([good, *damaged, *[good] * 2000]) as address:
            outcome = fuzz.run(
                *("live", model, "--source", address, "--max-frames", str(len(damaged) + 20)),
                *("--json", "-"),
                limit_s=60,
            )
        if fuzz.judge(outcome, f"live on {BATCH} camera pictures", folder, limit_s=60):
            counts = json.loads(outcome.output)
            for name in ("frames", "damaged", "skipped"):
                fuzz.ends[f"camera pictures, {name}"] += counts.get(name, 0)


class _camera:  # noqa: N801 (a context, not a thing)
    """Serves pictures as MJPEG on this machine, 30 a second; gives the address."""

    def __init__(self, pictures: list[bytes]) -> None:
        self.pictures = pictures
        self.listening = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> str:
        threading.Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}/"

    def __exit__(self, *_: object) -> None:
        self.listening.close()

    def _serve(self) -> None:
        try:
            while True:
                connection, _ = self.listening.accept()
                self._send(connection)
        except OSError:
            return  # Closed: the command has ended.

    def _send(self, connection: socket.socket) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
        with connection:
            try:
                connection.recv(65536)
                connection.sendall(head)
                for data in self.pictures:
                    part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
                    connection.sendall(part % len(data) + data + b"\r\n")
                    time.sleep(1 / 30)
            except OSError:
                return  # The command hung up.


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a file that pocketlens made")
    parser.add_argument("folder", type=Path, help="a folder of photos")
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--models", type=int, default=5_000)
    parser.add_argument("--videos", type=int, default=1_000)
    parser.add_argument("--camera", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    photos = sorted(
        path for path in options.folder.rglob("*.*") if path.suffix.lower() in (".jpg", ".png")
    )[:20]
    # Kept where something was found.
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    os.environ["POCKETLENS_CACHE"] = os.fspath(folder / "cache")
    fuzz = Fuzz(folder)
    try_photos(fuzz, options.model, photos, options.photos, options.seed)
    try_models(fuzz, options.model, photos[0], options.models, options.seed)
    try_videos(fuzz, options.model, photos, options.videos, options.seed)
    try_camera(fuzz, options.model, photos, options.camera, options.seed)
    for what, count in sorted(fuzz.ends.items()):
        print(f"{count:7d}  {what}")
    print(f"Slowest command: {fuzz.slowest_s:.1f} s. Largest process: {fuzz.peak_bytes >> 20} MB.")
    print(f"Faults: {len(fuzz.faults)}.")
    if not fuzz.faults:
        shutil.rmtree(folder)
    return int(bool(fuzz.faults))


if __name__ == "__main__":
    sys.exit(main())
