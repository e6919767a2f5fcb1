"""The pictures that the labelling page shows: where they are, what is known, in which order.

A picture has a key, which says its place below the project, so that a key that was seen with one
label never means the picture with another one: `inbox.NAME`, `photos.LABEL.NAME`, each part in
the form of `names.to_key`.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from starlette.exceptions import HTTPException

from pocketlens.choices import UNKNOWN
from pocketlens.errors import DataError, PocketlensError
from pocketlens.evaluation.ordering import margin, teaching_order
from pocketlens.names import shown, to_label
from pocketlens.project import Project
from pocketlens.runtime.inbox import (
    FrameInfo,
    info_path,
    picture_paths,
    read_info,
)
from pocketlens.runtime.labelling import DELETED, LABEL, MOVE, JournalEntry, read_journal
from pocketlens.runtime.photos import class_folders, find_pictures, in_natural_order, name_below
from pocketlens.runtime.similar import SURE_SCORE, near_pairs, similar_groups
from pocketlens.studio.facts import Facts, newest_model
from pocketlens.studio.names import from_key, to_key

INBOX, DOUBTFUL, TRASH = PLACES = ("inbox", "doubtful", "deleted")
"""What the page shows: frames without a label, photos whose label may be wrong, deleted ones."""

_PHOTOS = "photos"
_SEPARATOR = "."
_NOT_FOUND = "There is no such picture. It may have been moved or removed: load the page again."
# Orders that pages which are still open go on with.
_MOST_VIEWS = 16


@dataclass(frozen=True)
class Item:
    """A picture as the page shows it.

    Attributes:
        key: what it is called in addresses and requests.
        path: where it is.
        label: what it is labelled, "" for nothing.
        info: its .json, None without.
        scores: by label, the best first; empty where no model ran.
        proposal: the label that the model gives it, "" for none.
        margin: how far the best score is ahead of the second, None without scores.
        group: the same number for pictures that one label is likely to fit.
        group_size: how many there are of it.
        doubt: why its label may be wrong, in words.
        readable: False where it is known that it cannot be decoded.
    """

    key: str
    path: Path
    label: str
    info: FrameInfo | None
    scores: tuple[tuple[str, float], ...] = ()
    proposal: str = ""
    margin: float | None = None
    group: int = 0
    group_size: int = 1
    doubt: str = ""
    readable: bool = True

    @property
    def score(self) -> float | None:
        """The score of the proposal."""
        return dict(self.scores).get(self.proposal)


@dataclass(frozen=True)
class View:
    """What one page shows: items in an order that stays while somebody works through it.

    `version` is that of the facts by which they were sorted.
    """

    name: str
    place: str
    items: tuple[Item, ...]
    version: int

    def group(self, key: str) -> list[Item]:
        """Return the items of the group that a key is of; none for a key that is not there."""
        group = next((item.group for item in self.items if item.key == key), None)
        return [item for item in self.items if item.group == group]


class Pool:
    """The pictures of a project, as pages see them.

    Args:
        project: whose.
        facts: what is computed of them.
    """

    def __init__(self, project: Project, facts: Facts) -> None:
        self.project = project
        self.facts = facts
        self._infos: dict[Path, tuple[int, FrameInfo | None]] = {}
        self._views: OrderedDict[str, View] = OrderedDict()
        self._number = 0
        # Comparing all photos takes a moment, so it is done where there is something new.
        self._doubt_count = 0
        self._doubts_of = -1
        self._photo_counts: dict[Path, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def labels(self) -> dict[str, int]:
        """Return how many photos each label has: the project's, then others; `unknown` is last."""
        counts = dict.fromkeys(self.project.classes, 0)
        for folder in self._folders():
            label = to_label(folder.name)
            counts[label] = counts.get(label, 0) + self._count(folder)
        unknown = counts.pop(UNKNOWN, 0)
        return {**counts, UNKNOWN: unknown}

    def counts(self) -> dict[str, int]:
        """Return how many pictures each place has, as far as it is known by now."""
        settled = self.facts.settled
        if self._doubts_of != settled:
            self._doubts()
            self._doubts_of = settled
        return {
            INBOX: len(picture_paths(self.project.inbox)),
            DOUBTFUL: self._doubt_count,
            TRASH: len(picture_paths(self.project.root / DELETED)),
        }

    def look(self) -> None:
        """Let everything be computed that the page shows, what has no label first."""
        self.facts.want(
            lambda: [*picture_paths(self.project.inbox), *(path for _, path in self._photos())]
        )

    def view(self, place: str) -> View:
        """Return what is in a place now, in the order in which it is worth looking at."""
        version = self.facts.version
        items = {INBOX: self._inbox, DOUBTFUL: self._doubts, TRASH: self._trash}[place]()
        with self._lock:
            self._number += 1
            view = View(f"{self._number}", place, tuple(items), version)
            self._views[view.name] = view
            while len(self._views) > _MOST_VIEWS:
                self._views.popitem(last=False)
        return view

    def kept_view(self, name: str) -> View | None:
        """Return a view that was made before, None where it is forgotten."""
        with self._lock:
            view = self._views.get(name)
            if view is not None:
                self._views.move_to_end(name)
            return view

    def item(self, key: str) -> Item:
        """Return the picture of a key.

        Raises:
            HTTPException: 404, there is none.
        """
        path = self.path(key)
        return self._item(path, self.label(key))

    def path(self, key: str, *, must_exist: bool = True) -> Path:
        """Return where the picture of a key is.

        Raises:
            HTTPException: 404, it is no key, or what is there is no file of the project.
        """
        place, *parts = key.split(_SEPARATOR)
        depth_fits = len(parts) >= 2 if place == _PHOTOS else len(parts) == 1
        if place not in (INBOX, _PHOTOS, TRASH) or not depth_fits:
            raise HTTPException(404, _NOT_FOUND)
        path = self._place(place)
        names = [from_key(part) for part in parts]
        for name in names[:-1]:
            path /= name
            if not _is(path, stat.S_ISDIR) and must_exist:
                raise HTTPException(404, _NOT_FOUND)
        path /= names[-1]
        if must_exist and not _is(path, stat.S_ISREG):
            raise HTTPException(404, _NOT_FOUND)
        return path

    def label(self, key: str) -> str:
        """Return the label that a picture had when it was given this key, "" for none."""
        place, *parts = key.split(_SEPARATOR)
        return to_label(from_key(parts[0])) if place == _PHOTOS and len(parts) > 1 else ""

    def key(self, path: Path) -> str:
        """Return the key of a picture.

        Raises:
            DataError: it is not one of the project's.
        """
        for place in (INBOX, _PHOTOS, TRASH):
            folder = self._place(place)
            if path.is_relative_to(folder):
                parts = path.relative_to(folder).parts
                return _SEPARATOR.join([place, *map(to_key, parts)])
        raise DataError(f"Expected a picture of the project. Received: {shown(path)}.")

    def found(self, path: Path) -> Item | None:
        """Return a picture by its path, None where it is not there or not one of the project's."""
        with contextlib.suppress(PocketlensError, HTTPException):
            return self.item(self.key(path))
        return None

    def whereabouts(self, name: str) -> Item | None:
        """Return what has become of a picture that was moved, by the journal; None if unknown."""
        for entry in reversed(read_journal(self.project.journal)):
            if entry.file.rpartition("/")[2] == shown(name):
                # A name with characters that cannot be shown is found when the page is loaded anew.
                return self.found(self.project.root / entry.file)
        return None

    def _place(self, place: str) -> Path:
        return {
            INBOX: self.project.inbox,
            _PHOTOS: self.project.photos,
            TRASH: self.project.root / DELETED,
        }[place]

    def _folders(self) -> list[Path]:
        with contextlib.suppress(PocketlensError):
            return class_folders(self.project.photos)
        return []

    def _photos(self) -> Iterator[tuple[str, Path]]:
        """Yield the training photos with their labels."""
        for folder in self._folders():
            label = to_label(folder.name)
            for path in sorted(find_pictures(folder), key=in_natural_order):
                yield label, path

    def _inbox(self) -> list[Item]:
        items = [self._item(path, "") for path in picture_paths(self.project.inbox)]
        if not items:
            return []
        groups = similar_groups(
            [self._bits(item) for item in items],
            [_time_s(item) for item in items],
            [item.proposal if (item.score or 0) >= SURE_SCORE else "" for item in items],
        )
        sizes = np.bincount(groups, minlength=len(items))
        labels = sorted({label for item in items for label, _ in item.scores})
        column = {label: number for number, label in enumerate(labels)}
        scores = np.full((len(items), len(labels)), np.nan)
        for row, item in enumerate(items):
            if item.scores:
                scores[row] = 0
                for label, score in item.scores:
                    scores[row, column[label]] = score
        return [
            replace(items[row], group=int(groups[row]), group_size=int(sizes[groups[row]]))
            for row in teaching_order(scores, groups)
        ]

    def _doubts(self) -> list[Item]:
        """Return the photos whose label may be wrong: copies under two labels, then mistakes."""
        photos = list(self._photos())
        facts = [self.facts.of(path) for _, path in photos]
        confirmed, decided = self._confirmed()
        doubts: dict[int, tuple[float, int, str]] = {}
        known = [row for row, fact in enumerate(facts) if fact and fact.fingerprint is not None]
        bits = [fact.fingerprint for fact in facts if fact and fact.fingerprint is not None]
        for one, other in near_pairs(bits):
            pair = known[one], known[other]
            labels = [photos[row][0] for row in pair]
            if labels[0] != labels[1]:
                for row, label in zip(pair, reversed(labels), strict=True):
                    doubts.setdefault(row, (2.0, pair[0], f"looks the same as one of {label}"))
        for row, fact in enumerate(facts):
            # A model that does not have a label says nothing of it.
            if fact is None or fact.answer == photos[row][0] or photos[row][0] not in fact.scores:
                continue
            score = fact.scores.get(fact.answer, 0.0)
            if score >= SURE_SCORE and name_below(photos[row][1], self.project.root) not in decided:
                doubts.setdefault(row, (score, row, f"the model says {fact.answer}"))
        items = [
            replace(
                self._item(photos[row][1], photos[row][0]),
                group=doubts[row][1],
                doubt=doubts[row][2],
            )
            for row in sorted(doubts, key=lambda row: (-doubts[row][0], doubts[row][1], row))
            if name_below(photos[row][1], self.project.root) not in confirmed
        ]
        self._doubt_count = len(items)
        return items

    def _count(self, folder: Path) -> int:
        """Count the photos of a class, unless nothing has come or gone since."""
        with contextlib.suppress(OSError):
            changed = folder.stat().st_mtime_ns
            kept = self._photo_counts.get(folder)
            if kept is not None and kept[0] == changed:
                return kept[1]
            count = sum(1 for _ in find_pictures(folder))
            with os.scandir(folder) as entries:
                # A folder says nothing of what happens in those below it.
                if not any(entry.is_dir() for entry in entries):
                    self._photo_counts[folder] = changed, count
            return count
        return 0

    def _trash(self) -> list[Item]:
        paths = picture_paths(self.project.root / DELETED)
        before = {entry.file: entry.from_label for entry in read_journal(self.project.journal)}
        items = []
        for path in reversed(paths):
            label = before.get(shown(f"{DELETED}/{path.name}"), "")
            items.append(
                replace(self._item(path, ""), doubt=f"was {label}" if label else "had no label")
            )
        return items

    def _confirmed(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return the photos whose label is right, and those labelled since the model is there.

        Somebody has said of the former that it is. Who labelled the latter was shown what the model
        says, and decided otherwise: only another model may doubt that.
        """
        last: dict[str, JournalEntry] = {
            entry.file: entry for entry in read_journal(self.project.journal)
        }
        model = newest_model(self.project.models)
        since_s = math.inf
        with contextlib.suppress(OSError):
            since_s = model.stat().st_mtime if model else math.inf
        return (
            frozenset(
                name for name, entry in last.items() if entry.from_label == entry.to_label != ""
            ),
            frozenset(
                name
                for name, entry in last.items()
                if entry.action in (LABEL, MOVE) and entry.at_s >= since_s
            ),
        )

    def _item(self, path: Path, label: str) -> Item:
        info = self._info(path)
        fact = self.facts.of(path)
        said = info.scores if info else {}
        scores = fact.scores if fact and fact.scores else {to_label(k): v for k, v in said.items()}
        best = tuple(sorted(scores.items(), key=lambda entry: (-entry[1], entry[0])))
        proposal = fact.answer if fact and fact.scores else best[0][0] if best else ""
        ahead = float(margin(np.array([list(scores.values())]))[0]) if len(scores) > 1 else None
        return Item(
            self.key(path),
            path,
            label,
            info,
            best,
            proposal,
            ahead,
            readable=fact is None or fact.fingerprint is not None,
        )

    def _info(self, path: Path) -> FrameInfo | None:
        """Read a picture's .json, unless it was read before and nobody has written it since."""
        try:
            changed = os.stat(info_path(path)).st_mtime_ns
        except OSError:
            return None
        kept = self._infos.get(path)
        if kept is None or kept[0] != changed:
            kept = self._infos[path] = changed, read_info(path)
        return kept[1]

    def _bits(self, item: Item) -> int | None:
        fact = self.facts.of(item.path)
        if fact is not None:
            return fact.fingerprint
        with contextlib.suppress(ValueError):
            return int(item.info.fingerprint, 16) if item.info else None
        return None


def _time_s(item: Item) -> float:
    if item.info is not None:
        return item.info.at_s
    with contextlib.suppress(OSError):
        return item.path.stat().st_mtime
    return 0.0


def _is(path: Path, kind: Callable[[int], bool]) -> bool:
    try:
        return kind(path.lstat().st_mode)
    except OSError:
        return False
