"""The report of a training run, and that of a measured model with its feature maps.

An evaluation's needs the extra `report` only, but for feature maps, which need Keras.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pocketlens.card import ModelCard
from pocketlens.errors import UsageError
from pocketlens.evaluation.models import ModelEvaluation, evaluate_model, photos_for, to_payload
from pocketlens.evaluation.scorers import open_scorer
from pocketlens.files import one_call, staged_folder, write_bytes, write_json, write_text
from pocketlens.report.charts import ACCENT, INK, Chart, label_axes, legend_above
from pocketlens.report.evaluation import (
    JSON_NAME,
    PAGE_NAME,
    evaluation_context,
    refuse_report,
    write_charts,
    write_evaluation,
)
from pocketlens.report.html import data_url, pixels_url, render
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.photos import LabelledPhotos, Photo
from pocketlens.runtime.pictures import Pixels, decode, resize

if TYPE_CHECKING:
    from pocketlens.train.batches import Change
    from pocketlens.train.callbacks import Epoch, History
    from pocketlens.train.feature_maps import FeatureMaps
    from pocketlens.train.lineage import SeenPhotos
    from pocketlens.train.pixel_cache import SplitPixels

SHEET_NAME = "augmentation.png"

Augmented = tuple[str, Sequence[Pixels]]
"""A label, a training photo of it, and versions of the photo as training makes them."""

# The sheet of augmented photos: how many versions of a photo, of how many classes, how large.
_VERSIONS = 5
_MAX_CLASSES = 12
_INCHES = 1.3
_LABEL_LETTERS = 16
# A line between few epochs is short, and of one there is none.
_FEW_EPOCHS = 8
_PHASE_ALPHAS = (0.06, 0.14, 0.22)


@dataclass(frozen=True)
class Measured:
    """The figures of each split but `train` for the card, and all that is known of them.

    `sets` are the card's, for label sets; empty where the task has none. `shift` is the card's.
    """

    metrics: dict[str, Any]
    val: ModelEvaluation
    test: ModelEvaluation | None
    sets: Mapping[str, float] = field(default_factory=dict)
    shift: Mapping[str, Any] = field(default_factory=dict)


def write_report(
    folder: Path,
    card: ModelCard,
    measured: Measured,
    history: History,
    photos: Mapping[str, Sequence[Photo]],
    seen: SeenPhotos,
    augmented: Sequence[Augmented] = (),
    notes: Sequence[str] = (),
    start: str = "",
) -> None:
    """Write a run's `index.html`, `report.json` and the charts on the page into a folder.

    `notes` are sentences about the splits, such as that test photos were taken from `train`.
    `start` says which weights training started from, where it had the choice.

    The page links to the one about the photos, which `write_data_report` writes beside it.
    """
    # Checking photos needs the extra `train`, the page of an evaluation does not.
    from pocketlens.train.data_report import PAGE_NAME as DATA_PAGE_NAME

    counts = {split: len(entries) for split, entries in photos.items()}
    epochs, outcomes = history.epochs, history.outcomes()
    shown = measured.test or measured.val
    payload = {
        "test": to_payload(measured.test) if measured.test else None,
        "val": to_payload(measured.val),
        "photos": counts,
        "notes": list(notes),
        "unknown": seen.unknown,
        "start": start,
        "epochs": [asdict(epoch) for epoch in epochs],
        "phases": [asdict(entry) for entry in outcomes],
    }
    write_json(folder / JSON_NAME, payload)
    context = evaluation_context(to_payload(shown), shown.answers, shown.before)
    context["charts"] |= {"loss": curve(epochs, "loss"), "accuracy": curve(epochs, "accuracy")}
    write_charts(context, folder)
    if augmented:
        write_bytes(folder / SHEET_NAME, augmentation_sheet(augmented))
    page = render(
        "training.html",
        title=f"{card.name}: training report",
        about=claim(measured, seen),
        notes=notes,
        counts=counts,
        val=measured.val.result if measured.test else None,
        phases=[*filter(None, [start]), *(entry.text for entry in outcomes)],
        card=card,
        data_page=DATA_PAGE_NAME,
        augmented=[(label, [*map(pixels_url, versions)]) for label, versions in augmented],
        settings={**card.training, **card.versions},
        maps=None,
        **context,
    )
    write_text(folder / PAGE_NAME, page)


def claim(measured: Measured, seen: SeenPhotos) -> str:
    """Return what the figures of a run are worth: what its photos were used for before."""
    if measured.test is None:
        return (
            "These are the validation photos, by which the epochs and the temperature were "
            "chosen, so the figures are optimistic. There are no test photos (--no-test)."
        )
    if seen.unknown:
        return (
            "They were not used in this training or for any choice of it, but "
            f"{seen.unknown}: if it was these, the figures are optimistic."
        )
    before = ", nor by the runs that its weights come from" if seen.splits else ""
    return f"They were not used in training or for any choice{before}."


@one_call()
def evaluate_with_report(
    model: Path,
    data: str | Path | LabelledPhotos,
    hints: ModelHints | None = None,
    *,
    report: Path,
    feature_photo: Path | None = None,
    strangers: Path | None = None,
    overwrite: bool = False,
) -> ModelEvaluation:
    """Do what `evaluate_model` does, and write a page, its charts and JSON.

    Args:
        model: as `evaluate_model` takes it, like the next two.
        data: labelled photos.
        hints: what a user says of a third-party model.
        report: the new folder for the page.
        feature_photo: a photo whose feature maps the page shows; Keras models only.
        strangers: as `evaluate_model` takes them.
        overwrite: replace an earlier report.

    Raises:
        UsageError, OutputExistsError: an argument cannot be.
        DataError: no photo can be read, or not the one for the feature maps.
    """
    refuse_report(report, overwrite=overwrite)
    photos = photos_for(model, data)
    scorer = open_scorer(model, hints)
    seen = None
    if feature_photo is not None:
        if scorer.network is None:
            raise UsageError(
                f"Expected a run or a .keras file for --feature-maps. Received: {model}, whose "
                "layers cannot be looked into. Give the run that it was made from."
            )
        # Before the photos, so that one that cannot be read is not found out at the end.
        card = scorer.card
        seen = resize(decode(feature_photo), card.input_size_wh, card.resize_mode)
    evaluation = evaluate_model(scorer, photos, strangers=strangers)
    maps: tuple[FeatureMaps, ...] = ()
    shown = None
    if feature_photo is not None and seen is not None:
        from pocketlens.train.feature_maps import feature_maps

        maps = feature_maps(scorer.network, seen)
        shown = _shown(feature_photo.name, seen, maps)
    with staged_folder(report, overwrite=overwrite, marker=JSON_NAME) as folder:
        write_evaluation(evaluation, folder, shown)
        for number, entry in enumerate(maps, 1):
            write_bytes(folder / f"feature_maps_{number}.png", entry.png)
    return evaluation


def _shown(photo: str, seen: Pixels, maps: Sequence[FeatureMaps]) -> dict[str, Any]:
    layers = [
        {"name": entry.layer, "shape": entry.shape, "url": data_url(entry.png, "png")}
        for entry in maps
    ]
    return {"photo": photo, "seen": pixels_url(seen), "layers": layers}


def curve(epochs: Sequence[Epoch], what: str) -> Chart:
    """Draw "loss" or "accuracy" of training and validation over all epochs, phase by phase."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        steps = range(1, len(epochs) + 1)
        marker = "." if len(epochs) < _FEW_EPOCHS else ""
        for prefix, line, split in (("", "--", "training"), ("val_", "-", "validation")):
            values = [getattr(epoch, prefix + what) for epoch in epochs]
            axes.plot(steps, values, line, color=INK, linewidth=1.8, label=split, marker=marker)
        phases = [epoch.phase for epoch in epochs]
        for place, phase in enumerate(dict.fromkeys(phases)):
            first, count = phases.index(phase) + 1, phases.count(phase)
            axes.axvspan(
                first - 0.5,
                first + count - 0.5,
                facecolor=ACCENT,
                edgecolor="none",
                alpha=_PHASE_ALPHAS[place % len(_PHASE_ALPHAS)],
                label=phase,
            )
        axes.set_xlim(0.5, len(epochs) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if what == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.grid()
        legend_above(figure, 3)
        label_axes(axes, "epoch", what)

    alt = f"{what} of training and validation over the epochs"
    return Chart(draw, alt[0].upper() + alt[1:], (410.0, 320.0))


def augmented_photos(
    split: SplitPixels, labels: Sequence[str], augment: Change, seed: int
) -> list[Augmented]:
    """Return a training photo of every class, up to twelve, and what training makes of it.

    So one sees whether one would still recognise what is on them.
    """
    rng = np.random.default_rng(seed)
    augmented = list[Augmented]()
    for index, label in enumerate(labels[:_MAX_CLASSES]):
        has_label = split.labels == index if split.labels.ndim == 1 else split.labels[:, index] > 0
        photo = split.pixels[int(np.argmax(has_label))]
        augmented.append((label, [photo, *augment(np.stack([photo] * _VERSIONS), rng)]))
    return augmented


def augmentation_sheet(augmented: Sequence[Augmented]) -> bytes:
    """Draw augmented photos, a row for each label, as PNG."""
    size = (_INCHES * (_VERSIONS + 1), _INCHES * len(augmented) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(augmented), _VERSIONS + 1, squeeze=False)
    for (label, versions), axes in zip(augmented, grid, strict=True):
        for axis, pixels in zip(axes, versions, strict=True):
            axis.imshow(pixels)
            axis.set(xticks=[], yticks=[])
        is_short = len(label) <= _LABEL_LETTERS
        short = label if is_short else f"{label[: _LABEL_LETTERS - 1]}…"
        axes[0].set_ylabel(short, parse_math=False)
    grid[0][0].set_title("photo", fontsize=10)
    grid[0][1].set_title("as training sees it", fontsize=10, loc="left")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
