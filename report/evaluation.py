"""An evaluation as an HTML page: what was reached, what to do, and the photos that show why.

The page is made of what `evaluate --json` writes, so that it can be made anywhere. The ROC curves
need every score, which the JSON does not have: they are on the page of `evaluate --report` only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from pocketlens.choices import BINARY, MULTICLASS, MULTILABEL, TASKS
from pocketlens.evaluation.answers import Answers
from pocketlens.evaluation.calibration import Reliability, temperature_doubt
from pocketlens.evaluation.intervals import Interval
from pocketlens.evaluation.metrics import Evaluation, precision_recall_curve, roc_curve
from pocketlens.evaluation.mistakes import (
    Confusion,
    Mistake,
    WrongAnswer,
    confusions,
    diagnose,
    with_photos,
)
from pocketlens.evaluation.models import ModelEvaluation, to_payload
from pocketlens.evaluation.unknown import Refusals, draw_synthetic
from pocketlens.files import refuse_folder, staged_folder, write_json, write_text
from pocketlens.report.charts import (
    ACCENT,
    FAINT,
    INK,
    LINE,
    PAPER,
    SERIES,
    Chart,
    label_axes,
    legend_above,
)
from pocketlens.report.html import (
    THUMBNAIL_SIDE,
    counted,
    fixed,
    percent,
    pixels_url,
    render,
    thumbnail_url,
)
from pocketlens.report.records import DamagedError, from_json, not_written

PAGE_NAME = "index.html"
# By this file a folder is known to be a report.
JSON_NAME = "report.json"

_CLASSES_OPEN = 25
_ADVICE_SHOWN = 5
# How many photos there are to see: at 5 kB each, a page stays below half a megabyte.
_PAIRS_SHOWN = 6
_PHOTOS_OF_A_PAIR = 4
_MISTAKES_SHOWN = 20
_UNKNOWN_SHOWN = 12
# Two matrices of at most so many classes stand side by side; up to the next number cells are large;
# above the others a cell is too small for a figure, and a row for a name.
_SIDE_BY_SIDE, _ROOMY, _MAX_FIGURES, _MAX_NAMES = 8, 20, 40, 120
_SIZE = (410.0, 330.0)
# Points of a curve; more cannot be seen.
_CURVE_POINTS = 200
# From this share on, a cell is so dark that its figure has to be light.
_DARK = 0.55


@dataclass(frozen=True)
class _Written:
    """What the page shows of the JSON beside the fields of `Evaluation`."""

    mistakes: tuple[WrongAnswer, ...]
    temperature: float | None
    ece_before_temperature: float | None
    log_loss_before_temperature: float | None
    warnings: tuple[str, ...]
    refusals: Refusals | None


def write_evaluation(
    evaluation: ModelEvaluation, folder: Path, maps: dict[str, Any] | None = None
) -> None:
    """Write the page, the charts as PNG and the JSON of an evaluation into a folder.

    `maps` are the feature maps that the page shows: `photo` (its name), `seen` (the address of its
    pixels at the model's size) and `layers`, each with `name`, `shape` and the `url` of its image.
    """
    payload = to_payload(evaluation)
    context = evaluation_context(payload, evaluation.answers, evaluation.before)
    _write(payload, context, folder, maps)


def write_page(payload: dict[str, Any], name: str, out: Path, *, overwrite: bool) -> Path:
    """Write the report of what `evaluate --json` wrote; return its page.

    Args:
        payload: the JSON values.
        name: what to call them in errors.
        out: the folder.
        overwrite: whether to replace a report.

    Raises:
        UsageError: the JSON is damaged.
        OutputExistsError, OutputError: the folder is taken or cannot be written.
    """
    try:
        context = evaluation_context(payload)
    except DamagedError as error:
        reason = f"nothing usable at {error}"
        raise not_written("pocketlens evaluate", name, reason) from None
    with staged_folder(out, overwrite=overwrite, marker=JSON_NAME) as folder:
        _write(payload, context, folder)
    return out / PAGE_NAME


def refuse_report(folder: Path, *, overwrite: bool) -> None:
    """Raise OutputExistsError if the folder is taken by something else, or may not be replaced."""
    refuse_folder(folder, overwrite=overwrite, marker=JSON_NAME)


def evaluation_context(
    payload: dict[str, Any], answers: Answers | None = None, before: Reliability | None = None
) -> dict[str, Any]:
    """Return what `evaluation.html` shows of an evaluation, but for its title.

    Args:
        payload: as `evaluation.models.to_payload` returns it.
        answers: those that were evaluated, for the ROC curves.
        before: the reliability without the temperature inside the model.

    Raises:
        DamagedError: the payload is none of these.
    """
    result, written = _read(payload)
    photos = [entry.photo for entry in written.mistakes]
    every = tuple(
        Mistake(row, entry.truth, entry.answer, entry.score)
        for row, entry in enumerate(written.mistakes)
    )
    pairs = confusions(every)
    advice = [
        (result.classes[i].label, words)
        for i in result.worst_first
        if result.classes[i].support and (words := diagnose(result, i))
    ]
    rows = [result.classes[i] for i in result.worst_first]
    charts = {
        **_matrices(result),
        "roc": roc(answers, result) if answers else None,
        "thresholds": thresholds(answers) if answers else None,
        "calibration": calibration(result, before),
        "unknown": unknown(written.refusals) if written.refusals else None,
    }
    return {
        "result": result,
        "figures": [
            (name, value.replace("%", "\N{NO-BREAK SPACE}%"), "") for name, value in result.headline
        ],
        "advice": advice[:_ADVICE_SHOWN],
        "more_advice": advice[_ADVICE_SHOWN:],
        "classes": rows[:_CLASSES_OPEN],
        "more_classes": rows[_CLASSES_OPEN:],
        "charts": charts,
        "side_by_side": len(result.classes) <= _SIDE_BY_SIDE,
        "named_curves": min(len(SERIES), len(result.classes)),
        "pairs": list(_pairs(pairs, photos)),
        "pair_count": len(pairs),
        "mistakes": [*map(_shown, written.mistakes[:_MISTAKES_SHOWN])],
        "mistake_count": len(every),
        "written": written,
        "doubt": temperature_doubt(written.temperature),
        "refusals": _refusals(written.refusals) if written.refusals else None,
    }


def _refusals(found: Refusals) -> dict[str, Any]:
    """Return what the page shows of the label for unknown photos."""
    kept, accepted = found.kept / found.known, found.accepted / max(found.strangers, 1)
    tiles = [("known photos kept", percent(kept), _between(found.kept_interval, percent))]
    if found.strangers:
        interval = _between(found.accepted_interval, percent)
        kind = "synthetic strangers" if found.synthetic else "strangers"
        tiles.append((f"{kind} accepted", percent(accepted), interval))
    if found.auroc is not None and found.auroc_interval is not None:
        interval = _between(found.auroc_interval, partial(fixed, digits=3))
        tiles.append(("ROC AUC", fixed(found.auroc, 3), interval))
    if found.fpr95 is not None and found.fpr95_interval is not None:
        interval = _between(found.fpr95_interval, percent)
        tiles.append(("FPR at 95\N{NO-BREAK SPACE}% TPR", percent(found.fpr95), interval))
    return {
        "found": found,
        "tiles": tiles,
        "refused": [*map(_shown, found.refused[:_UNKNOWN_SHOWN])],
        "passed": [*map(_shown, found.passed[:_UNKNOWN_SHOWN])],
    }


def _between(interval: Interval, form: Callable[[float], str]) -> str:
    low, high = map(form, interval)
    return f"{low} to {high}"


def write_charts(context: dict[str, Any], folder: Path) -> None:
    """Write the charts of a page's context as PNG into a folder."""
    for name, chart in context["charts"].items():
        if chart:
            chart.write(folder / f"{name}.png")


def _write(
    payload: dict[str, Any],
    context: dict[str, Any],
    folder: Path,
    maps: dict[str, Any] | None = None,
) -> None:
    write_json(folder / JSON_NAME, payload)
    write_charts(context, folder)
    skipped = payload["skipped_photos"]
    page = render(
        "evaluation.html",
        title=f"{Path(str(payload['model'])).name}: evaluation",
        about=f"{skipped} that cannot be read are left out." if skipped else "",
        maps=maps,
        **context,
    )
    write_text(folder / PAGE_NAME, page)


def _read(payload: dict[str, Any]) -> tuple[Evaluation, _Written]:
    result = from_json(Evaluation, payload)
    # Version 0.1.0 wrote no warnings, and that of a training has none.
    written = from_json(_Written, {"warnings": [], "refusals": None, **payload})
    count = len(result.classes)
    sound = {
        "task": result.task in TASKS,
        "count": result.count > 0,
        "classes": count > 0,
        "confusion": result.task == MULTILABEL
        or (len(result.confusion) == count and {len(row) for row in result.confusion} == {count}),
        "threshold": (result.threshold is None) == (result.task == MULTICLASS),
        "reliability": len(result.reliability.bins) > 0,
        "refusals": written.refusals is None or written.refusals.is_sound,
    }
    for place, is_sound in sound.items():
        if not is_sound:
            raise DamagedError(place)
    return result, written


def _pairs(pairs: Sequence[Confusion], photos: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the most frequent confusions with their photos."""
    # What happened once is not a pattern, and it is among the single mistakes anyway.
    often = [pair for pair in pairs if len(pair.mistakes) > 1] or pairs
    for pair in often[:_PAIRS_SHOWN]:
        shown = pair.mistakes[:_PHOTOS_OF_A_PAIR]
        named = with_photos(shown, photos)
        yield {"title": _title(pair), "mistakes": [*map(_shown, named)]}


def _title(pair: Confusion) -> str:
    count = len(pair.mistakes)
    if pair.truth == f"no {pair.answer}":
        return f"{pair.answer}: {counted(count, 'false positive')}"
    if pair.answer == f"no {pair.truth}":
        return f"{pair.truth}: {counted(count, 'false negative')}"
    return f"{pair.truth} predicted as {pair.answer}: {counted(count)}"


def _shown(entry: WrongAnswer) -> dict[str, Any]:
    path = Path(entry.photo)
    synthetic = draw_synthetic(entry.photo, THUMBNAIL_SIDE)
    return {
        "url": thumbnail_url(path) if synthetic is None else pixels_url(synthetic),
        "name": path.name,
        "truth": entry.truth,
        "answer": entry.answer,
        "score": percent(entry.score, 0),
    }


def _matrices(result: Evaluation) -> dict[str, Chart | None]:
    # Without figures in the cells the two would be the same image.
    both = bool(result.confusion) and len(result.classes) <= _MAX_FIGURES
    return {
        "confusion_percent": confusion(result, shares=True) if result.confusion else None,
        "confusion": confusion(result, shares=False) if both else None,
    }


def confusion(result: Evaluation, *, shares: bool) -> Chart:
    """Draw the confusion matrix, in percent of the true class or in photos, shaded by the former.

    Of more than 40 classes only the shades are drawn.
    """
    counts = np.array(result.confusion)
    of_class = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [_short(entry.label) for entry in result.classes]
    count = len(names)
    is_roomy, has_figures = count <= _ROOMY, count <= _MAX_FIGURES
    cell_px = 53 if is_roomy else 35 if has_figures else max(9, 770 / count)
    cells = [(int(row), int(column)) for row, column in np.argwhere(counts)]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.add_collection(
            PatchCollection(
                [Rectangle((column - 0.5, row - 0.5), 1, 1) for row, column in cells],
                facecolors=[to_rgba(ACCENT, max(0.08, of_class[cell])) for cell in cells],
                edgecolors="none",
            )
        )
        axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
        axes.set(xlabel="predicted", ylabel="true", xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
        if count <= _MAX_NAMES:
            size = 12 if is_roomy else 9.5 if has_figures else max(7, 0.8 * cell_px)
            axes.tick_params(length=0, labelsize=size, labelcolor=INK)
            axes.set_xticks(range(count), names, rotation=60, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(count), names)
        for row, column in cells if has_figures else ():
            share = of_class[row, column]
            axes.text(
                column,
                row,
                f"{100 * share:.0f}" if shares else str(counts[row, column]),
                ha="center",
                va="center",
                fontsize=13 if is_roomy else 9.5,
                color=PAPER if share > _DARK else INK,
            )

    side = max(210.0, cell_px * count) + 48 + 6.3 * max(map(len, names))
    what = "percent of the true class" if shares else "photos"
    alt = f"Confusion matrix in {what}: true classes as rows, predicted ones as columns"
    return Chart(draw, alt, (side, side))


def roc(answers: Answers, result: Evaluation) -> Chart | None:
    """Draw the ROC curve of every class, the worst by name; None where no class has any."""
    indices = [i for i, entry in enumerate(result.classes) if entry.auc is not None]
    if not indices:
        return None
    if answers.task == BINARY:
        # The curve of the negative class is the same one, seen from the other corner.
        indices = indices[1:]
    indices.sort(key=lambda i: result.classes[i].auc or 0.0)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], ":", color=FAINT, linewidth=1)
        for place, index in reversed(list(enumerate(indices))):
            x, y, _ = roc_curve(answers.truth[:, index], answers.scores[:, index])
            points, entry = _points(len(x)), result.classes[index]
            if place < len(SERIES):
                label = f"{_short(entry.label)}  {entry.auc:.3f}"
                axes.plot(x[points], y[points], color=SERIES[place], linewidth=2, label=label)
            else:
                axes.plot(x[points], y[points], color=LINE, linewidth=1)
        handles, texts = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], texts[::-1], loc="lower right")
        label_axes(axes, "false positive rate", "true positive rate")
        _set_percent(axes)

    return Chart(draw, "ROC curves, the worst classes by name with their AUC", _SIZE)


def thresholds(answers: Answers) -> Chart | None:
    """Draw precision and recall over the threshold of a binary task, None for other tasks.

    Without photos of both classes there is nothing to draw either.
    """
    is_positive = answers.truth[:, 1]
    if answers.task != BINARY or not 0 < is_positive.sum() < len(is_positive):
        return None
    precision, recall, at = precision_recall_curve(is_positive, answers.scores[:, 1])
    points = _points(len(at))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(at[points], precision[points], color=SERIES[0], label="precision", linewidth=2)
        axes.plot(at[points], recall[points], color=SERIES[1], label="recall", linewidth=2)
        if answers.threshold is not None:
            axes.axvline(answers.threshold, color=INK, linewidth=1, linestyle=":")
        legend_above(figure, 2)
        label_axes(axes, "threshold")
        _set_percent(axes)

    return Chart(draw, "Precision and recall over the threshold", _SIZE)


def unknown(refusals: Refusals) -> Chart | None:
    """Draw which share of known photos and of strangers each threshold would take as known.

    Without strangers there is nothing to draw.
    """
    if not refusals.strangers:
        return None
    edges = np.linspace(0, 1, len(refusals.known_bins) + 1)
    kinds = (("known photos", refusals.known_bins), ("strangers", refusals.stranger_bins))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for (name, bins), colour in zip(kinds, SERIES, strict=False):
            shares = np.append(0, np.cumsum(bins)) / sum(bins)
            axes.plot(edges, shares, color=colour, linewidth=2, label=name)
        axes.axvline(0.5, color=INK, linewidth=1, linestyle=":")
        legend_above(figure, 2)
        label_axes(axes, f"threshold for {_short(refusals.label)}", "taken as known")
        _set_percent(axes)

    return Chart(draw, "Shares of known photos and of strangers that thresholds accept", _SIZE)


def calibration(result: Evaluation, before: Reliability | None = None) -> Chart:
    """Draw the reliability diagram over the numbers of scores, with the state before, if any."""
    bins = result.reliability.bins
    middles = [(entry.low + entry.high) / 2 for entry in bins]
    width = 0.92 * (bins[0].high - bins[0].low)

    def draw(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        upper.plot([0, 1], [0, 1], ":", color=INK, linewidth=1, label="perfect")
        label = f"measured, ECE {percent(result.ece)}"
        shares = [entry.share for entry in bins]
        upper.bar(middles, shares, width, color=ACCENT, alpha=0.45, label=label)
        if before is not None:
            filled = [entry for entry in before.bins if entry.count]
            scores, old = [entry.score for entry in filled], [entry.share for entry in filled]
            label = f"before the temperature, ECE {percent(before.ece)}"
            upper.plot(scores, old, "o", markersize=5, color=SERIES[1], label=label)
        legend_above(figure)
        of = "answers that are correct" if result.task == MULTICLASS else "labels that are true"
        label_axes(upper, "", of)
        _set_percent(upper)
        lower.bar(middles, [entry.count for entry in bins], width, color=INK, alpha=0.35)
        lower.xaxis.set_major_formatter(PercentFormatter(1, 0))
        label_axes(lower, "score", "count")

    # As large as the other charts, with the legend on top.
    size = (_SIZE[0], _SIZE[1] + 55)
    return Chart(draw, "Reliability diagram: how often answers were correct, by score", size)


def _points(count: int) -> Any:
    """Return the indices of so many points of a curve as can be seen."""
    return np.unique(np.linspace(0, count - 1, min(count, _CURVE_POINTS)).astype(int))


def _set_percent(axes: Axes) -> None:
    axes.set(xlim=(-0.01, 1), ylim=(0, 1.01))
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.grid()


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
