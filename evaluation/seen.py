"""Which photos a model was trained or chosen on: figures on them say nothing of new photos."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from pocketlens.card import ModelCard
from pocketlens.errors import PocketlensError
from pocketlens.names import shown
from pocketlens.runtime.photos import Photo
from pocketlens.runtime.runs import MODEL_NAME, is_run, read_split
from pocketlens.workers import count_cores, map_ahead

LOGGER = logging.getLogger("pocketlens")

# A card has the smallest of the photos' digests. They are a random sample of them: of any other
# photos, those with a digest as small are in it as often as all are among them (bottom-k sketch,
# Cohen and Kaplan 2007). With 64 an overlap of 80 % comes out as 80 ± 5 %, for 0.5 kB.
_KEPT = 64
_DIGITS = 8
_AHEAD = 32


def sketch(digests: Iterable[str]) -> str:
    """Return what a card keeps of photos' SHA-256, in hexadecimal: the first digits of a few."""
    return "".join(sorted({digest[:_DIGITS] for digest in digests})[:_KEPT])


def warn_if_seen(
    models: Iterable[tuple[Path, ModelCard]], photos: Sequence[Photo]
) -> tuple[str, ...]:
    """Log how many of the photos models were trained or chosen on, and return the sentences.

    Of a run and those before it all photos are known; of a `.tflite` file a sample, so that a few
    among many stay unnoticed.

    Args:
        models: each a run, the model in it, or a file, with its card.
        photos: what they are to be measured on.
    """
    digests: list[str] = []
    sentences = []
    for model, card in models:
        known, exact = _known(model, card)
        if not known:
            continue
        if not digests:
            paths = [photo.path for photo in photos]
            digests = list(filter(None, map_ahead(_digest, paths, count_cores(), _AHEAD)))
        sample = digests if exact else [digest for digest in digests if digest <= max(known)]
        seen = sum(digest in known for digest in sample)
        if not seen:
            continue
        count = seen if exact else round(len(digests) * seen / len(sample))
        sentences.append(
            f"{'' if exact else 'About '}{count} of the {len(digests)} photos "
            f"{'was' if count == 1 else 'were'} used to train or choose {shown(model.name)}, so "
            "the figures are optimistic. Measure on other photos, or give the run in place of the "
            "photos, for its test photos."
        )
        LOGGER.warning("%s", sentences[-1])
    return tuple(sentences)


def _known(model: Path, card: ModelCard) -> tuple[set[str], bool]:
    """Return the first digits of what is known to be seen, and whether that is all."""
    known = _of_run(model)
    if known is not None:
        return known, True
    starts = range(0, len(card.seen), _DIGITS)
    known = {card.seen[start : start + _DIGITS] for start in starts}
    return known, len(known) < _KEPT


def _of_run(model: Path) -> set[str] | None:
    folder = model.parent if model.name == MODEL_NAME else model
    if not is_run(folder):
        return None
    try:
        seen = read_split(folder).seen
    except PocketlensError:
        # The sample in the card still tells.
        return None
    if seen is None:
        return None
    return {digest[:_DIGITS] for split in ("train", "val") for digest in seen.get(split, ())}


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.sha256(file.read()).hexdigest()[:_DIGITS]
    except OSError:
        # That it cannot be read is told with the others.
        return ""
