"""The tables of a benchmark's page."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from pocketlens.benchmarks.accuracy_report import accuracy_sentences, p_text
from pocketlens.benchmarks.recommendation import Verdict
from pocketlens.benchmarks.results import BYTES_PER_MB, Benchmark, FileResult, Latency
from pocketlens.evaluation.intervals import Interval
from pocketlens.evaluation.metrics import Accuracy

STYLE = """
.files td { white-space: nowrap; vertical-align: top; }
.files thead th { vertical-align: bottom; } .files small { display: block; opacity: .7; }
.files tbody th { min-width: 8.5rem; max-width: 19rem; overflow-wrap: break-word; }
.files th:first-child { position: sticky; left: 0; vertical-align: top;
  background: var(--paper); }
@media (max-width: 44rem) { .files tbody th { max-width: 9rem; } }
.files .taken td, .files .taken th:first-child { background: var(--soft); }
"""

_NOTHING = "–"


def files_section(benchmark: Benchmark, verdict: Verdict) -> str:
    """Return a table with what each file is: size, memory, work."""
    heads = ("file", "size, MB", "RAM, MB", "parameters, M", "MMACs")
    rows = [
        _row(file.name, _file_cells(file), is_taken=file.name == verdict.file)
        for file in benchmark.files
    ]
    note = (
        "RAM: what the model adds at most, in a process of its own. MMACs: millions of "
        "multiply-adds for a picture."
    )
    return f"<h2>Files</h2>{_table(heads, rows)}{_note(note)}"


def accuracy_section(benchmark: Benchmark, verdict: Verdict) -> str:
    """Return a table with how good each file is and whether the difference is noise."""
    if not benchmark.photos:
        return ""
    several = len(benchmark.files) > 1
    with_top5 = any(file.accuracy and file.accuracy.top5 is not None for file in benchmark.files)
    heads = (
        *("file", f"{benchmark.measure}, %"),
        *(("top-5, %",) if with_top5 else ()),
        "macro F1",
        *(("agrees, %", "lost", "won", "p") if several else ()),
    )
    rows = [
        _row(
            file.name,
            _accuracy_cells(file.accuracy, with_top5=with_top5, several=several),
            is_taken=file.name == verdict.file,
        )
        for file in benchmark.files
        if file.accuracy
    ]
    note = "Below each figure its 95 % interval."
    if several:
        note += (
            f" Agrees: with {benchmark.reference.name}. Lost, won: photos that only "
            f"{benchmark.reference_name} or only the file gets right; p: McNemar’s exact test."
        )
    sentences = "".join(f"<li>{html.escape(text)}</li>" for text in accuracy_sentences(benchmark))
    judged = f"<ul>{sentences}</ul>" if sentences else ""
    return f"<h2>Accuracy</h2>{_table(heads, rows)}{judged}{_note(note)}"


def times_section(benchmark: Benchmark, verdict: Verdict) -> str:
    """Return a table with how long each file takes with each number of threads."""
    several = len(benchmark.files) > 1
    ratio_heads = ("frame, ratio", "invoke, ratio") if several else ()
    heads = ("file", "threads", "frame, ms", "p95, ms", "p99, ms", "invoke, ms", *ratio_heads)
    rows = [
        _row(
            file.name,
            _time_cells(latency, with_ratios=several),
            is_taken=(file.name, latency.threads) == (verdict.file, verdict.threads),
        )
        for file in benchmark.files
        for latency in file.latencies
    ]
    than = benchmark.reference.name
    ratio = (
        f" Ratio: to {than} with as many threads; intervals hold for another run too."
        if several
        else ""
    )
    note = (
        "Frame: from 1280×720 pixels to labels; p95 and p99 are of frames too; invoke: the bare "
        f"model. Medians with their 95 % intervals over processes.{ratio}"
    )
    return f"<h2>Times</h2>{_table(heads, rows)}{_note(note)}"


def _file_cells(file: FileResult) -> Iterable[str]:
    peak = file.footprint.peak_growth_bytes
    yield f"{file.size_mb:.2f}"
    yield _NOTHING if peak is None else f"{peak / BYTES_PER_MB:.1f}"
    yield f"{file.parameters / 1e6:.2f}"
    yield f"{file.macs / 1e6:.0f}"


def _accuracy_cells(accuracy: Accuracy, *, with_top5: bool, several: bool) -> Iterable[str]:
    yield _share(accuracy.share, accuracy.interval)
    if with_top5:
        yield _NOTHING if accuracy.top5 is None else _share(accuracy.top5, accuracy.top5_interval)
    yield f"{accuracy.macro_f1:.3f}{_between(accuracy.macro_f1_interval, 3)}"
    if several:
        flips = accuracy.flips
        yield f"{100 * accuracy.agreement:.1f}"
        yield from (
            (str(flips.lost), str(flips.won), p_text(flips.p)) if flips else (_NOTHING,) * 3
        )


def _share(share: float, interval: Interval | None) -> str:
    percent = interval and (100 * interval[0], 100 * interval[1])
    return f"{100 * share:.1f}{_between(percent, 1)}"


def _time_cells(latency: Latency, *, with_ratios: bool) -> Iterable[str]:
    spread = latency.classify
    yield str(latency.threads)
    yield f"{spread.median_ms:.2f}{_between(spread.median_interval_ms)}"
    yield f"{spread.p95_ms:.2f}"
    yield f"{spread.p99_ms:.2f}"
    yield f"{latency.invoke.median_ms:.2f}{_between(latency.invoke.median_interval_ms)}"
    if with_ratios:
        yield f"{latency.classify_ratio:.2f}{_between(latency.classify_ratio_interval)}"
        yield f"{latency.invoke_ratio:.2f}{_between(latency.invoke_ratio_interval)}"


def _row(name: str, cells: Iterable[str], *, is_taken: bool) -> str:
    kind = ' class="taken"' if is_taken else ""
    rest = "".join(f"<td>{cell}</td>" for cell in cells)
    return f"<tr{kind}><th>{html.escape(name)}</th>{rest}</tr>"


def _table(heads: Sequence[str], rows: Iterable[str]) -> str:
    """Return a table that scrolls by itself where it is too wide."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    return (
        f'<div class="wide"><table class="files"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _between(interval: Interval | None, digits: int = 2) -> str:
    if interval is None:
        return ""
    return f"<small>{interval[0]:.{digits}f}–{interval[1]:.{digits}f}</small>"


def _note(words: str) -> str:
    return f'<p class="note">{html.escape(words)}</p>'
