"""What the labelling page does to pictures, and what it answers: also for half of a request."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException

from pocketlens.clock import Clock
from pocketlens.errors import ConflictError, PocketlensError, UsageError
from pocketlens.names import shown
from pocketlens.report.html import counted
from pocketlens.runtime import labelling
from pocketlens.runtime.labelling import JournalEntry, read_journal
from pocketlens.runtime.photos import name_below
from pocketlens.studio.pool import TRASH, Item, Pool
from pocketlens.studio.protection import status_of

# How much of what was done can be taken back as a whole; single pictures always can.
_MOST_UNDO, _MOST_PEOPLE = 200, 100


@dataclass
class Outcome:
    """What one request did.

    Attributes:
        changed: of each picture its `key` in the request, where it is `now`, and its `label`.
        conflicts: of each that was left alone its `key`, a `text` that says why, and where it is
            `now` with its label, None where nobody knows.
        error: what came between, in a sentence; what was done before stays done.
        status: of the answer.
    """

    changed: list[dict[str, str]] = field(default_factory=list)
    conflicts: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    status: int = 200
    entries: list[JournalEntry] = field(default_factory=list)

    @property
    def said(self) -> str:
        """What was done, in words."""
        if not self.changed:
            return ""
        labels = {entry["label"] for entry in self.changed}
        photos = counted(len(self.changed))
        return f"{photos}: {labels.pop() or 'no label'}" if len(labels) == 1 else f"{photos} done"


class Changes:
    """Changes labels, and takes that back.

    Args:
        pool: whose pictures.
        clock: for the time in the journal.
    """

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._project = pool.project
        self._clock = clock
        self._done: OrderedDict[str, deque[list[JournalEntry]]] = OrderedDict()

    def place(self, by_label: Mapping[str, Sequence[str]], who: str) -> Outcome:
        """Give pictures their labels, by keys; what somebody else has changed is left alone.

        Raises:
            HTTPException: 404, something is no key; then nothing is done.
        """
        outcome = Outcome()
        # What is no key is refused before anything is done.
        paths = {
            key: self._pool.path(key, must_exist=False)
            for keys in by_label.values()
            for key in keys
        }
        for label, keys in by_label.items():
            try:
                results = labelling.place_all(
                    self._project.photos,
                    [(paths[key], self._pool.label(key)) for key in keys],
                    label,
                    journal=self._project.journal,
                    who=who,
                    clock=self._clock,
                )
            except PocketlensError as error:
                _fail(outcome, error)
                break
            for key, result in zip(keys, results, strict=True):
                if isinstance(result, ConflictError):
                    self._conflict(outcome, key, result)
                else:
                    self._changed(outcome, key, result.path, result.entry)
        return self._remember(outcome, who)

    def delete(self, keys: Iterable[str], who: str) -> Outcome:
        """Move pictures, by keys, to the folder of deleted ones; raises what `place` does."""
        outcome = Outcome()
        deleted: list[tuple[str, Path]] = []
        for key, path in [(key, self._pool.path(key, must_exist=False)) for key in keys]:
            try:
                now = labelling.delete(
                    self._project.photos,
                    path,
                    journal=self._project.journal,
                    who=who,
                    expected=self._pool.label(key),
                    clock=self._clock,
                )
                deleted.append((key, now))
            except ConflictError as error:  # noqa: PERF203
                self._conflict(outcome, key, error)
            except PocketlensError as error:
                _fail(outcome, error)
                break
        last = self._last_lines() if deleted else {}
        for key, now in deleted:
            self._changed(outcome, key, now, last[self._name(now)])
        return self._remember(outcome, who)

    def undo(self, who: str) -> Outcome:
        """Take back somebody's last request; of one before a restart, picture by picture."""
        outcome = Outcome()
        stack = self._done.get(who)
        entries: Sequence[JournalEntry | None] = stack.pop() if stack else [None]
        for entry in reversed(entries):
            if not self._take_back(outcome, who, entry):
                break
        return outcome

    def restore(self, key: str, who: str) -> Outcome:
        """Put a deleted picture back where it was.

        Raises:
            HTTPException: 404, there is none of that key, or the journal does not know it.
        """
        entry = self._last_lines().get(self._name(self._pool.path(key)))
        if not key.startswith(f"{TRASH}.") or entry is None:
            raise HTTPException(404, "There is no such deleted picture. Load the page again.")
        outcome = Outcome()
        self._take_back(outcome, who, entry, key)
        return outcome

    def _take_back(
        self, outcome: Outcome, who: str, entry: JournalEntry | None, key: str = ""
    ) -> bool:
        """Take back what a line of the journal says; returns False where the rest has to wait."""
        try:
            placed = labelling.undo(
                self._project.photos,
                journal=self._project.journal,
                who=who,
                entry=entry,
                clock=self._clock,
            )
        except ConflictError as error:
            name = entry.file.rpartition("/")[2] if entry else ""
            self._conflict(outcome, key, error, name)
            return True
        except UsageError:
            outcome.error, outcome.status = "There is nothing to undo.", 400
            return False
        except PocketlensError as error:
            _fail(outcome, error)
            return False
        self._changed(outcome, key, placed.path, placed.entry)
        return True

    def _changed(self, outcome: Outcome, key: str, path: Path, entry: JournalEntry) -> None:
        now = self._pool.key(path)
        outcome.changed.append({"key": key, "now": now, "label": entry.to_label})
        outcome.entries.append(entry)

    def _conflict(
        self, outcome: Outcome, key: str, error: ConflictError, name: str | None = None
    ) -> None:
        if name is None:
            name = self._pool.path(key, must_exist=False).name
        now = self._pool.whereabouts(name)
        outcome.conflicts.append({"key": key, "text": shown(error), "now": _place_of(now)})
        outcome.status = status_of(error)

    def _remember(self, outcome: Outcome, who: str) -> Outcome:
        if outcome.entries:
            self._done.setdefault(who, deque(maxlen=_MOST_UNDO)).append(outcome.entries)
            self._done.move_to_end(who)
            while len(self._done) > _MOST_PEOPLE:
                self._done.popitem(last=False)
        return outcome

    def _last_lines(self) -> dict[str, JournalEntry]:
        """Return what the journal says last of each picture, by where it is now."""
        return {entry.file: entry for entry in read_journal(self._project.journal)}

    def _name(self, path: Path) -> str:
        """Return what the journal calls a picture."""
        return shown(name_below(path, self._project.root))


def _fail(outcome: Outcome, error: PocketlensError) -> None:
    outcome.error, outcome.status = shown(error), status_of(error)


def _place_of(item: Item | None) -> dict[str, str] | None:
    return None if item is None else {"key": item.key, "label": item.label}
