"""Which photos earlier trainings had, and in which split.

A run keeps two records. `seen` are the photos that its weights have seen: its own, and those of
the runs that it started from, and that these started from. `earlier` are others that runs had
before it in the same project: its weights know nothing of them, but they keep their split, and so
do near copies of them, when they or these come back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pocketlens.errors import ModelFileError, PocketlensError
from pocketlens.project import RUNS, project_root
from pocketlens.report.html import counted
from pocketlens.runtime.photos import Photo
from pocketlens.runtime.runs import (
    MODEL_NAME,
    SPLIT_NAME,
    SPLITS,
    RunSplit,
    is_run,
    read_run,
    read_split,
)
from pocketlens.train.duplicates import FINGERPRINT_VERSION, Fingerprint
from pocketlens.train.photo_facts import read_facts
from pocketlens.train.settings import WEIGHTS_IMAGENET, WEIGHTS_NONE
from pocketlens.train.splits import Contents, DividedPhotos, most_bound

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

    def joined(self, other: SeenPhotos) -> SeenPhotos:
        """Return these and others; a photo that had two splits has the one that counts."""
        splits = dict(self.splits)
        for digest, split in other.splits.items():
            splits[digest] = most_bound((split, splits.get(digest, split)))
        unknown = dict.fromkeys(filter(None, (self.unknown, other.unknown)))
        return SeenPhotos(
            splits, {**other.fingerprints, **self.fingerprints}, "; and ".join(unknown)
        )

    def without(self, others: SeenPhotos) -> SeenPhotos:
        """Return those that are not among others."""
        splits = {
            digest: split for digest, split in self.splits.items() if digest not in others.splits
        }
        fingerprints = {
            digest: entry for digest, entry in self.fingerprints.items() if digest in splits
        }
        return SeenPhotos(splits, fingerprints, self.unknown)

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
        by_split: dict[str, dict[str, str]] = {split: {} for split in SPLITS}
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
    folder = _run_folder(weights)
    if not is_run(folder):
        return SeenPhotos(unknown=f"which photos {weights} was trained on is not known")
    split = read_split(folder)
    with _damage_told(folder):
        return _read_again(folder, split) if split.seen is None else _from_json(folder, split.seen)


def read_earlier(runs: Iterable[str | Path]) -> SeenPhotos:
    """Return all photos that runs, and those before them, had, with their splits.

    Args:
        runs: folders of runs, or other weights, of which nothing is known.

    Raises:
        UsageError: there is no such run.
        ModelFileError: a run's record of its photos is damaged.
    """
    earlier = SeenPhotos()
    for name in map(str, runs):
        earlier = earlier.joined(read_seen(name))
        folder = _run_folder(name)
        if name not in _PUBLISHED and is_run(folder):
            with _damage_told(folder):
                earlier = earlier.joined(_from_json(folder, read_split(folder).earlier))
    return earlier


def earlier_runs(photos: Path) -> tuple[Path, ...]:
    """Return the runs of the project that photos are in, by name; none without a project.

    One without test photos (`--no-test`) is none of them: it divided photos otherwise, and what it
    learned from others test on.

    Raises:
        ModelFileError: a run's record of its photos is damaged.
    """
    root = project_root(photos)
    if root is None or not (root / RUNS).is_dir():
        return ()
    runs = (
        path for path in sorted((root / RUNS).iterdir()) if path.name[0] != "." and is_run(path)
    )
    try:
        return tuple(path for path in runs if read_split(path).parts.get("test"))
    except ModelFileError as error:
        raise ModelFileError(
            f"{error} Or move that run out of {RUNS}/: photos keep the split that they had in the "
            "runs there."
        ) from error


def _run_folder(weights: str) -> Path:
    folder = Path(weights)
    return folder.parent if folder.name == MODEL_NAME else folder


@contextlib.contextmanager
def _damage_told(folder: Path) -> Iterator[None]:
    try:
        yield
    except PocketlensError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(
            f"Expected a record of the splits in {folder / SPLIT_NAME}. Received: {error!r}. "
            "Train again."
        ) from error


def _from_json(folder: Path, values: Mapping[str, Any] | None) -> SeenPhotos:
    if values is None:
        return SeenPhotos()
    parts = {split: values[split] for split in SPLITS}
    unknown, fingerprints = str(values["unknown"]), {}
    if values["fingerprint_version"] == FINGERPRINT_VERSION:
        fingerprints = {
            digest: Fingerprint.from_hex(entry).to_hex()
            for part in parts.values()
            for digest, entry in part.items()
            if entry
        }
    elif not unknown:
        unknown = (
            f"another version trained {folder}, so near duplicates of its photos are not found"
        )
    return SeenPhotos(
        {digest: split for split, part in parts.items() for digest in part}, fingerprints, unknown
    )


def _read_again(folder: Path, split: RunSplit) -> SeenPhotos:
    named = {split.root / name: part for part, names in split.parts.items() for name in names}
    facts = read_facts(split.root, [path for path in named if path.is_file()])
    seen: dict[str, str] = {}
    fingerprints: dict[str, str] = {}
    readable = {path: entry for path, entry in facts.items() if entry.error is None}
    for path, entry in readable.items():
        seen[entry.digest] = most_bound((named[path], seen.get(entry.digest, named[path])))
        fingerprints[entry.digest] = entry.fingerprint
    digests = {path: entry.digest for path, entry in readable.items()}
    return SeenPhotos(seen, fingerprints, _unknown(folder, split, digests, len(named)))


def _unknown(folder: Path, split: RunSplit, digests: Mapping[Path, str], total: int) -> str:
    """Return what an earlier version did not write down and nobody can find out."""
    if len(digests) < total:
        return (
            f"{total - len(digests)} of the {counted(total)} of {folder} cannot be read any more, "
            "and what they showed is not known"
        )
    weights = "other weights"
    with contextlib.suppress(PocketlensError):
        run = read_run(folder)
        weights = str(run.card.training.get("weights", WEIGHTS_NONE))
        photos = {name: run.photos(name).photos for name in split.parts}
        now = DividedPhotos(split.root, run.card.labels, photos, digests)
        if now.data_hash != run.card.data_hash:
            return f"some photos of {folder} may have changed since it was trained"
    if weights in _PUBLISHED:
        return ""
    return f"{folder} started from {weights}, and which photos that was trained on is not known"
