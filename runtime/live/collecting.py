"""Collecting training photos from a camera: whoever holds a label has its frames kept.

Frames come in the thread that watches the camera, several browsers may hold a label, and a thread
of its own keeps the photos, one after the other, so that neither waits for a slow disk.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import cv2

from pocketlens.choices import COLLECTED, UNKNOWN
from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import ConflictError, LabelsError, PocketlensError, UsageError
from pocketlens.names import shown, to_label
from pocketlens.project import Project, class_folder, refuse_odd_label
from pocketlens.runtime import inbox, labelling
from pocketlens.runtime.inbox import FrameInfo, InboxEntry, NearCopies
from pocketlens.runtime.labelling import Placement
from pocketlens.runtime.photos import find_pictures
from pocketlens.runtime.pictures import Pixels, decode
from pocketlens.runtime.variety import Advice, Traits, advise, traits_of

LOGGER = logging.getLogger("pocketlens")

DEFAULT_RATE = 5.0
"""Photos per second while a label is held."""

HOLD_S = 1.5
"""A label is held until so long after it was last said to be, in seconds: a page may go away."""

SHOWN_PHOTOS = 12
"""So many of the last photos of a label have a thumbnail."""

# A line of the journal says who did it.
_WHO = "collect"
_THUMBNAIL_SIDE, _THUMBNAIL_QUALITY = 160, 80
# So many frames wait for the disk; what comes then is not kept, and this is said.
_ROOM = 8
# What is looked at for advice: enough to tell, few enough for a small device.
_LOOKED_AT = 120
# Frames come a little early or late.
_EARLY_S = 0.001


def near_copies(count: int) -> str:
    """Return a sentence on photos that were left out."""
    return "1 near copy was left out." if count == 1 else f"{count} near copies were left out."


class Store(Protocol):
    """Where photos go."""

    photos: Path

    def add(self, jpeg: bytes, info: FrameInfo, label: str) -> Any:
        """Keep a photo; returns by what `take_back` knows it, None if it was there already."""

    def take_back(self, kept: Any) -> None:
        """Take back what `add` returned."""


class ProjectStore:
    """A project: photos go into its `photos/`, each with a line in its journal."""

    def __init__(self, project: Project, clock: Clock = CLOCK) -> None:
        self.photos = project.photos
        self._journal = project.journal
        self._clock = clock
        labelling.recover(self.photos, self._journal)

    def add(self, jpeg: bytes, info: FrameInfo, label: str) -> Placement | None:
        """Keep a photo."""
        placed = labelling.add_labelled(
            self.photos, jpeg, info, label, journal=self._journal, who=_WHO, clock=self._clock
        )
        return None if placed.already else placed

    def take_back(self, kept: Placement) -> None:
        """Move a photo to the project's deleted ones."""
        labelling.undo(
            self.photos, journal=self._journal, who=_WHO, entry=kept.entry, clock=self._clock
        )


class FolderStore:
    """A folder with a folder per label."""

    def __init__(self, photos: Path) -> None:
        self.photos = photos

    def add(self, jpeg: bytes, info: FrameInfo, label: str) -> InboxEntry | None:
        """Keep a photo."""
        return inbox.add(class_folder(self.photos, label), jpeg, info)

    def take_back(self, kept: InboxEntry) -> None:
        """Remove a photo."""
        if not kept.path.exists():
            raise ConflictError(
                f"{shown(kept.path.name)} is no longer there; somebody has moved it."
            )
        inbox.remove(kept)


@dataclass(frozen=True)
class Photo:
    """A photo that a label shows: `kept` is what the store takes it back by, None for older ones.

    `recording` numbers the times that a label was held, `thumbnail` is a small JPEG.
    """

    number: int
    label: str
    who: str
    recording: int
    kept: Any
    thumbnail: bytes
    traits: Traits
    fingerprint: int


@dataclass
class _Label:
    """A label: `count` photos on the disk, `kept` of them now, `copies` that were left out."""

    name: str
    count: int = 0
    kept: int = 0
    copies: int = 0
    near: NearCopies = field(default_factory=NearCopies)
    photos: deque[Photo] = field(default_factory=lambda: deque(maxlen=_LOOKED_AT))
    before: list[Path] = field(default_factory=list)
    advice: Advice = field(default_factory=Advice)


@dataclass
class _Hold:
    """Somebody who holds a label, until when, and whether no frame came yet since it began."""

    label: str
    recording: int
    until_s: float
    waits: bool = True
    released: bool = False


class Collector:
    """Keeps frames under the label that is held, and knows what was kept.

    Args:
        store: where photos go.
        labels: those to begin with; those of folders that are there come after them.
        source: the source's name, without passwords.
        rate: most photos per second.
        keep_copies: keep near copies, too.
        clock: what holding goes by.

    Raises:
        LabelsError: a label cannot be the name of a folder.
    """

    def __init__(
        self,
        store: Store,
        labels: Iterable[str],
        *,
        source: str,
        rate: float = DEFAULT_RATE,
        keep_copies: bool = False,
        clock: Clock = CLOCK,
    ) -> None:
        self.store = store
        self.clock = clock
        self.rate = rate
        self._keep_copies = keep_copies
        self._source = source
        self._lock = threading.RLock()
        self._labels: dict[str, _Label] = {}
        self._holds: dict[str, _Hold] = {}
        self._recordings = self._numbers = 0
        self._due_s = clock.now_s()
        # All that may be taken back, by number; without thumbnails, since it may be a long day.
        self._since: dict[int, Photo] = {}
        self._problem = ""
        self._late = 0
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue(_ROOM)
        self._closed = threading.Event()
        for name in (*labels, *_folder_labels(store.photos)):
            self.add_label(name)
        self._keeping = threading.Thread(target=self._run, name="keep", daemon=True)
        self._keeping.start()
        self._looking = threading.Thread(target=self._look_back, name="look back", daemon=True)
        self._looking.start()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in their order."""
        with self._lock:
            return tuple(self._labels)

    def add_label(self, name: str) -> str:
        """Add a label, in any form of it, and return it; one that is there stays as it is.

        Raises:
            LabelsError: it cannot be the name of a folder.
        """
        label = to_label(name)
        refuse_odd_label(label)
        with self._lock:
            same = next((one for one in self._labels if one.casefold() == label.casefold()), None)
            if same is not None and same != label:
                raise LabelsError(
                    "Expected labels that differ in more than capital letters. Received: "
                    f"{label!r} beside {same!r}. Choose another."
                )
            if same is None:
                folder = class_folder(self.store.photos, label)
                before = sorted(find_pictures(folder), key=_changed_s) if folder.is_dir() else []
                self._labels[label] = _Label(label, len(before), before=before)
                # By their .json, which is quick: a recording may begin at once.
                self._labels[label].near.recall(folder)
                self._advise(self._labels[label])
                if UNKNOWN in self._labels:
                    # What is none of the others stands behind them.
                    self._labels[UNKNOWN] = self._labels.pop(UNKNOWN)
        return label

    def take(self, frame_bgr: Pixels, at_s: float) -> None:
        """Take a frame, uint8 (height, width, 3) BGR, that came at a time of the wall clock."""
        with self._lock:
            now_s = self.clock.now_s()
            self._holds = {who: hold for who, hold in self._holds.items() if now_s < hold.until_s}
            if not self._holds or now_s < self._due_s - _EARLY_S:
                return
            # By when it was due: what a camera's rate rounds up once, it rounds down the next time.
            interval_s = 1 / self.rate
            late = now_s - self._due_s > interval_s
            self._due_s = (now_s if late else self._due_s) + interval_s
            who, hold = next(iter(self._holds.items()))
            for other in self._holds.values():
                other.waits = False
            self._holds = {who: hold for who, hold in self._holds.items() if not hold.released}
        try:
            frame_bgr = frame_bgr.copy()
            self._work.put_nowait(
                lambda: self._keep(frame_bgr, at_s, hold.label, who, hold.recording)
            )
        except queue.Full:
            with self._lock:
                self._late += 1

    def hold(self, who: str, label: str) -> None:
        """Say that somebody holds a label, which has to be said again within `HOLD_S`.

        Raises:
            UsageError: there is no such label.
            ConflictError: somebody else holds another one: a frame has one label.
        """
        with self._lock:
            now_s = self.clock.now_s()
            if label not in self._labels:
                raise UsageError(
                    f"Expected a label of this page. Received: {label}. Load the page again."
                )
            others = [
                hold.label
                for other, hold in self._holds.items()
                if other != who and now_s < hold.until_s and hold.label != label
            ]
            if others:
                raise ConflictError(
                    f"Another page records {others[0]} now. Wait until it has ended."
                )
            hold = self._holds.get(who)
            if hold is None or hold.label != label or hold.released or now_s >= hold.until_s:
                self._recordings += 1
                self._holds[who] = hold = _Hold(label, self._recordings, 0.0)
                # Somebody tries again.
                self._problem = ""
            hold.until_s = now_s + HOLD_S

    def release(self, who: str) -> None:
        """Say that somebody holds no label any more; a short press still gets its one frame."""
        with self._lock:
            hold = self._holds.get(who)
            if hold is not None and hold.waits:
                hold.released = True
            else:
                self._holds.pop(who, None)

    def undo(self, who: str, number: int | None = None) -> list[str]:
        """Take back photos, and return the label of each.

        Args:
            who: whose last recording is taken back.
            number: this one photo instead, whoever kept it.

        Raises:
            UsageError: there is nothing to take back.
            ConflictError: somebody has moved the photo meanwhile; those before it stay taken back.
            OutputError: it cannot be moved.
        """
        done: Future[list[str]] = Future()

        def work() -> None:
            try:
                done.set_result(self._take_back(who, number))
            except BaseException as error:  # It belongs to whoever waits.
                done.set_exception(error)

        # After all that was kept until now, so that the last recording is whole.
        self._work.put(work)
        return done.result()

    def thumbnail(self, number: int) -> bytes | None:
        """Return a photo's thumbnail as a JPEG, None where it is not among the last ones."""
        with self._lock:
            found = (p for label in self._labels.values() for p in label.photos)
            return next((photo.thumbnail for photo in found if photo.number == number), None)

    def settle(self) -> None:
        """Wait until all frames that came are kept or not."""
        done = threading.Event()
        self._work.put(done.set)
        done.wait()

    def to_dict(self, who: str = "") -> dict[str, Any]:
        """Return what holds now as plain JSON values, with what this one may take back."""
        with self._lock:
            now_s = self.clock.now_s()
            holds = [hold for hold in self._holds.values() if now_s < hold.until_s]
            last = self._last(who)
            return {
                "labels": [
                    {
                        "label": label.name,
                        "count": label.count,
                        "kept": label.kept,
                        "copies": label.copies,
                        "left_out": near_copies(label.copies) if label.copies else "",
                        "photos": [
                            {"number": photo.number, "undo": photo.kept is not None}
                            for photo in list(label.photos)[-SHOWN_PHOTOS:]
                        ],
                        "enough": label.advice.enough,
                        "advice": label.advice.text,
                        "warnings": list(label.advice.warnings),
                    }
                    for label in self._labels.values()
                ],
                "recording": holds[0].label if holds else None,
                "undo": {"label": last[0].label, "count": len(last)} if last else None,
                "late": self._late,
                "problem": self._problem,
            }

    def close(self) -> None:
        """Keep what has come, and end. A second call does nothing."""
        if not self._closed.is_set():
            self._closed.set()
            self._work.put(None)
        self._keeping.join()
        self._looking.join()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def _keep(self, frame_bgr: Pixels, at_s: float, name: str, who: str, recording: int) -> None:
        """Keep a frame, unless it is a near copy."""
        label = self._labels[name]
        value = inbox.fingerprint(frame_bgr)
        with self._lock:
            if not self._keep_copies and label.near.is_copy(value):
                label.copies += 1
                return
        height, width = frame_bgr.shape[:2]
        info = FrameInfo(
            at_s, self._source, (width, height), COLLECTED, fingerprint=inbox.to_hex(value)
        )
        try:
            kept = self.store.add(inbox.encode_jpeg(frame_bgr), info, name)
        except (PocketlensError, OSError) as error:
            self._stop_for(str(error))
            return
        traits, small = traits_of(frame_bgr, at_s), _thumbnail(frame_bgr)
        with self._lock:
            label.near.remember(value)
            self._problem = ""
            if kept is None:
                return
            self._numbers += 1
            label.count += 1
            label.kept += 1
            photo = Photo(self._numbers, name, who, recording, kept, small, traits, value)
            label.photos.append(photo)
            self._since[photo.number] = replace(photo, thumbnail=b"")
        self._advise(label)

    def _stop_for(self, problem: str) -> None:
        LOGGER.warning("%s", problem)
        with self._lock:
            self._problem = problem
            self._holds.clear()

    def _last(self, who: str) -> list[Photo]:
        """Return the photos of somebody's last recording, the last first."""
        mine = [photo for photo in self._since.values() if photo.who == who]
        newest = max((photo.recording for photo in mine), default=0)
        return sorted(
            (photo for photo in mine if photo.recording == newest), key=lambda photo: -photo.number
        )

    def _take_back(self, who: str, number: int | None) -> list[str]:
        with self._lock:
            if number is None:
                photos = self._last(who)
            else:
                photos = [self._since[number]] if number in self._since else []
        if not photos:
            raise UsageError(
                "Expected a photo to take back. Received: none that was kept since the start. "
                "Older ones are in their folder."
            )
        done = []
        for photo in photos:
            label = self._labels[photo.label]
            try:
                self.store.take_back(photo.kept)
            except ConflictError:
                # It is elsewhere now, and nothing of ours any more.
                self._forget(label, photo)
                raise
            self._forget(label, photo)
            done.append(photo.label)
        for name in dict.fromkeys(done):
            self._advise(self._labels[name])
        return done

    def _forget(self, label: _Label, photo: Photo) -> None:
        with self._lock:
            label.near.forget(photo.fingerprint)
            del self._since[photo.number]
            last = [one for one in label.photos if one.number != photo.number]
            label.photos.clear()
            label.photos.extend(last)
            label.count -= 1
            label.kept -= 1

    def _advise(self, label: _Label) -> None:
        with self._lock:
            traits = [photo.traits for photo in label.photos]
            label.advice = advise(traits, label.count)

    def _look_back(self) -> None:
        """Look at the photos that were there before, the last ones of each label."""
        for name in self.labels:
            label = self._labels[name]
            found: list[Photo] = []
            for path in label.before[-_LOOKED_AT:]:
                if self._closed.is_set():
                    return
                photo = self._read(path, name)
                if photo is not None:
                    found.append(photo)
            with self._lock:
                since = list(label.photos)
                label.photos.clear()
                label.photos.extend((*found, *since))
            self._advise(label)

    def _read(self, path: Path, label: str) -> Photo | None:
        try:
            frame_bgr = decode(path)[..., ::-1].copy()
        except (PocketlensError, OSError):
            # `check` says so; here it is one photo fewer.
            return None
        info = inbox.read_info(path)
        value = inbox.fingerprint(frame_bgr)
        if info is None:
            with self._lock:
                self._labels[label].near.remember(value)
        traits = traits_of(frame_bgr, info.at_s if info else None)
        with self._lock:
            self._numbers += 1
            number = self._numbers
        return Photo(number, label, "", 0, None, _thumbnail(frame_bgr), traits, value)


def _folder_labels(photos: Path) -> Sequence[str]:
    """Return the labels of the folders that are there."""
    if not photos.is_dir():
        return ()
    folders = (entry for entry in sorted(photos.iterdir()) if entry.is_dir())
    labels: list[str] = []
    for folder in folders:
        label = to_label(folder.name)
        with contextlib.suppress(LabelsError):
            refuse_odd_label(label)
            if label.casefold() not in (other.casefold() for other in labels):
                labels.append(label)
    return labels


def _changed_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _thumbnail(frame_bgr: Pixels) -> bytes:
    """Return a square of a frame's middle as a small JPEG."""
    height, width = frame_bgr.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = frame_bgr[top : top + side, left : left + side]
    small = cv2.resize(square, (_THUMBNAIL_SIDE,) * 2, interpolation=cv2.INTER_AREA)
    settings = (cv2.IMWRITE_JPEG_QUALITY, _THUMBNAIL_QUALITY)
    return cv2.imencode(".jpg", small, settings)[1].tobytes()
