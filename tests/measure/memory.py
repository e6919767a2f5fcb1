"""Whether memory grows with the number of photos, and whether `check` keeps all cores busy.

Run by hand (`make memory`). Trains on 1,000 and on 20,000 photos (synthetic images, and copies
of them with noise) and compares peaks of anonymous memory: what a process has for itself. Pages
of the pixel cache and of features are left out, as they are the kernel's copies of files, which it
drops when memory is short. Linux only, since it reads /proc.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np

from pocketlens.synthetic.cards import LABELS
from pocketlens.synthetic.scenes import render_many

SIZE = 32
PHOTO_WH = (320, 240)
DRAWN = 1000
OPTIONS = ["--alpha", "0.35", "--image-size", str(SIZE), "--head-epochs", "1"]
OPTIONS += ["--fine-tune-epochs", "1", "--grid-epochs", "1"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs=2, default=[DRAWN, 20_000])
    parser.add_argument("--out", type=Path, default=Path("build/memory"))
    chosen = parser.parse_args()
    shutil.rmtree(chosen.out, ignore_errors=True)
    few, many = (make_photos(chosen.out / str(count), count) for count in chosen.counts)
    os.environ["POCKETLENS_CACHE"] = str(chosen.out / "cache")
    check_many(many)
    start = chosen.out / "start"
    watch("train", few, "--out", start, *OPTIONS, "--weights", "none")
    peaks = [
        watch(
            "train", photos, "--out", chosen.out / f"run{photos.name}", *OPTIONS, "--weights", start
        )
        for photos in (few, many)
    ]
    print(
        f"Peak of {chosen.counts[1]} photos is {peaks[1] / peaks[0]:.3f} times that of "
        f"{chosen.counts[0]}: {peaks[1] / 2**20:.0f} MB to {peaks[0] / 2**20:.0f} MB"
    )


def make_photos(folder: Path, count: int) -> Path:
    """Render pictures, and copies of them with noise until there are enough."""
    pixels, labels = render_many(min(count, DRAWN), 1, PHOTO_WH)
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 8, 2 * pixels[0].size).astype(np.int16)
    for label in LABELS:
        (folder / label).mkdir(parents=True)
    for index in range(count):
        picture = pixels[index % len(pixels)]
        start = rng.integers(picture.size)
        picture = picture + noise[start : start + picture.size].reshape(picture.shape)
        path = folder / LABELS[labels[index % len(pixels)]] / f"{index:05}.jpg"
        cv2.imwrite(str(path), np.clip(picture, 0, 255).astype(np.uint8)[..., ::-1])
    return folder


def check_many(photos: Path) -> None:
    """Print how busy `check` keeps the cores.

    `ran` is CPU time by the clock and cores. On a machine with other work a thread that could run
    may have to wait for a core; `wanted` adds that waiting (/proc/PID/task/*/schedstat).
    """
    began = time.monotonic()
    process = start_command("check", photos, "--json", "-")
    ran: dict[Path, int] = {}
    waited: dict[Path, int] = {}
    while process.poll() is None:
        for pid in (process.pid, *children(process.pid)):
            for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    ran[path], waited[path], _ = map(int, path.read_text().split())
        time.sleep(0.02)
    wall_ns = (time.monotonic() - began) * 1e9 * (os.cpu_count() or 1)
    own, wanted = sum(ran.values()) / wall_ns, sum((*ran.values(), *waited.values())) / wall_ns
    print(
        f"check: {time.monotonic() - began:.0f} s, ran {own:.1%} and wanted {wanted:.1%} of cores"
    )


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that live."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def watch(*arguments: object) -> int:
    """Run a command and return its peak of anonymous memory in bytes; print it by log line."""
    process = start_command(*arguments)
    stage, peaks = ["start"], {"start": 0}

    def follow() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            stage[0] = " ".join(line.decode().split()[:3])

    reader = threading.Thread(target=follow)
    reader.start()
    while process.poll() is None:
        anonymous = anonymous_bytes(process.pid)
        peaks[stage[0]] = max(peaks.get(stage[0], 0), anonymous)
        time.sleep(0.05)
    reader.join()
    assert process.returncode == 0, stage
    print("$ pocketlens", *arguments)
    for name, peak in peaks.items():
        print(f"  {peak / 2**20:6.0f} MB after: {name}", flush=True)
    return max(peaks.values())


def anonymous_bytes(pid: int) -> int:
    """Return the anonymous memory of a process that is resident now."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return sum(int(fields.get(name, "0 kB").split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))


def start_command(*arguments: object) -> "subprocess.Popen[bytes]":
    """Start a pocketlens command."""
    command = [sys.executable, "-m", "pocketlens", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


if __name__ == "__main__":
    main()
