"""An evaluation as HTML: what was reached, what to do, and the photos that show why."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from pocketlens.choices import BINARY, MULTICLASS, MULTILABEL
from pocketlens.evaluation.metrics import Evaluation
from pocketlens.evaluation.mistakes import Confusion, confusions, diagnose, mistakes
from pocketlens.evaluation.models import ModelEvaluation
from pocketlens.train import figures
from pocketlens.train.galleries import confident_mistakes, confused_pairs, counted
from pocketlens.train.plots import SERIES, Plot

_CLASSES_OPEN = 25
_ADVICE_SHOWN = 5
# Two matrices of at most so many classes stand side by side.
_SIDE_BY_SIDE = 8

STYLE = """<style>
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.2rem, 1fr)); gap: .7rem;
  margin: 1.2rem 0; padding: 0; }
.tiles div { background: var(--soft); border-radius: .5rem; padding: .6rem .8rem; }
.tiles dt { font-size: .8rem; opacity: .75; }
.tiles dd { margin: 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
  gap: 1rem; align-items: start; }
.plot { margin: .6rem 0; }
.plot svg { display: block; width: 100%; max-width: var(--natural); height: auto; color: inherit; }
.plot svg text { font-family: system-ui, sans-serif !important; }
.large { overflow-x: auto; } .large .plot svg { min-width: var(--natural); }
.large.fits .plot svg { min-width: 42rem; }
.note, figcaption { font-size: .85rem; opacity: .8; }
.todo { padding-left: 1.2rem; } .todo li { margin: .35rem 0; }
.classes td:last-child { text-align: left; font-size: .9rem; min-width: 13rem; }
.classes tbody th { max-width: 16rem; overflow-wrap: break-word; }
.classes td { white-space: nowrap; }
.classes td:last-child { white-space: normal; }
.meter { display: inline-block; width: 3.2rem; height: .5rem; margin-right: .5rem;
  background: var(--line); border-radius: .25rem; overflow: hidden; vertical-align: .05rem; }
.meter i { display: block; height: 100%; background: var(--accent); }
.gallery { margin: .5rem 0 1.4rem; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr));
  gap: 1rem 1.4rem; margin: .5rem 0 1rem; } .pairs h3 { margin: .4rem 0; font-size: 1rem; }
.pairs .row { grid-template-columns: repeat(4, 1fr); }
.row figcaption { overflow-wrap: anywhere; opacity: 1; line-height: 1.35; margin-top: .2rem; }
.row figcaption small { opacity: .65; } .row img { display: block; }
.maps { grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); }
.maps figure { margin: 0; } .maps img { width: 100%; }
@media (max-width: 32rem) { .meter { display: none; }
  .classes td:last-child { white-space: nowrap; } }
summary { cursor: pointer; margin: .6rem 0; color: var(--accent); }
@media (prefers-color-scheme: dark) { img { background: none; } }
</style>"""


@dataclass(frozen=True)
class Sections:
    """An evaluation in HTML, and the plots that are in it."""

    html: str
    plots: tuple[Plot, ...]


def sections(shown: ModelEvaluation) -> Sections:
    """Return an evaluation as the sections of a page; needs `STYLE` once on it."""
    answers, result = shown.answers, shown.result
    every = mistakes(answers)
    matrices = _matrices(result)
    roc = figures.roc(answers, result)
    cut = figures.thresholds(answers) if answers.task == BINARY and roc else None
    reliable = figures.calibration(result.reliability, shown.before, _share_of(answers.task))
    parts = [
        _tiles(result),
        _todo(result, confusions(every)),
        _classes(result),
        _matrices_section(result, matrices),
        confused_pairs(confusions(every), shown.paths),
        confident_mistakes(every, shown.paths),
        '<div class="plots">',
        _roc(result, roc),
        _threshold(result, cut),
        _calibration(shown, reliable),
        "</div>",
    ]
    return Sections(
        "\n".join(filter(None, parts)), tuple(filter(None, (*matrices, roc, cut, reliable)))
    )


def lead(result: Evaluation, seen: str) -> str:
    """Return the sentence that says what was reached; `seen` says what these photos are."""
    low, high = result.interval
    how = "answered with exactly their labels" if result.task == MULTILABEL else "recognised"
    return (
        f'<p class="lead"><strong>{result.accuracy:.1%}</strong> of {result.count} photos were '
        f"{how} (95&nbsp;% interval {low:.1%} to {high:.1%}). {html.escape(seen)}</p>"
    )


def _tiles(result: Evaluation) -> str:
    tiles = "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in result.headline
    )
    return f'<dl class="tiles">{tiles}</dl>'


def _todo(result: Evaluation, pairs: Sequence[Confusion]) -> str:
    items = []
    for index in result.worst_first:
        entry, advice = result.classes[index], diagnose(result, index)
        if entry.support and advice:
            items.append(f"<strong>{html.escape(entry.label)}</strong>: {html.escape(advice)}.")
    more = len(items) - _ADVICE_SHOWN
    items = items[:_ADVICE_SHOWN]
    if more > 0:
        items.append(f"{counted(more, 'more class', 'more classes')} in the table below.")
    if not items:
        if not pairs:
            return "<h2>What to do</h2><p>Nothing: every photo was answered right.</p>"
        items.append(
            "No class stands out. Look at the mistakes below: wrong labels, more than one thing "
            "in a photo, or photos that people could not tell apart either."
        )
    return f'<h2>What to do</h2><ul class="todo">{_items(items)}</ul>'


def _items(items: Sequence[str]) -> str:
    return "".join(f"<li>{item}</li>" for item in items)


def _classes(result: Evaluation) -> str:
    rows = []
    for index in result.worst_first:
        entry = result.classes[index]
        auc = "–" if entry.auc is None else f"{entry.auc:.3f}"
        values = "".join(
            f"<td>{value:.3f}</td>" if entry.support else "<td>–</td>"
            for value in (entry.precision, entry.recall)
        )
        meter = (
            f'<span class="meter"><i style="width: {100 * entry.f1:.0f}%"></i></span>{entry.f1:.3f}'
            if entry.support
            else "–"
        )
        rows.append(
            f"<tr><th>{html.escape(entry.label)}</th><td>{meter}</td>{values}<td>{auc}</td>"
            f"<td>{entry.support}</td><td>{html.escape(diagnose(result, index))}</td></tr>"
        )
    shown, rest = rows[:_CLASSES_OPEN], rows[_CLASSES_OPEN:]
    count = counted(len(rest), "more class", "more classes")
    more = f"<details><summary>{count}</summary>{_table(rest)}</details>"
    return f"""<h2>Classes, worst first</h2>
{_table(shown)}{more if rest else ""}
<p class="note">Precision: of the photos called so, how many are. Recall: of the photos that are,
how many were called so. F1 is their harmonic mean, AUC the area under the ROC curve.</p>"""


def _table(rows: Sequence[str]) -> str:
    head = "".join(
        f"<th>{name}</th>" for name in ("class", "F1", "precision", "recall", "AUC", "photos", "")
    )
    return (
        f'<div class="wide"><table class="classes"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _matrices(result: Evaluation) -> tuple[Plot, ...]:
    if not result.confusion:
        return ()
    # Without figures in the cells the two would be the same picture.
    both = (True, False) if len(result.classes) <= figures.MAX_FIGURES else (True,)
    return tuple(figures.confusion(result, percent=percent) for percent in both)


def _matrices_section(result: Evaluation, plots: Sequence[Plot]) -> str:
    if not plots:
        return ""
    count = len(result.classes)
    captions = ["In percent of the true class", "In photos"]
    if len(plots) == 1:
        captions = [f"Shades: percent of the true class, {count} classes. Photos: report.json"]
    drawn = [plot.figure(caption) for plot, caption in zip(plots, captions, strict=True)]
    if count <= _SIDE_BY_SIDE:
        inside = f'<div class="plots">{"".join(drawn)}</div>'
    else:
        kind = "large" if len(plots) > 1 else "large fits"
        inside = "".join(f'<div class="{kind}">{figure}</div>' for figure in drawn)
    return f"<h2>Confusion matrix</h2>{inside}"


def _roc(result: Evaluation, plot: Plot | None) -> str:
    if plot is None:
        return ""
    more = len(result.classes) - len(SERIES)
    many = f" Named are the {len(SERIES)} worst classes." if more > 0 else ""
    words = (
        "How many photos of a class are found when so many others may be false alarms. An area "
        f"under the curve (AUC) of 1 is perfect, 0.5 is guessing.{many}"
    )
    return f"<section><h2>ROC</h2><p>{words}</p>{plot.figure()}</section>"


def _threshold(result: Evaluation, plot: Plot | None) -> str:
    if plot is None:
        return ""
    words = (
        f"From a score of {result.threshold:.2f} on, a photo is called "
        f"{html.escape(result.classes[1].label)}. Higher, there are fewer false alarms; lower, "
        "fewer are missed."
    )
    return f"<section><h2>Threshold</h2><p>{words}</p>{plot.figure()}</section>"


def _calibration(shown: ModelEvaluation, plot: Plot) -> str:
    result = shown.result
    words = (
        f"A score of 80&nbsp;% should be right in 80&nbsp;% of all cases; here scores are "
        f"{_percent(result.ece)} off on average (expected calibration error, "
        f"{len(result.reliability.bins)} bins)."
    )
    if shown.temperature is not None:
        words += (
            f" The model's logits are divided by a temperature of {shown.temperature:.2f}, fitted "
            "on the validation photos; it is in the model and in every file made of it."
        )
    if shown.before is not None:
        words += (
            f" Without it scores would be {_percent(shown.before.ece)} off, and the log loss, "
            "which counts mistakes by how sure they were, would be "
            f"{shown.before.log_loss:.3f} instead of {result.reliability.log_loss:.3f}."
        )
    return f"<section><h2>Calibration</h2><p>{words}</p>{plot.figure()}</section>"


def _share_of(task: str) -> str:
    return "answers that were right" if task == MULTICLASS else "labels that were true"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}&nbsp;%"
