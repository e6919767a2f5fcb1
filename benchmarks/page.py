"""A benchmark as one HTML page: what to take, why, and all that was measured."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence
from pathlib import Path

from pocketlens.benchmarks import page_answers, page_operators, page_plots, page_tables
from pocketlens.benchmarks import page_charts as page_choice
from pocketlens.benchmarks import svg as charts
from pocketlens.benchmarks.recommendation import Verdict, find_verdict
from pocketlens.benchmarks.report import drift_sentences, to_payload
from pocketlens.benchmarks.results import BYTES_PER_MB, Benchmark, FileResult, Latency
from pocketlens.files import refuse_folder, staged_folder, write_json, write_text
from pocketlens.report.html import page

PAGE_NAME = "index.html"
# By this file a folder is known to be a report.
JSON_NAME = "benchmark.json"

_NOTHING = "–"
_STYLE = f"""<style>{charts.STYLE}{page_tables.STYLE}{page_answers.STYLE}
.verdict {{ margin: 1.2rem 0; padding: 1rem 1.2rem; border-left: .35rem solid var(--accent);
  border-radius: .4rem; background: var(--soft); font-size: 1.15rem; overflow-wrap: anywhere; }}
.warning {{ margin: .6rem 0; padding: .6rem 1rem; border-left: .35rem solid #d55e00;
  border-radius: .4rem; background: var(--soft); }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .7rem;
  margin: 1.2rem 0; }}
.tiles div {{ padding: .6rem .8rem; border-radius: .5rem; background: var(--soft); }}
.tiles dt, .tiles small {{ font-size: .8rem; opacity: .75; }}
.tiles dd {{ margin: 0; font-size: 1.35rem; font-weight: 600; overflow-wrap: anywhere; }}
.tiles small {{ display: block; font-weight: 400; }}
.pair {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr));
  gap: 1rem 2rem; align-items: start; }} .pair section {{ min-width: 0; }}
.pair .chart {{ max-width: 36rem; }}
.narrow {{ display: none; }}
@media (max-width: 44rem) {{ .narrow {{ display: block; }} .broad {{ display: none; }} }}
.note, figcaption {{ font-size: .85rem; opacity: .8; }}
.machine {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr));
  gap: .6rem 1.2rem; padding: 1rem; border: 1px solid var(--line); border-radius: .5rem; }}
.machine dt {{ font-size: .8rem; opacity: .75; }}
.machine dd {{ margin: 0; overflow-wrap: anywhere; }}
</style>"""


def refuse_report(out: Path, *, overwrite: bool) -> None:
    """Raise OutputExistsError if the folder for a report is taken."""
    refuse_folder(out, overwrite=overwrite, marker=JSON_NAME)


def write_report(benchmark: Benchmark, out: Path, *, overwrite: bool) -> None:
    """Write a folder with the page and, beside it, what `--json` writes.

    The page is one file that asks nobody for anything, to be read on a phone too.

    Raises:
        OutputExistsError: the folder is taken.
        OutputError: it cannot be written.
    """
    with staged_folder(out, overwrite=overwrite, marker=JSON_NAME) as folder:
        write_json(folder / JSON_NAME, to_payload(benchmark))
        write_text(folder / PAGE_NAME, report_page(benchmark))


def report_page(benchmark: Benchmark) -> str:
    """Return a benchmark as an HTML page."""
    verdict = find_verdict(benchmark)
    sections = (
        _STYLE,
        f'<p class="verdict">{html.escape(verdict.sentence)}</p>',
        *(f'<p class="warning">{html.escape(text)}</p>' for text in _warnings(benchmark)),
        _tiles(benchmark, verdict),
        _choice(benchmark),
        page_tables.accuracy_section(benchmark, verdict),
        page_tables.files_section(benchmark, verdict),
        page_tables.times_section(benchmark, verdict),
        f'<div class="pair">{_frame_parts(benchmark, verdict)}{_start_parts(benchmark)}</div>',
        f'<div class="pair">{_spread(benchmark, verdict)}{_threads(benchmark)}</div>',
        page_operators.operators_section(benchmark),
        _sustained(benchmark),
        page_answers.answers_section(benchmark),
        _machine(benchmark),
    )
    return page(f"Benchmark on {benchmark.machine.cpu}", "\n".join(filter(None, sections)))


def _warnings(benchmark: Benchmark) -> list[str]:
    left_out = [f"{entry.name} was left out. {entry.reason}" for entry in benchmark.left_out]
    return [*left_out, *benchmark.machine.warnings, *drift_sentences(benchmark)]


def _tiles(benchmark: Benchmark, verdict: Verdict) -> str:
    file, latency = _taken(benchmark, verdict)
    than = f"{benchmark.reference_name}’s" if len(benchmark.files) > 1 else ""
    spread, accuracy = latency.classify, file.accuracy
    entries = [
        ("take", file.format or file.name, page_plots.threads_text(latency.threads)),
        (
            "time for a frame",
            f"{spread.median_ms:.2f} ms",
            f"{latency.classify_ratio:.2f} × {than}" if than else f"p95 {spread.p95_ms:.2f} ms",
        ),
        ("size", f"{file.size_mb:.2f} MB", f"{verdict.size_ratio:.2f} × {than}" if than else ""),
        (
            "memory, at most",
            _megabytes(file.footprint.peak_growth_bytes),
            "added to a bare process",
        ),
    ]
    if accuracy:
        low, high = (f"{100 * share:.1f}" for share in accuracy.interval)
        share = f"{100 * accuracy.share:.1f} %"
        entries.insert(2, (benchmark.measure, share, f"95 % interval {low} to {high} %"))
    tiles = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}"
        f"<small>{html.escape(more)}</small></dd></div>"
        for name, value, more in entries
    )
    return f'<dl class="tiles">{tiles}</dl>'


def _choice(benchmark: Benchmark) -> str:
    if len(benchmark.files) == len(benchmark.files[0].latencies) == 1:
        return ""
    broad = page_choice.choice(benchmark, page_choice.BROAD)
    narrow = page_choice.choice(benchmark, page_choice.NARROW)
    drawn = f'<div class="broad">{broad}</div><div class="narrow">{narrow}</div>'
    notes = ["A circle’s area is the file’s size."]
    if len(benchmark.files[0].latencies) > 1:
        counts = page_choice.fastest_threads(benchmark)
        own = f" with {page_plots.threads_text(*counts)}" if len(counts) == 1 else ""
        notes.append(f"Filled: each at its fastest{own}; hollow: with other numbers of threads.")
    if benchmark.photos:
        notes.append(f"Upright lines: 95 % intervals on {benchmark.photos} photos.")
        what = "Accuracy against time"
    else:
        notes.append("Without --data nothing is known of accuracy, so size stands in its place.")
        what = "Size against time"
    if len(benchmark.files) > 1:
        notes.append("Dashed: nothing is better in both (the Pareto front).")
    return f"<h2>{what}</h2>{drawn}{_note(' '.join(notes))}"


def _frame_parts(benchmark: Benchmark, verdict: Verdict) -> str:
    rows = [
        (entry.parts.resize_ms, entry.parts.invoke_ms, entry.parts.post_ms)
        for file in benchmark.files
        for entry in file.latencies
        if entry.threads == verdict.threads
    ]
    note = (
        f"Medians with {page_plots.threads_text(verdict.threads)}. Resize: until the pixels are in "
        "the model’s input; post: from its scores to labels."
    )
    return _bars("Each frame", benchmark, rows, ("resize", "invoke", "post"), note)


def _start_parts(benchmark: Benchmark) -> str:
    rows = [(file.footprint.load_ms, file.footprint.first_ms) for file in benchmark.files]
    note = "Once, in a process of its own, the libraries imported before."
    return _bars("The start", benchmark, rows, ("load", "first inference"), note)


def _bars(
    title: str,
    benchmark: Benchmark,
    rows: Sequence[Sequence[float]],
    parts: Sequence[str],
    note: str,
) -> str:
    drawn = page_plots.bars(page_plots.short_names(benchmark), rows, parts, "time (ms)")
    legend = charts.legend(zip(charts.COLOURS, parts, strict=False))
    return f"<section><h2>{title}</h2>{legend}{drawn}{_note(note)}</section>"


def _spread(benchmark: Benchmark, verdict: Verdict) -> str:
    drawn = page_plots.distributions(benchmark, verdict.threads)
    rows = [
        latency.classify
        for file in benchmark.files
        for latency in file.latencies
        if latency.threads == verdict.threads
    ]
    note = (
        f"Of at least {min(row.runs for row in rows)} frames of each file with "
        f"{page_plots.threads_text(verdict.threads)}. Line: median; dashed: 95 % were faster. Of "
        f"the slowest 5 %, which may lie beyond the right end, 1 % took more than "
        f"{max(row.p99_ms for row in rows):.2f} ms with the worst file."
    )
    return f"<section><h2>How steady it is</h2>{drawn}{_note(note)}</section>"


def _threads(benchmark: Benchmark) -> str:
    counts = [latency.threads for latency in benchmark.files[0].latencies]
    if len(counts) == 1:
        words = (
            f"Measured with {page_plots.threads_text(counts[0])} only. Add --threads 1,2,4 to see "
            "what more of them are worth."
        )
        return f"<section><h2>Threads</h2>{_note(words)}</section>"
    names = page_plots.short_names(benchmark)
    legend = charts.legend((page_plots.colour_of(index), name) for index, name in enumerate(names))
    drawn = page_plots.scaling(benchmark)
    note = "Of the median time for a frame. Dashed: what threads that cost nothing would bring."
    return f"<section><h2>Threads</h2>{legend}{drawn}{_note(note)}</section>"


def _sustained(benchmark: Benchmark) -> str:
    sustained = benchmark.sustained
    if sustained is None:
        return ""
    curve, heat = page_plots.endurance(sustained), page_plots.temperature(sustained)
    note = "Line: median; dashed: 95 % were faster."
    right = f"<section>{heat}</section>" if heat else ""
    return (
        f"<h2>Without a pause</h2><p>{html.escape(sustained.sentence)}</p>"
        f'<div class="pair"><section>{curve}{_note(note)}</section>{right}</div>'
    )


def _machine(benchmark: Benchmark) -> str:
    entries = {**benchmark.machine.facts, **dataclasses.asdict(benchmark.settings)}
    items = "".join(
        f"<div><dt>{html.escape(name.replace('_', ' '))}</dt>"
        f"<dd>{html.escape(_value(value))}</dd></div>"
        for name, value in entries.items()
    )
    return (
        f'<h2>Machine and settings</h2><dl class="machine">{items}</dl>'
        f'<p class="note">All figures: <a href="{JSON_NAME}">{JSON_NAME}</a></p>'
    )


def _taken(benchmark: Benchmark, verdict: Verdict) -> tuple[FileResult, Latency]:
    """Return the file and the latency that a verdict names."""
    file = next(file for file in benchmark.files if file.name == verdict.file)
    return file, next(entry for entry in file.latencies if entry.threads == verdict.threads)


def _value(value: object) -> str:
    if value is None:
        return _NOTHING
    return f"{value:g}" if isinstance(value, float) else str(value)


def _megabytes(count: int | None) -> str:
    return _NOTHING if count is None else f"{count / BYTES_PER_MB:.1f} MB"


def _note(words: str) -> str:
    return f'<p class="note">{html.escape(words)}</p>'
