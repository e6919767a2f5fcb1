"""The part of a benchmark's page that shows where files answer otherwise than the reference."""

from __future__ import annotations

import html
from collections.abc import Sequence

from pocketlens.benchmarks.results import Benchmark, FileResult
from pocketlens.evaluation.agreement import AnswerPair

STYLE = """
.cross { border-spacing: 2px; border-collapse: separate; }
.cross th, .cross td { padding: .3rem .5rem; border: 0; }
.cross td { min-width: 2.6rem; text-align: center; border-radius: .2rem; }
.cross thead th { max-width: 9rem; overflow: hidden; text-align: center; text-overflow: ellipsis; }
.cross tbody th { overflow: hidden; min-width: 0; max-width: 9rem; text-overflow: ellipsis;
  white-space: nowrap; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--accent); }
"""

# With more answers than this a matrix would not fit on a screen; then the pairs are listed.
_MOST_IN_MATRIX = 12
_PAIRS_LISTED = 15
# Okabe and Ito's blue and vermilion: the same answer, and another one.
_SAME, _OTHER = "0, 114, 178", "213, 94, 0"


def answers_section(benchmark: Benchmark) -> str:
    """Return what each file says where the reference says something else, "" without photos.

    One is open: the int8 file, or else the first.
    """
    shown = [file for file in benchmark.files if file.answer_pairs is not None]
    if not shown:
        return ""
    first = next((file for file in shown if file.format == "int8"), shown[0])
    parts = [_file(benchmark, file, is_open=file is first) for file in shown]
    title = f"Where files answer otherwise than {html.escape(benchmark.reference_name)}"
    return f"<h2>{title}</h2>{''.join(parts)}"


def _file(benchmark: Benchmark, file: FileResult, *, is_open: bool) -> str:
    pairs = file.answer_pairs or ()
    apart = [pair for pair in pairs if pair.own != pair.reference]
    count, total = sum(pair.photos for pair in apart), sum(pair.photos for pair in pairs)
    summary = f"{file.name}: {count} of {total} photos"
    answers = sorted({pair.own for pair in pairs} | {pair.reference for pair in pairs})
    if not apart:
        shown = "<p>It gives every photo the same answer.</p>"
    elif len(answers) <= _MOST_IN_MATRIX:
        shown = _matrix(pairs, answers, benchmark.reference_name, file.format or file.name)
    else:
        shown = _list(apart, benchmark.reference_name, file.format or file.name)
    return (
        f"<details{' open' if is_open else ''}><summary>{html.escape(summary)}</summary>"
        f"{shown}</details>"
    )


def _matrix(pairs: Sequence[AnswerPair], answers: Sequence[str], reference: str, own: str) -> str:
    counts = {(pair.reference, pair.own): pair.photos for pair in pairs}
    rows_most = {name: sum(counts.get((name, other), 0) for other in answers) for name in answers}
    rows = []
    for row in answers:
        cells = []
        for column in answers:
            photos = counts.get((row, column), 0)
            # By the root, since a handful among hundreds is what there is to see.
            share = (photos / max(1, rows_most[row])) ** 0.5
            colour = _SAME if row == column else _OTHER
            shade = f' style="background: rgba({colour}, {0.75 * share:.2f})"' if photos else ""
            cells.append(f"<td{shade}>{photos or '·'}</td>")
        rows.append(f"<tr>{_head(row)}{''.join(cells)}</tr>")
    heads = "".join(map(_head, answers))
    words = f"Photos; across: what {own} says, down: what {reference} says."
    return (
        f'<div class="wide"><table class="cross"><thead><tr><th></th>{heads}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="note">{html.escape(words)}</p>'
    )


def _head(name: str) -> str:
    return f'<th title="{html.escape(name)}">{html.escape(name)}</th>'


def _list(apart: Sequence[AnswerPair], reference: str, own: str) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(pair.reference)}</th><th>{html.escape(pair.own)}</th>"
        f"<td>{pair.photos}</td></tr>"
        for pair in apart[:_PAIRS_LISTED]
    )
    rest = len(apart) - _PAIRS_LISTED
    more = f'<p class="note">{rest} rarer pairs are in the JSON.</p>' if rest > 0 else ""
    return (
        f'<div class="wide"><table><thead><tr><th>{html.escape(reference)} says</th>'
        f"<th>{html.escape(own)} says</th><th>photos</th></tr></thead><tbody>{rows}</tbody></table>"
        f"</div>{more}"
    )
