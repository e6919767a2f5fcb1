"""Which photos a model was trained or chosen on: figures on them say nothing of new photos."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

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


class Seen(NamedTuple):
    """Photos that a model was trained or chosen on, by the first digits of their SHA-256.

    `whole` tells whether these are all of them, and not a sample.
    """

    digests: frozenset[str]
    whole: bool

    def estimate(self, digests: Sequence[str]) -> int:
        """Return how many of so many photos are among them: exactly, or about."""
        sample = digests if self.whole else [entry for entry in digests if entry <= self._last]
        seen = sum(digest in self.digests for digest in sample)
        return seen if self.whole or not seen else round(len(digests) * seen / len(sample))

    @property
    def _last(self) -> str:
        return max(self.digests, default="")


def seen_by(model: Path, card: ModelCard) -> Seen:
    """Return what is known of the photos that a model was trained or chosen on.

    Of a run and those before it that is all; of a `.tflite` file it is a sample, unless they are
    few.

    Args:
        model: a run, the model in it, or a file.
        card: its card.
    """
    known = _of_run(model)
    if known is not None:
        return Seen(frozenset(known), True)
    starts = range(0, len(card.seen), _DIGITS)
    kept = frozenset(card.seen[start : start + _DIGITS] for start in starts)
    return Seen(kept, len(kept) < _KEPT)


def first_digits(paths: Iterable[Path]) -> list[str]:
    """Return the first digits of the SHA-256 of files, "" for those that cannot be read."""
    return list(map_ahead(_digest, paths, count_cores(), _AHEAD))


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
        seen = seen_by(model, card)
        if not seen.digests:
            continue
        if not digests:
            digests = list(filter(None, first_digits(photo.path for photo in photos)))
        count = seen.estimate(digests)
        if not count:
            continue
        sentences.append(
            f"{'' if seen.whole else 'About '}{count} of the {len(digests)} photos "
            f"{'was' if count == 1 else 'were'} used to train or choose {shown(model.name)}, so "
            "the figures are optimistic. Measure on other photos, or give the run in place of the "
            "photos, for its test photos."
        )
        LOGGER.warning("%s", sentences[-1])
    return tuple(sentences)


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
