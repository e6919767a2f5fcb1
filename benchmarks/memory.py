"""What a file takes before it answers for the first time: milliseconds and memory.

Both are measured in a fresh process for each file, since in one process the second file finds
libraries, allocator and delegate already warm. `main` is that process.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pocketlens.errors import ModelFileError
from pocketlens.runtime.hints import ModelHints
from pocketlens.workers import describe_exit, run_child

# Loading once is at the mercy of whatever else happens in these milliseconds.
LOADS = 3

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_FRAME_SHAPE = (720, 1280, 3)


@dataclass(frozen=True)
class Footprint:
    """What loading a file took, in a process of its own.

    `load_ms` is reading the file and making the interpreter, `first_ms` the first inference after
    that, in milliseconds, with the libraries imported before. `baseline_bytes` is the process's
    resident memory then, without a model; `loaded_bytes` is what the model added after a few
    frames, `peak_growth_bytes` what it added at most, `peak_bytes` the most that the whole process
    had. Memory is None where the system does not tell.
    """

    load_ms: float
    first_ms: float
    baseline_bytes: int | None
    loaded_bytes: int | None
    peak_growth_bytes: int | None
    peak_bytes: int | None


def measure_footprint(
    model: Path,
    *,
    threads: int = 1,
    hints: ModelHints | None = None,
    loads: int = LOADS,
) -> Footprint:
    """Load a file in fresh processes and return the median of each figure.

    Raises:
        ModelFileError: the process failed or was killed.
    """
    hints = hints or ModelHints()
    # Not among the arguments, of which a system takes only so many bytes.
    said = json.dumps({**hints.given, "labels": hints.read_labels()}).encode()
    measured = []
    for _ in range(loads):
        child = run_child(__name__, os.path.abspath(model), str(threads), given=said)
        if child.returncode:
            raise ModelFileError(
                f"Expected {model} to load in a separate process. Received: "
                f"{describe_exit(child.returncode, child.stderr)}. "
                "Free some memory or leave the file out."
            )
        measured.append(json.loads(child.stdout.splitlines()[-1]))
    figures = {
        entry.name: _median([footprint[entry.name] for footprint in measured])
        for entry in dataclasses.fields(Footprint)
    }
    return Footprint(**figures)  # type: ignore[arg-type]


def load_here(model: Path, *, threads: int, hints: ModelHints) -> Footprint:
    """Load a file in this process, which should be a fresh one, and watch time and memory."""
    import numpy as np

    from pocketlens.runtime.classifier import Classifier
    from pocketlens.runtime.interpreters import find_backend

    find_backend(hints.backend)
    frame_bgr = np.full(_FRAME_SHAPE, 127, np.uint8)
    before = peak_bytes()
    _forget_peak()
    baseline = resident_bytes()

    start_ns = time.perf_counter_ns()
    classifier = Classifier(model, threads=threads, hints=hints)
    loaded_ns = time.perf_counter_ns()
    classifier.scores(np.zeros((*classifier.size_wh[::-1], 3), np.uint8))
    load_ms = (loaded_ns - start_ns) / 1e6
    first_ms = (time.perf_counter_ns() - loaded_ns) / 1e6

    for _ in range(3):
        classifier.classify(frame_bgr)
    loaded, peak = resident_bytes(), peak_bytes()
    if baseline is None or loaded is None or peak is None or before is None:
        return Footprint(load_ms, first_ms, baseline, None, None, peak)
    # Where the peak cannot be reset, importing may have been higher than anything since.
    since = loaded if _peak_is_old(before, peak) else max(peak, loaded)
    return Footprint(
        load_ms=load_ms,
        first_ms=first_ms,
        baseline_bytes=baseline,
        loaded_bytes=loaded - baseline,
        peak_growth_bytes=max(since - baseline, loaded - baseline),
        peak_bytes=max(before, peak),
    )


def resident_bytes() -> int | None:
    """Return this process's resident memory now, or None where the system does not tell."""
    if _STATUS.exists():
        return _status_bytes("VmRSS")
    try:
        answer = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, text=True, check=True
        )
        return int(answer.stdout) * 1024
    except (OSError, subprocess.CalledProcessError, ValueError):
        return None


def peak_bytes() -> int | None:
    """Return the most resident memory that this process had, or None.

    From VmHWM on Linux (proc_pid_status(5)), elsewhere from getrusage(2), whose `ru_maxrss` is in
    bytes on macOS and in kB on the BSDs.
    """
    if _STATUS.exists():
        return _status_bytes("VmHWM")
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _status_bytes(name: str) -> int | None:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def _forget_peak() -> None:
    # Writing 5 sets VmHWM back to the present value (proc_pid_clear_refs(5)).
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return


def _peak_is_old(before: int, after: int) -> bool:
    return after == before


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    middle = statistics.median(known)
    return int(middle) if all(isinstance(value, int) for value in known) else middle


def main(model: str, threads: str) -> None:
    """Be the process: measure one file, with hints as JSON on standard input; print JSON.

    Args:
        model: the file.
        threads: how many an inference uses.
    """
    hints = ModelHints(**json.load(sys.stdin))
    footprint = load_here(Path(model), threads=int(threads), hints=hints)
    print(json.dumps(dataclasses.asdict(footprint)))
