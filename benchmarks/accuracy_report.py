"""What was found about accuracy, for people and as JSON."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pocketlens.benchmarks.results import Benchmark, FileResult
from pocketlens.choices import BINARY, MULTILABEL
from pocketlens.evaluation.agreement import Flips
from pocketlens.evaluation.metrics import Accuracy
from pocketlens.report.terminal import NOTHING, new_table

if TYPE_CHECKING:
    from rich.table import Table

_MOST_CLASSES = 3


def accuracy_table(benchmark: Benchmark) -> Table:
    """Return a table with a row for each file that was measured on photos."""
    rows = [(file, file.accuracy) for file in benchmark.files if file.accuracy]
    headers = [f"{benchmark.measure} %\n(95 % interval)"]
    if any(accuracy.top5 is not None for _, accuracy in rows):
        headers.append("top-5\n%")
    if benchmark.task == MULTILABEL:
        headers.append("micro\nF1")
    headers.append("macro F1\n(95 % interval)")
    with_flips = len(rows) > 1
    if with_flips:
        headers += ["agrees\n%", "\nlost", "\nwon", "\np"]
    table = new_table("File", *headers)
    for file, accuracy in rows:
        cells = [f"{100 * accuracy.share:.1f} ({_range(accuracy.interval, 100, 1)})"]
        if "top-5\n%" in headers:
            cells.append(NOTHING if accuracy.top5 is None else f"{100 * accuracy.top5:.1f}")
        if benchmark.task == MULTILABEL:
            cells.append(f"{accuracy.micro_f1:.3f}")
        # Without the zeros, so that names have room.
        f1_range = _range(accuracy.macro_f1_interval, 1, 2).replace("0.", ".")
        cells.append(f"{accuracy.macro_f1:.3f} ({f1_range})")
        if with_flips:
            cells.append(f"{100 * accuracy.agreement:.1f}")
            flips = accuracy.flips
            cells += [str(flips.lost), str(flips.won), p_text(flips.p)] if flips else [NOTHING] * 3
        table.add_row(file.name, *cells)
    return table


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


def accuracy_payload(accuracy: Accuracy | None, task: str) -> dict[str, Any] | None:
    """Return what `--json` says of a file's accuracy; its fields are in docs/benchmark-json.md."""
    if accuracy is None:
        return None
    flips = accuracy.flips
    return {
        **_shares(accuracy, task),
        "interval_95": accuracy.interval,
        "top5": accuracy.top5,
        "top5_interval_95": accuracy.top5_interval,
        "macro_f1": accuracy.macro_f1,
        "macro_f1_interval_95": accuracy.macro_f1_interval,
        "correct": accuracy.correct,
        "total": accuracy.total,
        "agreement": accuracy.agreement,
        "flips": flips and {**dataclasses.asdict(flips), "is_noise": flips.is_noise},
    }


def _shares(accuracy: Accuracy, task: str) -> dict[str, float]:
    if task == MULTILABEL:
        return {"exact_match": accuracy.share, "micro_f1": accuracy.micro_f1}
    return {"accuracy" if task == BINARY else "top1": accuracy.share}


def _range(interval: tuple[float, float], factor: int, digits: int) -> str:
    low, high = interval
    return f"{factor * low:.{digits}f}–{factor * high:.{digits}f}"


def p_text(p: float, equals: str = "") -> str:
    """Return a p-value in two or three digits, with `equals` before it where it is not below."""
    if p < 0.001:
        return "p < 0.001" if equals else "<0.001"
    return f"{equals}{p:.{2 if p >= 0.1 else 3}f}"
