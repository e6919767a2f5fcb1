"""Which file to take with how many threads, within limits that a project sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens.benchmarks.results import Benchmark, FileResult, Latency
from pocketlens.errors import PocketlensError, UsageError
from pocketlens.evaluation.agreement import keeps
from pocketlens.report.html import counted

# The rule: of the files whose accuracy (`Benchmark.measure`) is at most one point below the best
# (see `agreement.keeps`), take the one that classifies fastest.
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


def good_enough(
    files: Sequence[FileResult], max_drop: float = 100 * ACCURACY_MARGIN
) -> list[FileResult]:
    """Return the files that lose at most `max_drop` points to the most accurate of them."""
    best = max((file.accuracy.correct for file in files if file.accuracy), default=0)
    return [
        file
        for file in files
        if file.accuracy is None
        or keeps(best - file.accuracy.correct, file.accuracy.total, max_drop)
    ]


def near_best(file: FileResult) -> str:
    """Return in words what `good_enough` asks for as it is: of few photos one may be lost."""
    few = file.accuracy is not None and ACCURACY_MARGIN * file.accuracy.total < 1
    return f"within 1 {'photo' if few else 'point'} of the best"


def as_fast(ratio: float, other: str = "") -> str:
    """Return in words how fast a file is that takes `ratio` of another's time: "as fast"."""
    times, beside = f"{1 / ratio:.1f}", f" as {other}" if other else ""
    if times == "1.0":
        return f"as fast{beside}"
    if ratio < 1:
        return f"{times} times as fast{beside}"
    return f"slower{f' than {other}' if other else ''} ({ratio:.2f} times as long)"


def accuracy_gap(points: float, *, is_noise: bool = False) -> str:
    """Return in words by how many points of accuracy a file is above another."""
    if is_noise or signed(points) == signed(0):
        return f"no measurable difference in accuracy ({signed(points)} points)"
    return f"{abs(points):.1f} points {'more' if points > 0 else 'less'} accuracy"


def _sentence(
    benchmark: Benchmark, file: FileResult, latency: Latency, points: float | None
) -> str:
    rivals = good_enough(benchmark.files)
    fastest_ms = min(entry.classify.median_ms for rival in rivals for entry in rival.latencies)
    group = "files" if points is None else f"files {near_best(file)}"
    if len(rivals) == 1:
        rank = f"the only one {near_best(file)}"
    elif latency.classify.median_ms > fastest_ms:
        rank = f"the smallest of the fastest among {len(rivals)} {group}"
    else:
        rank = f"the fastest of {len(rivals)} {group}"
    text = f"{_take(file, latency)}: at {_figures(file, latency)} it is {rank}"
    if file is benchmark.reference:
        text += ", and the one that the others were compared with"
    else:
        ratio = file.size_bytes / benchmark.reference.size_bytes
        text += f", {as_fast(latency.classify_ratio, benchmark.reference_name)}"
        text += f" at {ratio:.2f} of its size"
        if points is not None:
            flips = file.accuracy.flips if file.accuracy else None
            gap = accuracy_gap(points, is_noise=flips is not None and flips.is_noise)
            text += f", with {gap}"
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
    return f"Use {file.name} with {latency.threads} thread{'s' if latency.threads > 1 else ''}"


def _doubt(file: FileResult) -> str:
    if file.accuracy is None:
        return "; without --photos its accuracy is unknown"
    low, high = file.accuracy.interval
    points = 100 * max(high - file.accuracy.share, file.accuracy.share - low)
    if points <= _UNSURE_POINTS:
        return ""
    photos = counted(file.accuracy.total)
    return f"; on {photos} this is only known to ±{points:.0f} points, so add more"


def signed(points: float) -> str:
    """Return points of accuracy with their sign."""
    text = f"{abs(points):.1f}"
    if text == "0.0":
        return "±0.0"
    return ("−" if points < 0 else "+") + text


# Where nothing fits, what is nearest: a point of accuracy more than allowed counts like this share
# of time or size more than allowed.
_POINT = 0.1


@dataclass(frozen=True)
class Limits:
    """What a file may cost. None sets no limit.

    `max_drop` is in points of accuracy below the most accurate file; `max_latency_ms` for the way
    from a 1280x720 frame to labels; `max_size_mb` in MB of 1,000,000 bytes.

    Raises:
        UsageError: a limit cannot be.
    """

    max_drop: float | None = None
    max_latency_ms: float | None = None
    max_size_mb: float | None = None

    def __post_init__(self) -> None:
        """Refuse what nothing could ever keep."""
        drop, latency, size = self.max_drop, self.max_latency_ms, self.max_size_mb
        # Written this way round, NaN is refused too.
        if drop is not None and not 0 <= drop <= 100:
            raise UsageError(f"Expected --max-drop of 0 to 100 points. Received: {drop:g}.")
        for name, unit, value in (("latency", "ms", latency), ("size", "MB", size)):
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"Expected --max-{name} above 0 {unit}. Received: {value:g}.")

    @property
    def text(self) -> str:
        """The limits in words, "" without any."""
        words = []
        if self.max_latency_ms is not None:
            words.append(f"{self.max_latency_ms:g} ms")
        if self.max_size_mb is not None:
            words.append(f"{self.max_size_mb:g} MB")
        if self.max_drop is not None:
            plural = "" if self.max_drop == 1 else "s"
            words.append(f"{self.max_drop:g} point{plural} of the most accurate")
        return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def refuse_too_large(files: Sequence[Path], limits: Limits) -> None:
    """Raise PocketlensError where no file is small enough: measuring would change nothing."""
    sizes_mb = {file: file.stat().st_size / 1e6 for file in files if file.is_file()}
    most = limits.max_size_mb
    if most is None or not sizes_mb or min(sizes_mb.values()) <= most + ROUNDING:
        return
    smallest = min(sizes_mb, key=sizes_mb.__getitem__)
    raise PocketlensError(
        f"No file is {most:g} MB or smaller; the smallest is "
        f"{smallest.name} with {sizes_mb[smallest]:.2f} MB. Raise --max-size, or train a smaller "
        "network."
    )


@dataclass(frozen=True)
class Option:
    """A file with a number of threads, and what it costs.

    `drop` is how many points of accuracy it is below the most accurate file, None without photos.
    `misses` says which limits it does not keep: "time", "size", "accuracy". `on_front` is whether
    no other is at least as good in accuracy, time, size and threads and better in one of them.
    """

    row: Row
    drop: float | None
    misses: tuple[str, ...]
    on_front: bool

    @property
    def name(self) -> str:
        """What tells the file from the others."""
        return self.row[0].name

    @property
    def threads(self) -> int:
        """The interpreter's threads."""
        return self.row[1].threads

    @property
    def latency_ms(self) -> float:
        """The median milliseconds from a 1280x720 frame to labels."""
        return self.row[1].classify.median_ms

    @property
    def size_mb(self) -> float:
        """The file's size in MB."""
        return self.row[0].size_mb

    @property
    def accuracy(self) -> float | None:
        """The share of right answers in 0-1, None without photos."""
        accuracy = self.row[0].accuracy
        return accuracy.share if accuracy else None


@dataclass(frozen=True)
class Recommendation:
    """What to take within `limits`, or, where nothing keeps them, what comes `nearest`.

    `take` and `runner_up`, the best of another file, are None where there is none.
    """

    benchmark: Benchmark
    limits: Limits
    options: tuple[Option, ...]
    take: Option | None = None
    runner_up: Option | None = None
    nearest: Option | None = None


def recommend(benchmark: Benchmark, limits: Limits | None = None) -> Recommendation:
    """Choose among what was measured.

    Of all files that keep the limits, those count that lose at most a point of accuracy to the best
    of them, or, with a limit on the loss, all. The fastest is taken; of those within 5 % of it the
    smallest, then the one with the fewest threads.
    """
    limits = limits or Limits()
    options = _options(benchmark, limits)
    fitting = [option for option in options if not option.misses]
    if not fitting:
        nearest = min(options, key=lambda option: _excess(option, limits))
        return Recommendation(benchmark, limits, options, nearest=nearest)
    take = _best(rivals(fitting, limits))
    others = [option for option in fitting if option.name != take.name]
    runner_up = _best(rivals(others, limits)) if others else None
    return Recommendation(benchmark, limits, options, take, runner_up)


def rivals(options: Sequence[Option], limits: Limits) -> list[Option]:
    """Return the options whose accuracy is good enough; of them the fastest is taken."""
    if limits.max_drop is not None:
        return list(options)
    good = {file.name for file in good_enough([option.row[0] for option in options])}
    return [option for option in options if option.name in good]


def _options(benchmark: Benchmark, limits: Limits) -> tuple[Option, ...]:
    rows = [(file, latency) for file in benchmark.files for latency in file.latencies]
    kept = benchmark.files
    if limits.max_drop is not None:
        kept = tuple(good_enough(benchmark.files, limits.max_drop))
    shares = [file.accuracy.share for file in benchmark.files if file.accuracy]
    options = []
    for row in rows:
        accuracy = row[0].accuracy
        drop = 100 * (max(shares) - accuracy.share) if accuracy else None
        costs = _costs(row)
        beaten = any(_costs(other) != costs and _no_dearer(_costs(other), costs) for other in rows)
        misses = _misses(row, limits) + (() if row[0] in kept else ("accuracy",))
        options.append(Option(row, drop, misses, not beaten))
    return tuple(options)


def _costs(row: Row) -> tuple[float, ...]:
    file, latency = row
    share = file.accuracy.share if file.accuracy else 0.0
    return latency.classify.median_ms, file.size_bytes, latency.threads, -share


def _no_dearer(costs: tuple[float, ...], others: tuple[float, ...]) -> bool:
    return all(one <= other for one, other in zip(costs, others, strict=True))


def _misses(row: Row, limits: Limits) -> tuple[str, ...]:
    pairs = {
        "time": (row[1].classify.median_ms, limits.max_latency_ms),
        "size": (row[0].size_mb, limits.max_size_mb),
    }
    return tuple(
        name
        for name, (value, most) in pairs.items()
        if most is not None and value > most + ROUNDING
    )


def _excess(option: Option, limits: Limits) -> float:
    """Return how far an option is from the limit that it misses most, as a factor."""
    factors = [1.0]
    if limits.max_latency_ms is not None:
        factors.append(option.latency_ms / limits.max_latency_ms)
    if limits.max_size_mb is not None:
        factors.append(option.size_mb / limits.max_size_mb)
    if limits.max_drop is not None and option.drop is not None:
        factors.append(1 + _POINT * (option.drop - limits.max_drop))
    return max(factors)


def _best(options: Sequence[Option]) -> Option:
    row = prefer([option.row for option in options])
    return next(option for option in options if option.row is row)
