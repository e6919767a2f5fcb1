"""The part of a benchmark's page that shows what the operators of each file take."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence

from pocketlens.benchmarks import svg as charts
from pocketlens.benchmarks.page_plots import bars, short_names, threads_text
from pocketlens.benchmarks.results import Benchmark, FileResult
from pocketlens.benchmarks.stages import Stage, by_kind
from pocketlens.benchmarks.svg import COLOURS

_OTHERS = "others"
_SLOWEST_SHOWN = 10


def operators_section(benchmark: Benchmark) -> str:
    """Return where the time of an inference goes inside the files, and a word where unknown."""
    if not all(file.stages for file in benchmark.files):
        return (
            '<h2>Operators</h2><p class="note">Not measured: add --profile to see what each '
            "operator takes.</p>"
        )
    each = [by_kind(file.stages or ()) for file in benchmark.files]
    kinds = _kinds(each)
    rows = [[_bar(own, kind, kinds) for kind in kinds] for own in each]
    drawn = bars(short_names(benchmark), rows, kinds, "time of an inference (ms)")
    legend = charts.legend(zip(COLOURS, kinds, strict=False))
    threads = threads_text(benchmark.files[0].latencies[0].threads)
    note = (
        f"With {threads}. Each operator: what a model that ends with it takes more than one that "
        "ends before it."
    )
    tables = "".join(_slowest(file) for file in benchmark.files)
    return (
        f'<h2>Operators</h2><div class="pair"><section>{legend}{drawn}'
        f'<p class="note">{note}</p></section><section>{tables}</section></div>'
    )


def _kinds(each: Sequence[dict[str, float]]) -> list[str]:
    """Return the kinds that take most, as many as there are colours, the rest as one."""
    kinds = dict.fromkeys(kind for own in each for kind in own)
    ordered = sorted(kinds, key=lambda kind: -sum(own.get(kind, 0.0) for own in each))
    if len(ordered) <= len(COLOURS):
        return ordered
    return [*ordered[: len(COLOURS) - 1], _OTHERS]


def _bar(own: dict[str, float], kind: str, kinds: Sequence[str]) -> float:
    if kind == _OTHERS:
        return sum(value for name, value in own.items() if name not in kinds)
    return own.get(kind, 0.0)


def _named(stage: Stage) -> str:
    counts = Counter(stage.operators).items()
    return ", ".join(f"{count} × {name}" if count > 1 else name for name, count in counts)


def _slowest(file: FileResult) -> str:
    stages = file.stages or ()
    total_ms = sum(stage.time_ms for stage in stages)
    numbered = sorted(enumerate(stages, 1), key=lambda item: -item[1].time_ms)
    rows = "".join(
        f"<tr><th>{number}. {html.escape(_named(stage))}</th>"
        f"<td>{stage.time_ms:.3f}</td><td>{100 * stage.time_ms / total_ms:.1f}</td>"
        f"<td>{stage.macs / 1e6:.1f}</td></tr>"
        for number, stage in numbered[:_SLOWEST_SHOWN]
    )
    shown = min(_SLOWEST_SHOWN, len(stages))
    return (
        f"<details><summary>{html.escape(file.name)}: the {shown} slowest of {len(stages)}"
        '</summary><div class="wide"><table><thead><tr><th>operator</th><th>ms</th><th>%</th>'
        f"<th>MMACs</th></tr></thead><tbody>{rows}</tbody></table></div></details>"
    )
