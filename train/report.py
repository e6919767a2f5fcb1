"""The report of a run: what was reached on the test part, as a page, pictures and JSON."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pocketlens.card import ModelCard
from pocketlens.files import write_bytes, write_json, write_text
from pocketlens.intervals import wilson
from pocketlens.page import page
from pocketlens.runtime.photos import Photo
from pocketlens.train.augmentation_sheet import SHEET_NAME
from pocketlens.train.callbacks import Epoch
from pocketlens.train.data_page import PAGE_NAME
from pocketlens.train.evaluation import Evaluation

_PHASE_COLOURS = {
    "head": "#7a7a7a",
    "fine-tune": "#2a6fbb",
    "scratch": "#2a6fbb",
    "grid": "#c2571a",
}
# Above this many classes the cells of a confusion matrix are too small for figures.
_MAX_FIGURES = 20
_MAX_TICKS = 60
_ALTERNATIVES = ("Training curves", "Confusion matrix", "Augmented photos")


def write_report(
    folder: Path,
    card: ModelCard,
    test: Evaluation,
    epochs: Sequence[Epoch],
    photos: Mapping[str, Sequence[Photo]],
    augmentation: bytes | None = None,
) -> None:
    """Write `index.html`, `curves.png`, `confusion.png` and `report.json` into a folder.

    The page links to the one about the photos, which `write_data_report` writes beside it.
    `augmentation` is a sheet of augmented photos as PNG, for training that had any.
    """
    counts = {part: len(entries) for part, entries in photos.items()}
    write_json(
        folder / "report.json",
        {"test": asdict(test), "photos": counts, "epochs": [asdict(epoch) for epoch in epochs]},
    )
    pictures = {"curves.png": curves(epochs)}
    if test.confusion:
        pictures["confusion.png"] = confusion(test)
    if augmentation:
        pictures[SHEET_NAME] = augmentation
    for name, png in pictures.items():
        write_bytes(folder / name, png)
    write_text(folder / "index.html", _page(card, test, counts, pictures))


def curves(epochs: Sequence[Epoch]) -> bytes:
    """Draw loss and accuracy over all epochs, phase by phase, as PNG."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    steps = np.arange(1, len(epochs) + 1)
    for axis, what, unit in zip(
        axes, ("loss", "accuracy"), ("cross-entropy", "share of photos"), strict=True
    ):
        for prefix, style, label in (("", "--", "training"), ("val_", "-", "validation")):
            values = [getattr(epoch, prefix + what) for epoch in epochs]
            axis.plot(steps, values, style, color="#222222", linewidth=1.4, label=label)
        axis.set(xlabel="epoch", ylabel=f"{what} ({unit})", xlim=(0.5, len(epochs) + 0.5))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.25)
        for phase in dict.fromkeys(epoch.phase for epoch in epochs):
            inside = [
                step for step, epoch in zip(steps, epochs, strict=True) if epoch.phase == phase
            ]
            colour = _PHASE_COLOURS[phase]
            axis.axvspan(inside[0] - 0.5, inside[-1] + 0.5, color=colour, alpha=0.12, label=phase)
    axes[1].legend(loc="lower right", fontsize=9)
    return _png(figure)


def confusion(evaluation: Evaluation) -> bytes:
    """Draw the confusion matrix as PNG, each row as shares of its class."""
    counts = np.array(evaluation.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [entry.label for entry in evaluation.classes]
    side = min(3.2 + 0.45 * len(names), 16)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= _MAX_TICKS:
        short = [name if len(name) <= 24 else f"{name[:23]}…" for name in names]
        axis.set_xticks(range(len(names)), short, rotation=45, ha="right", parse_math=False)
        axis.set_yticks(range(len(names)), short, parse_math=False)
    axis.set(xlabel="predicted", ylabel="true")
    if len(names) <= _MAX_FIGURES:
        for (row, column), share in np.ndenumerate(shares):
            colour = "white" if share > 0.5 else "black"
            axis.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
    figure.colorbar(image, ax=axis, shrink=0.8, label="share of the true class")
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _page(
    card: ModelCard, test: Evaluation, counts: Mapping[str, int], pictures: Mapping[str, bytes]
) -> str:
    low, high = wilson(round(test.accuracy * test.count), test.count)
    rows = "".join(
        f"<tr><th>{html.escape(entry.label)}</th><td>{entry.precision:.3f}</td>"
        f"<td>{entry.recall:.3f}</td><td>{entry.f1:.3f}</td><td>{entry.support}</td></tr>"
        for entry in test.classes
    )
    alt = {
        "curves.png": "Training curves",
        "confusion.png": "Confusion matrix",
        SHEET_NAME: "Augmentation",
    }
    images = "".join(
        f"<h2>{alt[name]}</h2>"
        f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{alt[name]}">'
        for name, png in pictures.items()
    )
    return page(
        f"{card.name}: training report",
        f"""
<p class="lead"><strong>{test.accuracy:.1%}</strong> of {test.count} test photos were recognised
(95&nbsp;% interval {low:.1%} to {high:.1%}). No training and no choice has seen them.</p>
<p>Photos: {counts["train"]} to train, {counts["val"]} to validate, {counts["test"]} to test.
Input {card.input_size_wh[0]}×{card.input_size_wh[1]} pixels, resize mode {card.resize_mode}.
<a href="{PAGE_NAME}">What was found in the photos</a></p>
<h2>Classes</h2>
<div class="wide"><table><thead><tr><th>class</th><th>precision</th><th>recall</th><th>F1</th>
<th>photos</th></tr></thead><tbody>{rows}</tbody></table></div>
{images}
<h2>Settings</h2>
<div class="wide"><table><tbody>{_table(card.training)}{_table(card.versions)}</tbody></table></div>
""",
    )


def _table(values: Mapping[str, Any]) -> str:
    return "".join(
        f"<tr><th>{html.escape(str(key))}</th><td>{html.escape(str(value))}</td></tr>"
        for key, value in values.items()
    )
