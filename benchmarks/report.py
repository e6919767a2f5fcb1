"""What a benchmark and a recommendation say to people: sentences, and tables in the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from pocketlens.benchmarks.recommendation import (
    SAME_SPEED,
    Option,
    Recommendation,
    accuracy_gap,
    as_fast,
    find_verdict,
    near_best,
    rivals,
)
from pocketlens.benchmarks.results import BYTES_PER_MB, Benchmark, FileResult
from pocketlens.benchmarks.stages import by_kind
from pocketlens.choices import MULTILABEL
from pocketlens.evaluation.agreement import Flips, p_text
from pocketlens.evaluation.intervals import Interval
from pocketlens.evaluation.metrics import Accuracy
from pocketlens.names import shown
from pocketlens.report.html import counted
from pocketlens.report.terminal import NOTHING, new_console, new_table

if TYPE_CHECKING:
    from rich.table import Table

_KINDS_SHOWN = 4
_CALLS = ("invoke", "classify")
_TIMED = ("ms", "p95", "ratio")
_FILE_HEADERS = (
    *("size\nMB", "load\nms", "first\nms", "RAM\n+MB", "peak\n+MB", "peak\nMB"),
    "\npartitions",
)
_MOST_CLASSES = 3
_MISSED = {"time": "too slow", "size": "too large", "accuracy": "loses too much"}


def print_report(benchmark: Benchmark, stream: IO[str] | None = None) -> None:
    """Print the machine, the tables and the verdict, at most 100 columns wide."""
    console = new_console(stream)
    console.print(benchmark.machine.summary)
    if benchmark.photos:
        console.print(accuracy_table(benchmark))
    console.print(files_table(benchmark))
    console.print(latency_table(benchmark))
    for sentence in (
        *benchmark.warnings,
        *drift_sentences(benchmark),
        *accuracy_sentences(benchmark),
    ):
        console.print(shown(sentence))
    for entry in benchmark.left_out:
        console.print(shown(f"{entry.name} was left out. {entry.reason}"))
    for line in _operator_lines(benchmark):
        console.print(shown(line))
    if benchmark.sustained:
        console.print(shown(benchmark.sustained.sentence))
    for note in _notes(benchmark):
        console.print(shown(note), style="dim")
    console.print(f"\n{shown(find_verdict(benchmark).sentence)}", style="bold")


def files_table(benchmark: Benchmark) -> Table:
    """Return a table with a row for each file: size, loading, memory."""
    table = new_table("File", *_FILE_HEADERS)
    for file in benchmark.files:
        table.add_row(shown(file.name), *_cells(file))
    return table


def latency_table(benchmark: Benchmark) -> Table:
    """Return a table with a row for each file and number of threads."""
    timed = [f"{call}\nms" if what == "ms" else f"\n{what}" for call in _CALLS for what in _TIMED]
    table = new_table("File", "threads", *timed, "runs")
    for file in benchmark.files:
        for latency in file.latencies:
            table.add_row(
                shown(file.name),
                str(latency.threads),
                f"{latency.invoke.median_ms:.2f}",
                f"{latency.invoke.p95_ms:.2f}",
                f"{latency.invoke_ratio:.2f}",
                f"{latency.classify.median_ms:.2f}",
                f"{latency.classify.p95_ms:.2f}",
                f"{latency.classify_ratio:.2f}",
                str(latency.classify.runs),
            )
    return table


def drift_sentences(benchmark: Benchmark) -> list[str]:
    """Return one sentence if times changed between the first and the last third, else nothing."""
    drifts = {
        f"{call} of {file.name} (threads: {entry.threads})": drift
        for file in benchmark.files
        for entry in file.latencies
        for call in _CALLS
        if (drift := getattr(entry, call).drift) is not None
    }
    if not drifts:
        return []
    worst = max(drifts, key=lambda key: abs(math.log(drifts[key])))
    sentence = (
        f"The machine's speed changed: {worst} took {drifts[worst]:.2f} times as long in the last "
        f"third of the run as in the first ({counted(len(drifts), 'series', 'series')} changed); "
        "ratios still hold, since all were timed in turn, but times do not."
    )
    return [sentence]


def accuracy_table(benchmark: Benchmark) -> Table:
    """Return a table with a row for each file that was measured on photos."""
    rows = [(file, file.accuracy) for file in benchmark.files if file.accuracy]
    columns = accuracy_columns(benchmark)
    table = new_table("File", *(_head(column) for column in columns))
    for file, accuracy in rows:
        table.add_row(shown(file.name), *(_cell(column, accuracy) for column in columns))
    return table


class Column(NamedTuple):
    """A figure of accuracy for people: `value`, its 95 % interval, and how both are written.

    `value` gives a number, in 0-1 if it is to be shown in `percent`, a text, or None for nothing.
    `narrow` leaves the interval to the page, which has more room than a terminal.
    """

    head: str
    value: Callable[[Accuracy], float | str | None]
    interval: Callable[[Accuracy], Interval | None] | None = None
    percent: bool = False
    narrow: bool = False

    def number(self, value: float) -> str:
        """Return a value of the figure, or an end of its interval, as text."""
        return f"{100 * value:.1f}" if self.percent else f"{value:.3f}"


def accuracy_columns(benchmark: Benchmark) -> list[Column]:
    """Return what is shown of each file's accuracy, on the page and in the terminal."""
    measured = [file.accuracy for file in benchmark.files if file.accuracy]
    columns = [
        Column(f"{benchmark.measure} %", lambda a: a.share, lambda a: a.interval, percent=True)
    ]
    if any(accuracy.top5 is not None for accuracy in measured):
        columns.append(
            Column(
                "top-5 %", lambda a: a.top5, lambda a: a.top5_interval, percent=True, narrow=True
            )
        )
    if benchmark.task == MULTILABEL:
        columns.append(Column("micro F1", lambda a: a.micro_f1))
    columns.append(Column("macro F1", lambda a: a.macro_f1, lambda a: a.macro_f1_interval))
    if len(measured) > 1:
        columns += [
            Column("agrees %", lambda a: a.agreement, percent=True),
            Column("lost", lambda a: str(a.flips.lost) if a.flips else None),
            Column("won", lambda a: str(a.flips.won) if a.flips else None),
            Column("p", lambda a: p_text(a.flips.p) if a.flips else None),
        ]
    return columns


def accuracy_sentences(benchmark: Benchmark) -> list[str]:
    """Return for each file but the reference whether its accuracy really differs from that's."""
    return [
        f"{file.name} {difference(file, benchmark)}."
        for file in benchmark.files
        if file.accuracy and file.accuracy.flips
    ]


def difference(file: FileResult, benchmark: Benchmark) -> str:
    """Return how a file's accuracy compares with the reference's, as the end of a sentence."""
    accuracy, reference = file.accuracy, benchmark.reference_name
    if accuracy is None or accuracy.flips is None:
        return f"is {reference} itself"
    flips = accuracy.flips
    if not flips.lost and not flips.won:
        return f"is right on the same photos as {reference}"
    points = 100 * (flips.won - flips.lost) / accuracy.total
    where = f"{abs(points):.1f} points {'above' if points > 0 else 'below'}" if points else "level"
    with_whom = reference if points else f"with {reference}"
    plural = "" if flips.lost == 1 else "s"
    figures = f"{flips.lost} photo{plural} lost, {flips.won} won, {p_text(flips.p, 'p = ')}"
    return f"is {where} {with_whom} ({figures}): {meaning(flips)}"


def meaning(flips: Flips) -> str:
    """Return whether the difference is noise, and if it is not, which classes are hit hardest."""
    if flips.is_noise:
        return "that is noise"
    hit = [f"{entry.label} ({entry.won - entry.lost} of {entry.photos})" for entry in flips.hit]
    hardest = f"; hit hardest: {', '.join(hit[:_MOST_CLASSES])}" if hit else ""
    return f"that is more than chance{hardest}"


def options_table(found: Recommendation) -> Table:
    """Return a table with a row for each file and number of threads, and what is said of it."""
    measure = found.benchmark.measure
    table = new_table("File", "threads", "ms", "MB", f"{measure} %", "points\nlost", "")
    for option in found.options:
        table.add_row(
            shown(option.name),
            str(option.threads),
            f"{option.latency_ms:.2f}",
            f"{option.size_mb:.2f}",
            NOTHING if option.accuracy is None else f"{100 * option.accuracy:.1f}",
            NOTHING if option.drop is None else f"{option.drop:.1f}",
            remark(option, found),
        )
    return table


def explain(found: Recommendation) -> tuple[str, ...]:
    """Return what to take, why, and what the runner-up costs, or what comes nearest."""
    take = found.take
    if take is None:
        return (nothing_fits(found),)
    return (
        f"Use {_with_threads(take)}: {_figures(take, found.benchmark)}.",
        _reason(take, found),
        _runner_up(take, found),
    )


def print_recommendation(
    found: Recommendation, run: Path | None = None, stream: IO[str] | None = None
) -> None:
    """Print the machine, all options and the recommendation, at most 100 columns wide.

    Args:
        found: what was found.
        run: the run that the files were made from, if they are not kept.
        stream: where to; standard output by default.
    """
    console = new_console(stream)
    console.print(found.benchmark.machine.summary)
    console.print(options_table(found))
    for sentence in found.benchmark.warnings:
        console.print(shown(sentence))
    for entry in found.benchmark.left_out:
        console.print(shown(f"{entry.name} was left out. {entry.reason}"))
    if found.take is None:
        return
    for sentence in explain(found):
        console.print(shown(sentence), style="bold")
    if run is not None:
        command = f"pocketlens convert {run} --format {found.take.row[0].format} --out models"
        # Unbroken, to be copied.
        console.print(f"Make it: {shown(command)}", soft_wrap=True)


def remark(option: Option, found: Recommendation) -> str:
    """Return what is said of an option in a word or two, "" where there is nothing to say."""
    if option is found.take:
        return "take"
    if option is found.runner_up:
        return "runner-up"
    if option.misses:
        return ", ".join(_MISSED[name] for name in option.misses)
    return "" if option.on_front else "beaten"


def nothing_fits(found: Recommendation) -> str:
    """Return the sentence for where no file keeps the limits: what comes nearest."""
    nearest = found.nearest
    if nearest is None:
        return ""
    return (
        f"Expected a file within {found.limits.text}. Received: none; the nearest is "
        f"{_with_threads(nearest)}, {_figures(nearest, found.benchmark)}{_below(nearest)}. "
        "Allow as much, or train a smaller network."
    )


def _operator_lines(benchmark: Benchmark) -> list[str]:
    lines = []
    for file in benchmark.files:
        if file.stages:
            kinds = list(by_kind(file.stages).items())[:_KINDS_SHOWN]
            text = ", ".join(f"{kind} {time_ms:.2f}" for kind, time_ms in kinds)
            lines.append(f"Time of the operators of {file.name}, in ms: {text}.")
    return lines


def _notes(benchmark: Benchmark) -> list[str]:
    first = "" if benchmark.reference.format == "float32" else ", the first: no card says float32"
    notes = [
        "invoke: the bare model; classify: from a 1280x720 frame to labels; medians and p95 in ms.",
        "load, first answer, RAM and peak: in a separate process; partitions: XNNPACK's.",
    ]
    if len(benchmark.files) > 1:
        notes.insert(0, f"ratio and agrees: compared with {benchmark.reference.name}{first}.")
    if benchmark.photos:
        skipped = f", {benchmark.skipped} unreadable skipped" if benchmark.skipped else ""
        all_of_them = ": all labels of a photo right" if benchmark.task == MULTILABEL else ""
        notes.append(f"{benchmark.measure}{all_of_them}, on {counted(benchmark.photos)}{skipped}.")
        if len(benchmark.files) > 1:
            notes.append(
                f"lost, won: photos that only {benchmark.reference_name} or only the file gets "
                "right; p: McNemar's exact test."
            )
    return notes


def _cells(file: FileResult) -> tuple[str, ...]:
    footprint = file.footprint
    return (
        f"{file.size_mb:.2f}",
        f"{footprint.load_ms:.1f}",
        f"{footprint.first_ms:.1f}",
        _megabytes(footprint.loaded_bytes),
        _megabytes(footprint.peak_growth_bytes),
        _megabytes(footprint.peak_bytes),
        str(file.partitions),
    )


def _megabytes(count: int | None) -> str:
    return NOTHING if count is None else f"{count / BYTES_PER_MB:.1f}"


def _head(column: Column) -> str:
    if column.interval is None or column.narrow:
        return "\n".join(["", *column.head.rsplit(" ", 1)][-2:])
    return f"{column.head}\n(95 % interval)"


def _cell(column: Column, accuracy: Accuracy) -> str:
    value = column.value(accuracy)
    if value is None or isinstance(value, str):
        return value or NOTHING
    text, interval = column.number(value), column.interval and column.interval(accuracy)
    if interval is None or column.narrow:
        return text
    # Without the zeros before the point, so that names have room.
    low, high = (
        column.number(end) if column.percent else f"{end:.2f}".replace("0.", ".")
        for end in interval
    )
    return f"{text} ({low}–{high})"


def _below(option: Option) -> str:
    if "accuracy" not in option.misses:
        return ""
    return f", {option.drop:.1f} points below the most accurate"


def _figures(option: Option, benchmark: Benchmark) -> str:
    text = f"{option.latency_ms:.1f} ms from a frame to labels, {option.size_mb:.1f} MB"
    if option.accuracy is None:
        return text
    return f"{text} and {100 * option.accuracy:.1f} % {benchmark.measure}"


def _reason(take: Option, found: Recommendation) -> str:
    limits = found.limits
    beside = rivals([option for option in found.options if not option.misses], limits)
    files = len({option.name for option in beside})
    group = f"within {limits.text}" if limits.text else "to choose from"
    if limits.max_drop is None and take.accuracy is not None:
        group += f" and {near_best(take.row[0])} of them"
    fastest_ms = min(option.latency_ms for option in beside)
    as_fast_ms = fastest_ms * (1 + SAME_SPEED)
    near = len({option.name for option in beside if option.latency_ms <= as_fast_ms})
    if files == 1:
        text = f"It is the only file {group}"
    elif near > 1 and take.latency_ms > fastest_ms:
        text = (
            f"Of the {files} files {group}, {near} are within {100 * SAME_SPEED:.0f} % of the "
            "fastest, and it is the smallest of them"
        )
    else:
        text = f"It is the fastest of the {files} files {group}"
    return f"{text}{_against_reference(take, found.benchmark)}."


def _against_reference(take: Option, benchmark: Benchmark) -> str:
    file, latency = take.row
    if len(benchmark.files) == 1:
        return ""
    if file is benchmark.reference:
        return ", and the one that the others were compared with"
    ratio = file.size_bytes / benchmark.reference.size_bytes
    text = (
        f"; beside {benchmark.reference_name} with as many threads it is "
        f"{as_fast(latency.classify_ratio)} at {ratio:.2f} of the size"
    )
    return text if file.accuracy is None else f"{text} and {difference(file, benchmark)}"


def _runner_up(take: Option, found: Recommendation) -> str:
    other = found.runner_up
    if other is None:
        within = f" within {found.limits.text}" if found.limits.text else ""
        return f"There is no other file{within}."
    time = other.latency_ms / take.latency_ms
    if other.threads == take.threads:
        # As the time beside the reference: of calls in turn, so that the two agree.
        time = other.row[1].classify_ratio / take.row[1].classify_ratio
    times = "" if abs(time - 1) <= SAME_SPEED else f"{time:.2f} times "
    text = (
        f"The runner-up, {_with_threads(other)}, takes {times}as long and has "
        f"{other.size_mb / take.size_mb:.2f} times the size"
    )
    if other.accuracy is not None and take.accuracy is not None:
        text += f", with {accuracy_gap(100 * (other.accuracy - take.accuracy))}"
    return f"{text}."


def _with_threads(option: Option) -> str:
    return f"{option.name} with {counted(option.threads, 'thread')}"
