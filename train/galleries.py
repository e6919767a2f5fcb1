"""Photos on an evaluation's page: confused classes, confident mistakes, feature maps."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from pocketlens.evaluation.mistakes import Confusion, Mistake
from pocketlens.runtime.pictures import Pixels
from pocketlens.train.feature_maps import FeatureMaps
from pocketlens.train.thumbnails import embedded, embedded_file, thumbnail

# How many photos the galleries show: at 5 kB each, a page stays below half a megabyte.
PAIRS_SHOWN = 6
PHOTOS_OF_A_PAIR = 4
MISTAKES_SHOWN = 20


def confused_pairs(pairs: Sequence[Confusion], paths: Sequence[Path]) -> str:
    """Return the most frequent confusions with their photos; "" where there are none."""
    if not pairs:
        return ""
    # What happened once is no habit; the gallery of mistakes has it anyway.
    often = [pair for pair in pairs if len(pair.mistakes) > 1] or list(pairs)
    shown = "".join(
        f"<div><h3>{html.escape(_title(pair))}</h3>"
        f"{_figures(pair.mistakes[:PHOTOS_OF_A_PAIR], paths, with_labels=False)}</div>"
        for pair in often[:PAIRS_SHOWN]
    )
    more = len(pairs) - len(often[:PAIRS_SHOWN])
    below = f'<p class="note">All {len(pairs)} pairs are in report.json.</p>' if more > 0 else ""
    return f'<h2>Most confused</h2><div class="pairs">{shown}</div>{below}'


def confident_mistakes(every: Sequence[Mistake], paths: Sequence[Path]) -> str:
    """Return the surest of `every` mistake with their photos; "" where there are none."""
    if not every:
        return ""
    return f"""<h2>Most confident mistakes</h2>
<p>{counted(len(every), "wrong answer")} in all, the surest first. Wrong labels show up here.</p>
<div class="gallery">{_figures(every[:MISTAKES_SHOWN], paths, with_labels=True)}</div>"""


def feature_map_section(photo: str, pixels: Pixels, maps: Sequence[FeatureMaps]) -> str:
    """Return what the layers made of a photo; `photo` is its name, `pixels` what the model saw."""
    layers = "".join(
        f"<figure>{embedded_file(entry.png, 'png', f'Feature maps of {entry.layer}')}"
        f"<figcaption>{html.escape(entry.layer)}: {entry.shape[1]}×{entry.shape[0]}, "
        f"{entry.shape[2]} channels</figcaption></figure>"
        for entry in maps
    )
    return f"""<h2>Feature maps of {html.escape(photo)}</h2>
<p>Of some layers, the channels that vary most over the photo: bright where a layer found what it
looks for.</p>
<div class="plots maps"><figure>{embedded(pixels, "The photo as the model saw it")}
<figcaption>What the model saw</figcaption></figure>{layers}</div>"""


def counted(number: int, one: str = "photo", several: str = "") -> str:
    """Return a number with its noun, which has an "s" where nothing else is said."""
    return f"{number} {one if number == 1 else several or one + 's'}"


def _title(pair: Confusion) -> str:
    count = len(pair.mistakes)
    if pair.truth == f"no {pair.answer}":
        return f"{pair.answer}: {counted(count, 'false alarm')}"
    if pair.answer == f"no {pair.truth}":
        return f"{pair.truth}: {counted(count, 'miss', 'misses')}"
    return f"{pair.truth} taken for {pair.answer}: {counted(count)}"


def _figures(chosen: Sequence[Mistake], paths: Sequence[Path], *, with_labels: bool) -> str:
    captions = (
        (
            f"<strong>{html.escape(entry.answer)}</strong> {entry.score:.0%}<br>"
            f"is {html.escape(entry.truth)}<br>"
            if with_labels
            else f"{entry.score:.0%}"
        )
        + (f"<small>{html.escape(paths[entry.row].name)}</small>" if with_labels else "")
        for entry in chosen
    )
    photos = (
        thumbnail(paths[entry.row], caption)
        for entry, caption in zip(chosen, captions, strict=True)
    )
    return f'<div class="row">{"".join(photos)}</div>'
