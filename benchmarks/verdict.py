"""Which file to take on this machine, and why, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pocketlens.benchmarks.results import Benchmark, FileResult, Latency

# The rule: of the files whose accuracy (`Benchmark.measure`) is at most one point below the best,
# take the one that classifies fastest.
ACCURACY_MARGIN = 0.01
# Medians closer than this are one speed, told apart only by noise: then the smaller file wins,
# then fewer threads, then the higher accuracy.
SAME_SPEED = 0.05

# With an interval wider than this on either side, in points, the sentence says how wide.
_UNSURE_POINTS = 5.0
ROUNDING = 1e-9
"""What differences of shares may be off by."""

Row = tuple[FileResult, Latency]
"""A file with a number of threads."""


@dataclass(frozen=True)
class Verdict:
    """The file and the number of threads to take.

    `speed_up` is how many times as fast as the reference with as many threads, `size_ratio` its
    size over the reference's, `accuracy_points` its accuracy minus the reference's in percentage
    points; all three are None where only one file was measured, the last also without pictures.
    """

    file: str
    threads: int
    speed_up: float | None
    size_ratio: float | None
    accuracy_points: float | None
    sentence: str


def find_verdict(benchmark: Benchmark) -> Verdict:
    """Choose a file by the rule above and say why."""
    file, latency = choose(benchmark)
    if len(benchmark.files) == 1:
        sentence = _sentence_for_one(file, latency)
        return Verdict(file.name, latency.threads, None, None, None, sentence)
    reference = benchmark.reference
    points = None
    if file.accuracy and reference.accuracy:
        points = 100 * (file.accuracy.share - reference.accuracy.share)
    return Verdict(
        file=file.name,
        threads=latency.threads,
        speed_up=1 / latency.classify_ratio,
        size_ratio=file.size_bytes / reference.size_bytes,
        accuracy_points=points,
        sentence=_sentence(benchmark, file, latency, points),
    )


def choose(benchmark: Benchmark) -> Row:
    """Return the file and the number of threads that the rule takes."""
    return prefer(
        [(file, entry) for file in good_enough(benchmark.files) for entry in file.latencies]
    )


def prefer(rows: Sequence[Row]) -> Row:
    """Return the fastest of good enough rows; of those as fast, the smallest and so on."""
    fastest = min(latency.classify.median_ms for _, latency in rows)
    as_fast = [row for row in rows if row[1].classify.median_ms <= fastest * (1 + SAME_SPEED)]
    return min(
        as_fast,
        key=lambda row: (
            row[0].size_bytes,
            row[1].threads,
            -(row[0].accuracy.share if row[0].accuracy else 0),
            row[1].classify.median_ms,
        ),
    )


def good_enough(files: Sequence[FileResult]) -> list[FileResult]:
    """Return the files that lose at most `ACCURACY_MARGIN` to the most accurate of them."""
    best = max((file.accuracy.share for file in files if file.accuracy), default=0.0)
    least = best - ACCURACY_MARGIN - ROUNDING
    return [f for f in files if f.accuracy is None or f.accuracy.share >= least]


def _sentence(
    benchmark: Benchmark, file: FileResult, latency: Latency, points: float | None
) -> str:
    rivals = good_enough(benchmark.files)
    fastest_ms = min(entry.classify.median_ms for rival in rivals for entry in rival.latencies)
    group = "files" if points is None else "files within 1 point of the best"
    if len(rivals) == 1:
        rank = "the only one within 1 point of the best"
    elif latency.classify.median_ms > fastest_ms:
        rank = f"the smallest of the fastest among {len(rivals)} {group}"
    else:
        rank = f"the fastest of {len(rivals)} {group}"
    text = f"{_take(file, latency)}: at {_figures(file, latency)} it is {rank}"
    if file is benchmark.reference:
        text += ", and the one that the others were compared with"
    else:
        ratio = file.size_bytes / benchmark.reference.size_bytes
        text += f", {1 / latency.classify_ratio:.1f} times as fast as {benchmark.reference_name}"
        text += f" at {ratio:.2f} of its size"
        text += "" if points is None else f" and {signed(points)} points of accuracy"
        flips = file.accuracy.flips if file.accuracy else None
        text += " (noise)" if points and flips and flips.is_noise else ""
    return f"{text}{_doubt(file)}."


def _sentence_for_one(file: FileResult, latency: Latency) -> str:
    frames = 1000 / latency.classify.median_ms
    return (
        f"{_take(file, latency)}: {_figures(file, latency)}, up to {frames:.0f} frames a second"
        f"{_doubt(file)}."
    )


def _figures(file: FileResult, latency: Latency) -> str:
    accuracy = f" and {100 * file.accuracy.share:.1f} % accuracy" if file.accuracy else ""
    return f"{latency.classify.median_ms:.1f} ms per frame{accuracy}"


def _take(file: FileResult, latency: Latency) -> str:
    return f"Take {file.name} with {latency.threads} thread{'s' if latency.threads > 1 else ''}"


def _doubt(file: FileResult) -> str:
    if file.accuracy is None:
        return "; without --data its accuracy is unknown"
    low, high = file.accuracy.interval
    points = 100 * max(high - file.accuracy.share, file.accuracy.share - low)
    if points <= _UNSURE_POINTS:
        return ""
    return f"; {file.accuracy.total} photos only tell this to ±{points:.0f} points, so add more"


def signed(points: float) -> str:
    """Return points of accuracy with their sign."""
    text = f"{abs(points):.1f}"
    if text == "0.0":
        return "±0.0"
    return ("−" if points < 0 else "+") + text
