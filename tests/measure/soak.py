"""Hours of faults: whether a live run grows, and whether opening and closing does.

Run by hand (`make soak MINUTES=30`). A scripted camera in a capture process of its own fails every
20 seconds, each time in another way, while its frames are classified; then a camera is opened and
closed many times. Prints the figures and ends with 1 where they are too large.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from pocketlens.clock import CLOCK
from pocketlens.runtime.classifier import Category, Classifier, Result
from pocketlens.runtime.live.capture.process import ProcessCapture
from pocketlens.runtime.live.frames import STALE, FrameResult, Sink, SourceState
from pocketlens.runtime.live.loop import FrameClassifier, classify_source
from pocketlens.runtime.live.sources.fake import (
    END,
    ERROR,
    EXCEPTION,
    HALF,
    HANG,
    KILL,
    REPEAT,
    FakeCamera,
)
from pocketlens.runtime.pictures import Pixels

INTERVAL_S = 1 / 30
FAULT_EVERY_S = 20.0
SIZE_WH = (640, 480)
OTHER_SIZE_WH = (1280, 720)
MAX_GROWTH_MB = 5.0
MAX_CYCLES_GROWTH_MB = 10.0
# Libraries take memory the first times that something happens; each kind of fault comes once.
WARM_UP = 0.35
WARM_UP_CYCLES = 50


@dataclass(frozen=True)
class Sample:
    """What the process holds: memory in megabytes, and numbers of the rest."""

    memory_mb: float
    child_memory_mb: float
    descriptors: int
    threads: int
    processes: int
    segments: int


class AnyLabel:
    """Stands in for a classifier where no model is given."""

    def classify(self, frame_bgr: Pixels) -> Result:
        """Look at a frame, uint8 (height, width, 3) BGR."""
        categories = (Category("bright" if frame_bgr.mean() > 100 else "dark", 1.0, 0),)
        return Result(categories, categories)


def main() -> None:
    """Run both parts and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--model", type=Path)
    chosen = parser.parse_args()
    good = True
    if chosen.minutes:
        if chosen.model:
            with Classifier(chosen.model) as classifier:
                good = soak(classifier, 60 * chosen.minutes)
        else:
            good = soak(AnyLabel(), 60 * chosen.minutes)
    if chosen.cycles:
        good = cycle(chosen.cycles) and good
    sys.exit(0 if good else 1)


def soak(classifier: FrameClassifier, seconds: float) -> bool:
    """Classify a failing camera for so long; return whether nothing grew."""
    samples: list[Sample] = []
    states: list[SourceState] = []
    started_s = CLOCK.now_s()
    capture = ProcessCapture(partial(FakeCamera, **script(seconds, started_s)), name="soak")
    stop = threading.Event()
    due = itertools.count(1)
    next_s = started_s + next(due)

    class Samples(Sink):
        def result(self, frame_bgr: Pixels, result: FrameResult) -> None:
            nonlocal next_s
            if CLOCK.now_s() > next_s:
                samples.append(sample())
                next_s = max(CLOCK.now_s(), started_s + 10 * next(due))
            if CLOCK.now_s() > started_s + seconds:
                stop.set()

        def state(self, state: SourceState) -> None:
            states.append(state)

    try:
        summary = classify_source(classifier, capture, sinks=[Samples()], stop=stop)
    finally:
        capture.close()
    print(json.dumps(summary.to_dict()))
    spells = [
        after.time_s - before.time_s
        for before, after in itertools.pairwise(states)
        if before.state == STALE
    ]
    print(f"stale {len(spells)} times, for {max(spells, default=0):.1f} s at most")
    warm = samples[int(WARM_UP * len(samples)) :]
    return report(warm[: len(warm) // 3], warm[-(len(warm) // 3) :], MAX_GROWTH_MB)


def cycle(count: int) -> bool:
    """Open and close a camera so many times; return whether nothing grew."""
    samples = []
    for _ in range(count):
        capture = ProcessCapture(partial(FakeCamera, interval_s=0.005), name="cycle")
        capture.next(threading.Event())
        capture.close()
        samples.append(sample())
    print(f"opened and closed {count} times")
    warm = samples[min(WARM_UP_CYCLES, count // 2) :]
    return report(warm[:10], warm[-10:], MAX_CYCLES_GROWTH_MB)


def script(seconds: float, since_s: float) -> dict[str, object]:
    """Return a fake camera's script with a fault every 20 seconds, each time another."""
    faults: dict[int, str] = {}
    sizes_wh: dict[int, tuple[int, int]] = {}
    for number, kind in zip(
        fault_frames(seconds),
        itertools.cycle((HANG, KILL, END, ERROR, EXCEPTION, REPEAT, HALF, "size")),
        strict=False,
    ):
        if kind == "size":
            sizes_wh[number] = OTHER_SIZE_WH
            sizes_wh[number + 90] = SIZE_WH
        else:
            length = 60 if kind in (REPEAT, HALF) else 1
            faults.update(dict.fromkeys(range(number, number + length), kind))
    return {
        "size_wh": SIZE_WH,
        "interval_s": INTERVAL_S,
        "since_s": since_s,
        "faults": faults,
        "sizes_wh": sizes_wh,
    }


def fault_frames(seconds: float) -> Iterator[int]:
    """Yield the frames at which something happens."""
    step = int(FAULT_EVERY_S / INTERVAL_S)
    return iter(range(step, int(seconds / INTERVAL_S), step))


def sample() -> Sample:
    """Measure this process and its children."""
    children = [
        child
        for path in Path("/proc/self/task").glob("*/children")
        for child in path.read_text().split()
    ]
    maps = Path("/proc/self/maps").read_text().splitlines()
    return Sample(
        memory_mb("self"),
        sum(memory_mb(child) for child in children),
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
        len(children),
        sum("memfd:pocketlens" in line for line in maps) + len(os.listdir("/dev/shm")),
    )


def memory_mb(process: str) -> float:
    """Return the resident memory of a process in megabytes."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    return 0.0


def report(before: list[Sample], after: list[Sample], max_growth_mb: float) -> bool:
    """Print both and return whether the second is no larger."""
    good = True
    for name in asdict(before[0]):
        first, last = (
            statistics.median(getattr(entry, name) for entry in entries)
            for entries in (before, after)
        )
        limit = max_growth_mb if name.endswith("_mb") else 0
        held = last - first <= limit
        good = good and held
        print(f"{name:16} {first:8.1f} -> {last:8.1f}  {'ok' if held else 'GREW'}")
    return good


if __name__ == "__main__":
    main()
