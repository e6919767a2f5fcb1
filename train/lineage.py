"""Which photos earlier trainings had: what a run started from, and what that started from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pocketlens.errors import PocketlensError
from pocketlens.report.html import counted
from pocketlens.runtime.photos import Photo
from pocketlens.runtime.runs import MODEL_NAME, RunSplit, is_run, read_run, read_split
from pocketlens.train.duplicates import FINGERPRINT_VERSION
from pocketlens.train.photo_facts import read_facts
from pocketlens.train.settings import WEIGHTS_IMAGENET, WEIGHTS_NONE
from pocketlens.train.splits import Contents, most_bound

_PUBLISHED = (WEIGHTS_IMAGENET, WEIGHTS_NONE)


@dataclass(frozen=True)
class SeenPhotos:
    """Photos that earlier trainings had, by the SHA-256 of their content.

    `splits` has the split of each, of several the one that counts (train before val before test);
    `fingerprints` their fingerprints as text, where they are known. `unknown` says what is not
    known, "" where everything is.
    """

    splits: Mapping[str, str] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    unknown: str = ""

    def and_those_of(self, splits: Mapping[str, Sequence[Photo]], contents: Contents) -> SeenPhotos:
        """Return these and the photos of one more run."""
        seen, fingerprints = dict(self.splits), dict(self.fingerprints)
        for split, photos in splits.items():
            for photo in photos:
                digest = contents.digests[photo.path]
                seen[digest] = most_bound((split, seen.get(digest, split)))
                fingerprints[digest] = contents.fingerprints[photo.path]
        return SeenPhotos(seen, fingerprints, self.unknown)

    def to_json(self) -> dict[str, Any]:
        """Return what `read_seen` reads: by split, the fingerprint of each photo by its SHA-256."""
        by_split: dict[str, dict[str, str]] = {"train": {}, "val": {}, "test": {}}
        for digest, split in self.splits.items():
            by_split[split][digest] = self.fingerprints.get(digest, "")
        return {
            "fingerprint_version": FINGERPRINT_VERSION,
            "unknown": self.unknown,
            **by_split,
        }


def read_seen(weights: str) -> SeenPhotos:
    """Return which photos the weights that a training starts from have seen.

    A run knows it, of itself and of those before it. Of a run that was trained before runs kept
    the contents of their photos, these are read again where they are.

    Args:
        weights: as in `Settings`.

    Raises:
        ModelFileError: it is a run whose record of its photos is damaged.
    """
    if weights in _PUBLISHED:
        return SeenPhotos()
    folder = Path(weights)
    folder = folder.parent if folder.name == MODEL_NAME else folder
    if not is_run(folder):
        return SeenPhotos(unknown=f"which photos {weights} was trained on is not known")
    split = read_split(folder)
    return _read_again(folder, split) if split.seen is None else _from_json(split.seen)


def _from_json(values: Mapping[str, Any]) -> SeenPhotos:
    parts = {split: values[split] for split in ("train", "val", "test")}
    fingerprints = {}
    if values["fingerprint_version"] == FINGERPRINT_VERSION:
        fingerprints = {
            digest: entry for part in parts.values() for digest, entry in part.items() if entry
        }
    return SeenPhotos(
        {digest: split for split, part in parts.items() for digest in part},
        fingerprints,
        str(values["unknown"]),
    )


def _read_again(folder: Path, split: RunSplit) -> SeenPhotos:
    named = {split.root / name: part for part, names in split.parts.items() for name in names}
    there = [path for path in named if path.is_file()]
    facts = read_facts(split.root, there)
    seen = {facts[path].digest: named[path] for path in there}
    fingerprints = {facts[path].digest: facts[path].fingerprint for path in there}
    return SeenPhotos(
        seen,
        {digest: entry for digest, entry in fingerprints.items() if entry},
        _unknown(folder, len(named) - len(there), len(named)),
    )


def _unknown(folder: Path, gone: int, total: int) -> str:
    """Return what an earlier version did not write down and nobody can find out."""
    if gone:
        return (
            f"{gone} of the {counted(total)} of {folder} {'is' if gone == 1 else 'are'} gone, and "
            "what they showed is not known"
        )
    try:
        weights = str(read_run(folder).card.training.get("weights", WEIGHTS_NONE))
    except PocketlensError:
        weights = "other weights"
    if weights in _PUBLISHED:
        return ""
    return f"{folder} started from {weights}, and which photos that was trained on is not known"
