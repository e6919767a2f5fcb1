"""Who labels what, safely: a picture gets a label by lying in the label's folder.

Every change of a label goes through here, from whatever process, under one lock, in this order:
what is to be done is noted in a file of its own; the .json is copied and the picture renamed, never
over another one; the line in the journal is written; the note goes. Each step is on the disk before
the next, and whoever takes the lock next finishes what a killed process left. So a picture is
always in exactly one place, and what was answered for is in the journal.

`labels.csv`, the journal, only grows: a header and a line for each change, in UTF-8.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import ConflictError, OutputError, UsageError
from pocketlens.files import is_open_at, output_errors, rename_new, sync, write_bytes
from pocketlens.names import shown, to_label
from pocketlens.project import INBOX, class_folder, refuse_odd_label, refuse_other_capitals
from pocketlens.runtime import inbox
from pocketlens.runtime.inbox import FrameInfo, info_path, iso_time, parse_time, read_info
from pocketlens.runtime.photos import SUFFIXES, name_below

if sys.platform != "win32":
    import fcntl

ADD, LABEL, MOVE, UNDO, DELETE = ACTIONS = ("add", "label", "move", "undo", "delete")
COLUMNS = ("at", "who", "action", "sha256", "file", "from", "to", "reason")

DELETED = ".deleted"
"""The hidden folder of a project where deleted pictures lie, until the user empties it."""

_NOTE = ".labelling"
_HASH_DIGITS = 64
_HEADER = ",".join(COLUMNS) + "\n"
# flock does not keep threads of other platforms apart.
_threads = threading.RLock()


@dataclass(frozen=True)
class JournalEntry:
    """A line of the journal.

    Attributes:
        at_s: when, seconds since 1970.
        who: who did it, as the caller called them.
        action: one of `ACTIONS`.
        sha256: of the picture's content, as hexadecimal digits.
        file: where it is now: its path below the project with slashes; what cannot be shown is
            escaped as by `names.shown`.
        from_label: the label it had, "" for none.
        to_label: the label it has now, "" for none.
        reason: why the frame was kept, from its .json; "" where it has none.
    """

    at_s: float
    who: str
    action: str
    sha256: str
    file: str
    from_label: str
    to_label: str
    reason: str


@dataclass(frozen=True)
class Placement:
    """What became of a picture.

    Attributes:
        path: where it is.
        entry: the line of the journal.
        already: the same picture was there before, so the other one is gone.
    """

    path: Path
    entry: JournalEntry
    already: bool = False


@dataclass(frozen=True)
class _Step:
    """One picture's way from a path to another: None is a picture that is not there yet."""

    source: Path
    target: Path
    line: str
    duplicate: bool = False


def place(
    photos: Path,
    picture: Path,
    label: str,
    *,
    journal: Path,
    who: str,
    expected: str | None = None,
    clock: Clock = CLOCK,
) -> Path:
    """Give a picture a label: move it, with its .json, into the folder of the label.

    A file there is never replaced: another picture of the same name gets its own beside it, and of
    the same picture only one stays.

    Args:
        photos: the folder with a folder per class.
        picture: in the inbox, or below `photos`.
        label: any form of it; its folder is made if it is missing. "" puts it back into the inbox.
        journal: `labels.csv` in the project's folder.
        who: who does it.
        expected: the label that the caller saw it have, "" for none; None does not ask.
        clock: for the time in the journal.

    Returns:
        Where the picture is now.

    Raises:
        ConflictError: it is no longer there, or has another label than `expected`.
        LabelsError: the label cannot be the name of a folder.
        UsageError: the picture is neither in the inbox nor below `photos`.
        OutputError: it cannot be moved or written down; then it is where it was.
    """
    placed = place_all(photos, [(picture, expected)], label, journal=journal, who=who, clock=clock)[
        0
    ]
    if isinstance(placed, ConflictError):
        raise placed
    return placed.path


def place_all(
    photos: Path,
    pictures: Sequence[tuple[Path, str | None]],
    label: str,
    *,
    journal: Path,
    who: str,
    clock: Clock = CLOCK,
) -> list[Placement | ConflictError]:
    """Do what `place` does for a group of pictures, which takes hardly longer than one.

    Args:
        photos: as in `place`.
        pictures: each with its `expected`.
        label: as in `place`.
        journal: as in `place`.
        who: as in `place`.
        clock: as in `place`.

    Returns:
        For each picture where it is now, or the conflict because of which it was left alone.

    Raises:
        LabelsError, UsageError, OutputError: as `place`; then all are where they were.
    """
    label = _checked(label)
    with _Labels(photos, journal, clock) as labels:
        return labels.place(pictures, label, who)


def add_labelled(
    photos: Path,
    jpeg: bytes,
    info: FrameInfo,
    label: str,
    *,
    journal: Path,
    who: str,
    clock: Clock = CLOCK,
) -> Placement:
    """Put a new picture, which has a label from the start, into the folder of the label.

    The same content of the same time is there once, however often it is added.

    Raises:
        LabelsError: the label cannot be the name of a folder.
        OutputError: it cannot be written; then nothing of it is there.
    """
    label = _checked(label)
    if not label:
        raise UsageError("Expected a label. Received: none. Add the picture to the inbox instead.")
    with _Labels(photos, journal, clock) as labels:
        return labels.add(jpeg, info, label, who)


def delete(
    photos: Path,
    picture: Path,
    *,
    journal: Path,
    who: str,
    expected: str | None = None,
    clock: Clock = CLOCK,
) -> Path:
    """Take a picture out of the project: it goes to the hidden folder `DELETED` beside the journal.

    Args, returns and errors are those of `place`.
    """
    with _Labels(photos, journal, clock) as labels:
        placed = labels.place([(picture, expected)], None, who)[0]
    if isinstance(placed, ConflictError):
        raise placed
    return placed.path


def undo(
    photos: Path,
    *,
    journal: Path,
    who: str,
    entry: JournalEntry | None = None,
    clock: Clock = CLOCK,
) -> Placement:
    """Take back what somebody did last: the picture goes where the journal says it came from.

    A picture that was added goes to `DELETED`.

    Args:
        photos: the folder with a folder per class.
        journal: `labels.csv` in the project's folder.
        who: whose last change; undone ones do not count, so that several can be taken back.
        entry: this one instead.
        clock: for the time in the journal.

    Raises:
        UsageError: there is nothing to take back.
        ConflictError: somebody has done something else with the picture since.
        OutputError: it cannot be moved or written down; then it is where it was.
    """
    with _Labels(photos, journal, clock) as labels:
        placed = labels.undo(who, entry)
    if isinstance(placed, ConflictError):
        raise placed
    return placed


def recover(photos: Path, journal: Path) -> None:
    """Finish what a killed process left, and remove its litter; as all of the others do first.

    Raises:
        OutputError: it cannot be written.
    """
    with _Labels(photos, journal, CLOCK):
        for folder in (INBOX, DELETED):
            inbox.remove_litter(journal.parent / folder)


def read_journal(path: Path) -> list[JournalEntry]:
    """Read the lines of a journal; none where there is no such file.

    What is no such line is left out: one that was cut off by a power cut, or one that a person
    wrote.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(
            f"Cannot read {shown(path)}: {error.strerror}. Make it readable."
        ) from error
    entries = (_parse(line) for line in data.decode("utf-8", "replace").split("\n"))
    return [entry for entry in entries if entry is not None]


def known_hashes(path: Path) -> frozenset[str]:
    """Return the SHA-256 of all pictures of a journal: what comes again has been here before."""
    return frozenset(entry.sha256 for entry in read_journal(path))


def label_of(photos: Path, picture: Path) -> str | None:
    """Return the label of a picture by its folder, "" in the inbox, None for one somewhere else."""
    picture, photos = Path(os.path.abspath(picture)), Path(os.path.abspath(photos))
    if picture.is_relative_to(photos):
        below = picture.relative_to(photos).parts
        return to_label(below[0]) if len(below) > 1 else None
    return "" if picture.parent == photos.parent / INBOX else None


class _Labels:
    """The lock, and what is done while it is held."""

    def __init__(self, photos: Path, journal: Path, clock: Clock) -> None:
        self._photos = photos
        self._journal = journal
        self._root = journal.parent
        self._inbox = self._root / INBOX
        self._note = self._root / _NOTE
        self._clock = clock
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Labels:
        with contextlib.ExitStack() as stack:
            stack.enter_context(_threads)
            stack.enter_context(output_errors(self._journal))
            stack.enter_context(_locked(self._journal))
            self._recover()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def place(
        self, pictures: Sequence[tuple[Path, str | None]], label: str | None, who: str
    ) -> list[Placement | ConflictError]:
        """Move pictures to a label, "" for the inbox, None for deleted ones."""
        if label:
            refuse_other_capitals(self._photos, label)
            folder = class_folder(self._photos, label)
        else:
            folder = self._root / DELETED if label is None else self._inbox
        results: list[Placement | ConflictError] = []
        steps: list[_Step] = []
        taken: set[Path] = set()
        for picture, expected in pictures:
            now = self._conflict(picture, expected)
            if isinstance(now, ConflictError) or picture in taken:
                results.append(now if isinstance(now, ConflictError) else _gone(picture, None))
                continue
            action = DELETE if label is None else MOVE if now else LABEL
            # It is where it should be; the journal says that somebody said so.
            stays = label is not None and now == label
            target, duplicate = (picture, False) if stays else _free(folder, picture, taken)
            entry = self._entry(who, action, picture, target, now, label or "")
            taken.update((picture, target))
            steps.append(_Step(picture, target, _line(entry), duplicate))
            results.append(Placement(target, entry, duplicate))
        self._carry_out(steps)
        return results

    def add(self, jpeg: bytes, info: FrameInfo, label: str, who: str) -> Placement:
        refuse_other_capitals(self._photos, label)
        folder = class_folder(self._photos, label)
        digest = hashlib.sha256(jpeg).hexdigest()
        # Written whole where nothing looks for pictures, then moved like all others.
        new = inbox.add(self._root / DELETED, jpeg, info)
        target, duplicate = _free(folder, new.path, set())
        entry = JournalEntry(
            self._clock.wall_s(),
            who,
            ADD,
            digest,
            shown(name_below(target, self._root)),
            "",
            label,
            info.reason,
        )
        try:
            self._carry_out([_Step(new.path, target, "" if duplicate else _line(entry), duplicate)])
        except OSError:
            inbox.remove(new)
            raise
        return Placement(target, entry, duplicate)

    def undo(self, who: str, entry: JournalEntry | None) -> Placement | ConflictError:
        done = list(_not_undone(read_journal(self._journal)))
        if entry is None:
            entry = next((other for other in done if other.who == shown(who)), None)
        if entry is None:
            raise UsageError(
                f"Expected something that {shown(who)} did in {shown(self._journal)}. "
                "Received: nothing that is not undone already. Label a picture first."
            )
        picture = _find(self._root, entry.file)
        last = next((other for other in done if other.file == entry.file), None)
        # Its time may be finer than that of the journal.
        if picture is None or last is None or _line(last) != _line(entry):
            return self._moved_since(self._root / entry.file)
        if entry.action == ADD:
            folder, label = self._root / DELETED, ""
        else:
            label = entry.from_label
            folder = class_folder(self._photos, label) if label else self._inbox
        stays = picture.parent == folder
        target, duplicate = (picture, False) if stays else _free(folder, picture, set())
        line = self._entry(who, UNDO, picture, target, entry.to_label, label)
        self._carry_out([_Step(picture, target, _line(line), duplicate)])
        return Placement(target, line, duplicate)

    def _conflict(self, picture: Path, expected: str | None) -> str | ConflictError:
        """Return the label that a picture has, or what has become of it."""
        label = label_of(self._root_photos(), picture)
        # What is hidden is not whole yet, and a .json goes with its picture.
        odd = picture.name.startswith(".") or picture.suffix.lower() not in SUFFIXES
        if label is None or odd:
            raise UsageError(
                f"Expected a picture in {shown(self._inbox)} or below {shown(self._photos)}. "
                f"Received: {shown(picture)}. Copy it there first."
            )
        if not os.path.isfile(picture):
            return self._moved_since(picture)
        if expected is not None and to_label(expected) != label:
            now = f"label {label!r}" if label else "no label"
            then = f"label {expected!r}" if expected else "no label"
            return ConflictError(
                f"{shown(picture.name)} has {now} by now and not {then}, so it was left as it is. "
                "Look at it again."
            )
        return label

    def _root_photos(self) -> Path:
        # `label_of` takes the inbox to be beside the photos.
        same = os.path.abspath(self._photos.parent) == os.path.abspath(self._root)
        if not same:
            raise UsageError(
                f"Expected {shown(self._photos)} and {shown(self._journal)} in one folder. "
                "Received: two. Give those of one project."
            )
        return self._photos

    def _moved_since(self, picture: Path) -> ConflictError:
        """Say what the journal knows of a picture that is not where it was."""
        name = shown(picture.name)
        known = [
            entry for entry in read_journal(self._journal) if entry.file.rpartition("/")[2] == name
        ]
        return _gone(picture, known[-1] if known else None)

    def _entry(
        self, who: str, action: str, picture: Path, target: Path, before: str, after: str
    ) -> JournalEntry:
        info = read_info(picture)
        try:
            digest = hashlib.sha256(picture.read_bytes()).hexdigest()
        except OSError as error:
            raise OutputError(
                f"Cannot read {shown(picture)}: {error.strerror}. Make it readable."
            ) from error
        return JournalEntry(
            self._clock.wall_s(),
            who,
            action,
            digest,
            shown(name_below(target, self._root)),
            before,
            after,
            info.reason if info else "",
        )

    def _carry_out(self, steps: Sequence[_Step]) -> None:
        """Do steps, all or none."""
        if not steps:
            return
        lines = "".join(step.line for step in steps).encode("utf-8", "backslashreplace")
        moving = [step for step in steps if step.source != step.target]
        if moving:
            note = {
                "moves": [
                    [*(name_below(path, self._root) for path in (step.source, step.target))]
                    for step in moving
                ],
                "lines": lines.decode(),
                # Behind this many bytes they are in the journal, if they are.
                "after": os.path.getsize(self._journal),
            }
            # ASCII, so that bytes of names that are no UTF-8 are kept.
            write_bytes(self._note, json.dumps(note).encode())
        done: list[_Step] = []
        try:
            for step in moving:
                _move(step.source, step.target, duplicate=step.duplicate)
                done.append(step)
            for folder in {step.target.parent for step in moving} | {
                step.source.parent for step in moving
            }:
                sync(folder)
            _append(self._journal, lines)
        except BaseException:
            # A duplicate that is gone is there as the one that it was of.
            for step in reversed(done):
                if not step.duplicate:
                    _move(step.target, step.source)
            self._note.unlink(missing_ok=True)
            raise
        if moving:
            self._note.unlink(missing_ok=True)

    def _recover(self) -> None:
        """Finish what the note of a killed process says, or take it back if nothing had moved."""
        try:
            note = json.loads(self._note.read_bytes())
            moves = [[self._root / name for name in pair] for pair in note["moves"]]
            lines, after = note["lines"].encode("utf-8", "backslashreplace"), int(note["after"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            # It is written whole, so this is none of ours.
            self._note.unlink(missing_ok=True)
            return
        if not all(os.path.lexists(source) for source, _ in moves):
            # At least one is on its way, so all go: the line of each is in the note.
            for source, target in moves:
                if os.path.lexists(source):
                    _move(source, target, duplicate=_same_content(source, target))
                elif os.path.lexists(target) and not inbox.has_picture(info_path(source)):
                    info_path(source).unlink(missing_ok=True)
            with self._journal.open("rb") as stream:
                stream.seek(after)
                written = stream.read()
            if lines not in written + b"\n":
                _append(self._journal, lines)
        else:
            for source, target in moves:
                about = info_path(target)
                # Where a system cannot rename over nothing only, an empty file keeps the place.
                with contextlib.suppress(OSError):
                    if not target.stat().st_size and source.stat().st_size:
                        target.unlink()
                if about != info_path(source) and not inbox.has_picture(about):
                    about.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(journal: Path) -> Iterator[None]:
    """Hold the journal, made where there is none, against all other processes."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    while True:
        number = os.open(journal, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            if sys.platform != "win32":
                # Some network file systems cannot lock; renaming over nothing still is one step.
                with contextlib.suppress(OSError):
                    fcntl.flock(number, fcntl.LOCK_EX)
            # Git and rsync put another file in its place.
            if is_open_at(number, journal):
                yield
                return
        finally:
            os.close(number)


def _append(journal: Path, lines: bytes) -> None:
    """Append lines to the journal, all or none, and wait until they are on the disk."""
    with journal.open("r+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        before = b""
        if not size:
            before = _HEADER.encode()
        else:
            stream.seek(size - 1)
            # A power cut, or an editor.
            before = b"" if stream.read(1) == b"\n" else b"\n"
        stream.seek(size)
        try:
            stream.write(before + lines)
            stream.flush()
            os.fsync(stream.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(stream.fileno(), size)
            raise
    if not size:
        sync(journal.parent)


def _move(source: Path, target: Path, *, duplicate: bool = False) -> None:
    """Move a picture and its .json; of a duplicate, remove the one at `source`.

    Raises:
        OSError: it cannot be done; then the picture is at `source`, with its .json.
    """
    about, new_about = info_path(source), info_path(target)
    if duplicate:
        source.unlink(missing_ok=True)
        about.unlink(missing_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    copied = about.is_file()
    if copied:
        try:
            # It takes no room, so that a full disk does not keep a picture from going back.
            os.link(about, new_about)
        except OSError:
            write_bytes(new_about, about.read_bytes())
    try:
        rename_new(source, target)
    except BaseException:
        if copied and not inbox.has_picture(new_about):
            new_about.unlink(missing_ok=True)
        raise
    # Another picture of that name may have the same .json.
    if copied and not inbox.has_picture(about):
        about.unlink(missing_ok=True)


def _free(folder: Path, picture: Path, taken: set[Path]) -> tuple[Path, bool]:
    """Return where in a folder a picture can go, and whether it is there already."""
    target = folder / picture.name
    if target != picture and target not in taken and _same_content(picture, target):
        return target, True
    number = 1
    names = {path.with_suffix("") for path in taken}
    while True:
        about = info_path(target)
        free = not (os.path.lexists(about) or inbox.has_picture(about))
        if free and not os.path.lexists(target) and target.with_suffix("") not in names:
            return target, False
        number += 1
        target = folder / f"{picture.stem}-{number}{picture.suffix}"


def _same_content(one: Path, other: Path) -> bool:
    try:
        return (
            not os.path.samefile(one, other)
            and os.path.getsize(one) == os.path.getsize(other)
            and one.read_bytes() == other.read_bytes()
        )
    except OSError:
        return False


def _checked(label: str) -> str:
    label = to_label(label)
    if label:
        refuse_odd_label(label)
    return label


def _gone(picture: Path, entry: JournalEntry | None) -> ConflictError:
    name = shown(picture.name)
    if entry is None:
        return ConflictError(f"{name} is no longer there; somebody has moved it. Reload the list.")
    what = f"is {entry.to_label!r}" if entry.to_label else "has no label"
    if entry.file.startswith(f"{DELETED}/"):
        what = "is deleted"
    return ConflictError(
        f"{name} {what} by now: {entry.who or 'somebody'} has done that at {iso_time(entry.at_s)}. "
        "Reload the list."
    )


def _not_undone(entries: Sequence[JournalEntry]) -> Iterator[JournalEntry]:
    """Yield what was done and not taken back, newest first."""
    undone: Counter[tuple[str, str]] = Counter()
    for entry in reversed(entries):
        key = entry.who, entry.sha256
        if entry.action == UNDO:
            undone[key] += 1
        elif undone[key]:
            undone[key] -= 1
        else:
            yield entry


def _find(root: Path, name: str) -> Path | None:
    """Return the file whose shown path below a folder is that of a journal."""
    path = root / name
    if os.path.isfile(path):
        return path
    # Its name, or that of a folder above it, is not what it is shown as.
    folder = root
    for part in name.split("/"):
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            return None
        found = next((other for other in names if shown(other) == part), None)
        if found is None:
            return None
        folder /= found
    return folder if os.path.isfile(folder) else None


def _line(entry: JournalEntry) -> str:
    buffer = io.StringIO()
    values = (
        iso_time(entry.at_s),
        entry.who,
        entry.action,
        entry.sha256,
        entry.file,
        entry.from_label,
        entry.to_label,
        entry.reason,
    )
    csv.writer(buffer, lineterminator="\n").writerow(map(shown, values))
    return buffer.getvalue()


def _parse(line: str) -> JournalEntry | None:
    try:
        fields = next(csv.reader([line.removesuffix("\r")]), [])
        at, who, action, sha256, file, before, after, reason = fields
        int(sha256, 16)
        if action not in ACTIONS or len(sha256) != _HASH_DIGITS:
            return None
        return JournalEntry(parse_time(at), who, action, sha256, file, before, after, reason)
    except (ValueError, csv.Error):
        return None
