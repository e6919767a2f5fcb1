"""The folder that `--keep` fills: what is in it, within its limit, on a disk that may be full."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pocketlens.choices import COLLECTED, KEEP_REASONS, MULTICLASS
from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import OutputError
from pocketlens.files import output_errors
from pocketlens.runtime.inbox import (
    FrameInfo,
    InboxEntry,
    add,
    info_path,
    picture_paths,
    read_info,
    remove,
)
from pocketlens.runtime.live.keeping import Kept, first_to_go, teaching

DIGEST_DIGITS = 8
"""How many digits of the SHA-256 of its content a picture's name has at least."""

_BY_RUNS = frozenset(KEEP_REASONS) - {COLLECTED}
# What is left to others of a file system: a twentieth, at most a gigabyte.
_SPARE_SHARE, _MOST_SPARE_BYTES = 0.05, 10**9
# So much more than the last frame took stays free, that the next one fits before another goes.
_NEXT = 1.25
_MOST_NEXT_SHARE = 0.25
# Of a picture that has no name yet: after those that begin with their time.
_LAST_NAME = "~"


@dataclass(frozen=True)
class Room:
    """What a file system has: free and all bytes, and of what size its blocks are."""

    free_bytes: int
    all_bytes: int
    block_bytes: int


def room_at(folder: Path) -> Room:
    """Return the room of the file system that a folder is on."""
    if not hasattr(os, "statvfs"):
        import shutil

        usage = shutil.disk_usage(folder)
        return Room(usage.free, usage.total, 4096)
    status = os.statvfs(folder)
    unit = status.f_frsize
    return Room(status.f_bavail * unit, status.f_blocks * unit, unit)


@dataclass
class KeptFolder:
    """Pictures in a folder, of which those that runs kept take no more than a limit.

    What people recorded or put there themselves is neither counted nor removed. The folder may be
    changed by others at any time: pictures that are gone are forgotten. What takes part of a block
    counts as the whole block, so that the limit holds for what the disk has lost, too.

    Args:
        folder: made if it is missing.
        limit_bytes: how much runs may keep in it.
        task: the model's, for how much what is there teaches.
        threshold: the model's.
        is_sent: tells of a picture's name whether a receiver has it.
        room: tells how much room there is.
        clock: what ages go by.
    """

    folder: Path
    limit_bytes: int
    task: str = MULTICLASS
    threshold: float = 0.5
    is_sent: Callable[[str], bool] = lambda _: False
    room: Callable[[Path], Room] = room_at
    clock: Clock = CLOCK
    _kept: dict[str, Kept] = field(default_factory=dict, init=False)
    # Names of what is none of ours, so that its .json is read once.
    _foreign: set[str] = field(default_factory=set, init=False)
    # Whether the last frame could not be written.
    _troubled: bool = field(default=False, init=False)

    @property
    def pictures(self) -> int:
        """How many pictures in it were kept by runs."""
        return len(self._kept)

    @property
    def size_bytes(self) -> int:
        """What these take on the disk."""
        return sum(entry.size_bytes for entry in self._kept.values())

    def look(self) -> None:
        """Take note of what others did to the folder.

        Raises:
            DataError: it cannot be listed.
            OutputError: nothing is known of its disk.
        """
        paths = {path.name: path for path in picture_paths(self.folder)}
        self._foreign &= paths.keys()
        for name in self._kept.keys() - paths.keys():
            del self._kept[name]
        new = paths.keys() - self._kept.keys() - self._foreign
        if new:
            with output_errors(self.folder):
                room = self.room(self.folder)
            for name in new:
                self._note(paths[name], room)

    def digests(self) -> frozenset[str]:
        """Return what the names of the pictures say of their contents."""
        names = (os.path.splitext(name)[0] for name in (*self._kept, *self._foreign))
        return frozenset(name.rpartition("-")[2][:DIGEST_DIGITS] for name in names)

    def check(self) -> None:
        """Raise OutputError where the file system has too little room for one frame more."""
        with output_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._check(0)

    def add(self, jpeg: bytes, info: FrameInfo) -> Kept | None:
        """Add a picture and let others go for it; None where it would be the first to go.

        Others go when it is safely there. Only where it would not fit into the limit before that,
        some go first, and none while the disk takes nothing.

        Raises:
            OutputError: it is too large, there is too little room, or it cannot be written.
        """
        self.look()
        with output_errors(self.folder):
            room = self._check(len(jpeg))
        size_bytes = _on_disk(len(jpeg), room) + _on_disk(
            len(info.to_json().encode("utf-8", "backslashreplace")), room
        )
        if size_bytes > self.limit_bytes:
            raise OutputError(
                f"A frame takes {_mb(size_bytes)}, more than the {_mb(self.limit_bytes)} that may "
                f"be kept in {self.folder}. Give more by --keep-mb."
            )
        if not self._troubled:
            # The limit may be less than it was when the folder was filled.
            self._let_go(self.size_bytes - self.limit_bytes)
        new = Kept(_LAST_NAME, size_bytes, info.at_s, info.reason, self._teaches(info))
        next_bytes = min(round(_NEXT * size_bytes), round(_MOST_NEXT_SHARE * self.limit_bytes))
        too_much = self.size_bytes + size_bytes - self.limit_bytes
        if new in self._first_to_go([*self._kept.values(), new], too_much + next_bytes):
            if self._kept:
                return None
        elif too_much > 0 and self._troubled:
            raise OutputError(
                f"Nothing can be written to {self.folder}, so nothing goes for what is new."
            )
        self._let_go(too_much)
        self._troubled = True
        entry = add(self.folder, jpeg, info)
        self._troubled = False
        self._kept[entry.path.name] = new._replace(name=entry.path.name)
        # Where nothing can be removed, the next one does not come in.
        with contextlib.suppress(OutputError):
            self._let_go(self.size_bytes + next_bytes - self.limit_bytes, but=entry.path.name)
        return self._kept[entry.path.name]

    def unsent(self) -> list[Path]:
        """Return the pictures that a receiver has not, oldest first."""
        names = [name for name in list(self._kept) if not self.is_sent(name)]
        return [self.folder / name for name in sorted(names)]

    def count_unsent(self) -> int:
        """Return how many pictures a receiver has not."""
        return sum(not self.is_sent(name) for name in list(self._kept))

    def _check(self, size_bytes: int) -> Room:
        room = self.room(self.folder)
        spare_bytes = min(_SPARE_SHARE * room.all_bytes, _MOST_SPARE_BYTES)
        if room.free_bytes - size_bytes < spare_bytes:
            raise OutputError(
                f"Little room is left on the disk of {self.folder}: {_mb(room.free_bytes)}, of "
                f"which {_mb(spare_bytes)} are left to others. Make room."
            )
        return room

    def _let_go(self, excess_bytes: int, but: str = "") -> None:
        kept = [entry for name, entry in self._kept.items() if name != but]
        for entry in self._first_to_go(kept, excess_bytes):
            remove(InboxEntry(self.folder / entry.name, None))
            self._kept.pop(entry.name, None)

    def _first_to_go(self, kept: list[Kept], excess_bytes: int) -> list[Kept]:
        marked = {entry._replace(sent=self.is_sent(entry.name)): entry for entry in kept}
        return [marked[entry] for entry in first_to_go(marked, excess_bytes, self.clock.wall_s())]

    def _note(self, path: Path, room: Room) -> None:
        info = read_info(path)
        if info is None or info.reason not in _BY_RUNS:
            self._foreign.add(path.name)
            return
        try:
            sizes = [file.stat().st_size for file in (path, info_path(path))]
        except OSError:
            # Gone in this moment, or coming: the next look tells.
            return
        size_bytes = sum(_on_disk(size, room) for size in sizes)
        self._kept[path.name] = Kept(
            path.name, size_bytes, info.at_s, info.reason, self._teaches(info)
        )

    def _teaches(self, info: FrameInfo) -> float:
        """Return how much a picture teaches, by what was known of it when it was kept."""
        found = teaching(
            np.array(list(info.scores.values()), np.float32),
            info.novelty,
            task=self.task,
            threshold=self.threshold,
            is_unknown=self.task == MULTICLASS,
            changed=True,
            shifted=True,
        )
        return found.get(info.reason, 0.0)


def _on_disk(size_bytes: int, room: Room) -> int:
    """Return what a file takes: whole blocks."""
    return -(-size_bytes // room.block_bytes) * room.block_bytes


def _mb(size_bytes: float) -> str:
    return f"{size_bytes / 1e6:.3g} MB" if size_bytes < 1e8 else f"{size_bytes / 1e6:,.0f} MB"
