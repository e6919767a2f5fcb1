"""The report of a run or of an evaluation: one page with everything, its pictures, and JSON."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pocketlens.card import ModelCard
from pocketlens.evaluation.models import ModelEvaluation, to_payload
from pocketlens.files import refuse_folder, write_bytes, write_json, write_text
from pocketlens.report.html import page
from pocketlens.runtime.photos import Photo
from pocketlens.train import figures
from pocketlens.train.augmentation_sheet import SHEET_NAME
from pocketlens.train.callbacks import Epoch
from pocketlens.train.data_page import PAGE_NAME
from pocketlens.train.evaluation_page import STYLE, lead, sections
from pocketlens.train.feature_maps import FeatureMaps
from pocketlens.train.galleries import feature_map_section
from pocketlens.train.thumbnails import embedded_file

INDEX_NAME = "index.html"
JSON_NAME = "report.json"


def write_report(
    folder: Path,
    card: ModelCard,
    test: ModelEvaluation,
    epochs: Sequence[Epoch],
    photos: Mapping[str, Sequence[Photo]],
) -> None:
    """Write a run's `index.html`, `report.json` and the pictures on the page into a folder.

    The page links to the one about the photos, which `write_data_report` writes beside it, and
    shows the sheet of augmented photos if it is in the folder.
    """
    counts = {part: len(entries) for part, entries in photos.items()}
    write_json(
        folder / JSON_NAME,
        {
            "test": to_payload(test),
            "photos": counts,
            "epochs": [asdict(epoch) for epoch in epochs],
        },
    )
    evaluated = sections(test)
    curves = figures.curves(epochs)
    for plot in (*evaluated.plots, *curves):
        plot.write(folder)
    body = f"""{STYLE}
{lead(test.result, "No training and no choice has seen them.")}
<p>Photos: {counts["train"]} to train, {counts["val"]} to validate, {counts["test"]} to test.
Input {card.input_size_wh[0]}×{card.input_size_wh[1]} pixels, resize mode {card.resize_mode}.
<a href="{PAGE_NAME}">What was found in the photos</a></p>
{evaluated.html}
<h2>Training</h2><div class="plots">{"".join(plot.figure() for plot in curves)}</div>
{_augmentation(folder)}
<h2>Settings</h2>
<div class="wide"><table><tbody>{_table(card.training)}{_table(card.versions)}</tbody></table></div>
"""
    write_text(folder / INDEX_NAME, page(f"{card.name}: training report", body))


def write_evaluation_report(
    folder: Path,
    shown: ModelEvaluation,
    maps: tuple[str, Any, Sequence[FeatureMaps]] | None = None,
) -> None:
    """Write the page, pictures and JSON of one model's evaluation into a folder.

    `maps` are a photo's name, its pixels at the model's size, and its feature maps.
    """
    write_json(folder / JSON_NAME, to_payload(shown))
    evaluated = sections(shown)
    for plot in evaluated.plots:
        plot.write(folder)
    for number, entry in enumerate(maps[2] if maps else (), 1):
        write_bytes(folder / f"feature_maps_{number}.png", entry.png)
    left_out = f"{shown.skipped} that cannot be read are left out." if shown.skipped else ""
    body = f"""{STYLE}
{lead(shown.result, left_out)}
{evaluated.html}
{feature_map_section(*maps) if maps else ""}"""
    write_text(
        folder / INDEX_NAME,
        page(f"{shown.model.name if shown.model else 'model'}: evaluation", body),
    )


def refuse_report(folder: Path, *, overwrite: bool) -> None:
    """Raise OutputExistsError if the folder is taken by something else, or may not be replaced."""
    refuse_folder(folder, overwrite=overwrite, marker=JSON_NAME)


def _augmentation(folder: Path) -> str:
    sheet = folder / SHEET_NAME
    if not sheet.is_file():
        return ""
    picture = embedded_file(sheet.read_bytes(), "png", "Training photos as they were augmented")
    return (
        "<h2>Augmentation</h2><p>A training photo of each class, and what training made of it. "
        f"Validation and test photos stay as they are.</p>{picture}"
    )


def _table(values: Mapping[str, Any]) -> str:
    return "".join(
        f"<tr><th>{html.escape(key)}</th>"
        f"<td>{'–' if value is None else html.escape(str(value))}</td></tr>"
        for key, value in values.items()
    )
