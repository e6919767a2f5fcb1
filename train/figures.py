"""What a report draws: confusion, ROC, reliability, thresholds, and how training went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pocketlens.evaluation.answers import Answers
from pocketlens.evaluation.calibration import Reliability
from pocketlens.evaluation.metrics import Evaluation, precision_recall_curve, roc_curve
from pocketlens.train.callbacks import Epoch
from pocketlens.train.plots import (
    ACCENT,
    INK,
    LINE,
    PAPER,
    SERIES,
    Plot,
    new_figure,
    rendered,
    short,
    style,
)

# Above these numbers of classes a cell is too small for a figure, and a row for a name.
MAX_FIGURES = 40
MAX_NAMES = 120

# Up to so many, cells are large.
_ROOMY = 20
_SIZE_IN = (4.6, 3.9)
_FEW_EPOCHS = 8
_PHASE_ALPHAS = (0.06, 0.14, 0.22)
# Points of an ROC curve; more cannot be seen.
_CURVE_POINTS = 200
_DARK = 0.55


def confusion(evaluation: Evaluation, *, percent: bool) -> Plot:
    """Draw the confusion matrix, in photos or in percent of the true class, shaded by the latter.

    Of more than `MAX_FIGURES` classes only the shades are drawn, the same for both.
    """
    counts = np.array(evaluation.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [short(entry.label) for entry in evaluation.classes]
    count = len(names)
    cell_in = _cell_in(count)
    side_in = max(2.2, cell_in * count)
    margin_in = 0.5 + 0.065 * max(map(len, names))
    with style():
        figure = new_figure(side_in + margin_in, side_in + margin_in)
        axes = figure.subplots()
        cells = [(int(row), int(column)) for row, column in np.argwhere(counts)]
        axes.add_collection(
            PatchCollection(
                [Rectangle((column - 0.5, row - 0.5), 1, 1) for row, column in cells],
                facecolors=[to_rgba(ACCENT, max(0.08, shares[cell])) for cell in cells],
                edgecolors="none",
            )
        )
        axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
        axes.set(xlabel="called", ylabel="is")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(True)
        if count <= MAX_NAMES:
            size = 9 if count <= _ROOMY else 7 if count <= MAX_FIGURES else max(5.5, cell_in * 60)
            axes.set_xticks(range(count), names, rotation=60, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(count), names)
            for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
                text.set(fontsize=size, parse_math=False)
        else:
            axes.set(xticks=[], yticks=[])
        if count <= MAX_FIGURES:
            for row, column in cells:
                share = shares[row, column]
                axes.text(
                    column,
                    row,
                    f"{100 * share:.0f}" if percent else str(counts[row, column]),
                    ha="center",
                    va="center",
                    fontsize=10 if count <= _ROOMY else 7,
                    color=PAPER if share > _DARK else INK,
                )
        what = "percent of the true class" if percent else "photos"
        return rendered(
            figure,
            "confusion_percent" if percent else "confusion",
            f"Confusion matrix in {what}: true classes as rows, answers as columns",
        )


def roc(answers: Answers, evaluation: Evaluation) -> Plot | None:
    """Draw the ROC curve of every class, the worst by name; None where no class has any."""
    indices = [i for i, entry in enumerate(evaluation.classes) if entry.auc is not None]
    if not indices:
        return None
    if answers.task == "binary":
        # The curve of the negative class is the same one, seen from the other corner.
        indices = indices[1:]
    indices.sort(key=lambda i: evaluation.classes[i].auc or 0.0)
    named = indices[: len(SERIES)]
    with style():
        figure = new_figure(*_SIZE_IN)
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], ":", color=LINE, linewidth=1.2)
        for index in reversed(indices):
            x, y, _ = roc_curve(answers.truth[:, index], answers.scores[:, index])
            kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), _CURVE_POINTS)).astype(int))
            place = named.index(index) if index in named else None
            axes.plot(
                x[kept],
                y[kept],
                color=LINE if place is None else SERIES[place],
                linewidth=0.8 if place is None else 1.6,
                label=None if place is None else _with_auc(evaluation, index),
            )
        axes.set(xlabel="false alarms: share of the others", ylabel="found: share of the class")
        axes.set(xlim=(-0.01, 1), ylim=(0, 1.01))
        _percent(axes)
        handles, texts = axes.get_legend_handles_labels()
        legend = axes.legend(handles[::-1], texts[::-1], loc="lower right", fontsize=9)
        for text in legend.get_texts():
            text.set_parse_math(False)
        return rendered(figure, "roc", "ROC curves, the worst classes by name with their AUC")


def calibration(now: Reliability, before: Reliability | None, what: str) -> Plot:
    """Draw the reliability diagram over the numbers of scores, with the state before, if any.

    `what` says on the vertical axis what the share is of.
    """
    with style():
        figure = new_figure(_SIZE_IN[0], _SIZE_IN[1])
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        upper.plot([0, 1], [0, 1], ":", color=INK, linewidth=1, label="as promised")
        filled = [entry for entry in now.bins if entry.count]
        upper.bar(
            [(entry.low + entry.high) / 2 for entry in filled],
            [entry.share for entry in filled],
            width=[0.92 * (entry.high - entry.low) for entry in filled],
            color=ACCENT,
            alpha=0.45,
            label=f"measured, ECE {100 * now.ece:.1f} %",
        )
        if before is not None:
            old = [entry for entry in before.bins if entry.count]
            upper.plot(
                [entry.score for entry in old],
                [entry.share for entry in old],
                "o",
                markersize=4,
                color=SERIES[1],
                label=f"before the temperature, ECE {100 * before.ece:.1f} %",
            )
        upper.set(ylabel=what, ylim=(0, 1.02), xlim=(0, 1))
        upper.legend(loc="upper left", fontsize=9)
        upper.yaxis.set_major_formatter(PercentFormatter(1, 0))
        upper.grid(alpha=0.7)
        lower.bar(
            [(entry.low + entry.high) / 2 for entry in now.bins],
            [entry.count for entry in now.bins],
            width=[0.92 * (entry.high - entry.low) for entry in now.bins],
            color=INK,
            alpha=0.35,
        )
        lower.set(xlabel="score", ylabel="how many")
        lower.xaxis.set_major_formatter(PercentFormatter(1, 0))
        return rendered(
            figure, "calibration", "Reliability diagram: how often answers were right, by score"
        )


def thresholds(answers: Answers) -> Plot:
    """Draw precision and recall of a binary task's positive class over the threshold."""
    precision, recall, at = precision_recall_curve(answers.truth[:, 1], answers.scores[:, 1])
    kept = np.unique(np.linspace(0, len(at) - 1, min(len(at), _CURVE_POINTS)).astype(int))
    with style():
        figure = new_figure(*_SIZE_IN)
        axes = figure.subplots()
        axes.plot(at[kept], precision[kept], color=SERIES[0], label="precision")
        axes.plot(at[kept], recall[kept], color=SERIES[1], label="recall")
        if answers.threshold is not None:
            axes.axvline(answers.threshold, color=INK, linewidth=1, linestyle=":")
        axes.set(xlabel="threshold of the score", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc="lower left", fontsize=9)
        _percent(axes)
        return rendered(figure, "thresholds", "Precision and recall over the threshold")


def curves(epochs: Sequence[Epoch]) -> tuple[Plot, Plot]:
    """Draw loss and accuracy over all epochs, phase by phase."""
    return _curve(epochs, "loss", "loss"), _curve(epochs, "accuracy", "accuracy")


def _curve(epochs: Sequence[Epoch], what: str, label: str) -> Plot:
    steps = np.arange(1, len(epochs) + 1)
    with style():
        figure = new_figure(*_SIZE_IN)
        axes = figure.subplots()
        for prefix, line, part in (("", "--", "training"), ("val_", "-", "validation")):
            values = [getattr(epoch, prefix + what) for epoch in epochs]
            # A line between few epochs is short, and of one there is none.
            mark = "." if len(epochs) < _FEW_EPOCHS else ""
            axes.plot(steps, values, line, color=INK, linewidth=1.4, label=part, marker=mark)
        for place, phase in enumerate(dict.fromkeys(epoch.phase for epoch in epochs)):
            inside = [
                step for step, epoch in zip(steps, epochs, strict=True) if epoch.phase == phase
            ]
            axes.axvspan(
                inside[0] - 0.5,
                inside[-1] + 0.5,
                facecolor=ACCENT,
                edgecolor="none",
                alpha=_PHASE_ALPHAS[place % len(_PHASE_ALPHAS)],
                label=phase,
            )
        axes.set(xlabel="epoch", ylabel=label, xlim=(0.5, len(epochs) + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.7)
        axes.legend(fontsize=9)
        if what == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        return rendered(figure, what, f"{what} of training and validation over the epochs")


def _cell_in(count: int) -> float:
    if count <= _ROOMY:
        return 0.55
    return 0.36 if count <= MAX_FIGURES else max(0.09, 8.0 / count)


def _with_auc(evaluation: Evaluation, index: int) -> str:
    entry = evaluation.classes[index]
    return f"{short(entry.label)}  {entry.auc:.3f}"


def _percent(axes: Any) -> None:
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.grid(alpha=0.7)
