"""The cache: what can be made again, bounded, and nothing vanishes under who uses it.

Each start asks for its place, so what only its entries need is imported there: `pathlib` alone
takes 3 ms.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pocketlens.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

if sys.platform != "win32":
    import fcntl

# What stays of each kind, see `cache_entry`.
_UNUSED_S = 30 * 24 * 3600
_MOST_BYTES = 5_000_000_000
_EARLIER = r"[0-9a-f]{32}\.(npy|json)|facts-[0-9a-f]{32}\.json"


def cache_path() -> str:
    """Return the folder for what can be made again.

    `POCKETLENS_CACHE` names it; otherwise it is `pocketlens` in the user's cache folder
    (XDG Base Directory Specification). It may be deleted at any time.

    Raises:
        OutputError: neither is named, and the user has no home.
    """
    chosen = os.environ.get("POCKETLENS_CACHE")
    if chosen:
        return os.path.expanduser(chosen)
    caches = os.environ.get("XDG_CACHE_HOME") or home_path(
        ".cache", "Name a folder for the cache in the environment variable POCKETLENS_CACHE."
    )
    return os.path.join(caches, "pocketlens")


def home_path(name: str, advice: str) -> str:
    """Return a path in the user's home; raises OutputError, with the advice, if there is none."""
    home = os.path.expanduser("~")
    # Where neither HOME nor a passwd entry says, as in a container with a user of its own.
    if home == "~":
        raise OutputError(f"This user has no home folder. {advice}")
    return os.path.join(home, name)


def cache_folder() -> Path:
    """Return `cache_path` as a path."""
    from pathlib import Path

    return Path(cache_path())


@contextlib.contextmanager
def cache_entry(kind: str, key: str) -> Iterator[Path]:
    """Give the folder of the cache for what `key` names, made where there is none.

    Of each kind that stays which was used in the last 30 days, the last used first, up to 5 GB: the
    rest is removed when a new one is made. While the context lasts nobody removes this one.

    Raises:
        OutputError: it is not there and cannot be made.
    """
    from pocketlens.files import output_errors

    folder = cache_folder() / kind / key
    with output_errors(folder):
        made = not folder.is_dir()
        lock = _hold(folder)
    try:
        # By this time it is known when it was used last.
        with contextlib.suppress(OSError):
            os.utime(folder)
        yield folder
    finally:
        if lock >= 0:
            os.close(lock)
        if made:
            _remove_unused(folder.parent)


def _hold(folder: Path) -> int:
    """Make a folder where there is none, and lock it against `_remove_unused`."""
    from pocketlens.files import is_open_at

    folder.parent.mkdir(parents=True, exist_ok=True)
    while True:
        # Not by `exist_ok`, which looks again, when it may have been removed.
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        if sys.platform == "win32":
            return -1
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        # Some network file systems cannot lock; then nobody removes it either.
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_SH)
        if is_open_at(lock, folder):
            return lock
        # It was removed before it was locked.
        os.close(lock)


def _remove_unused(kind: Path) -> None:
    oldest_s = time.time() - _UNUSED_S
    with contextlib.suppress(OSError):
        used = sorted(((entry.stat().st_mtime, entry) for entry in kind.iterdir()), reverse=True)
        total = 0
        for number, (used_s, folder) in enumerate(used):
            total += sum(path.stat().st_size for path in folder.rglob("*"))
            if used_s < oldest_s or (number and total > _MOST_BYTES):
                _remove_unless_held(folder)
        # Of earlier versions, which kept all in one folder.
        for path in kind.parent.iterdir():
            if re.fullmatch(_EARLIER, path.name) and path.stat().st_mtime < oldest_s:
                path.unlink(missing_ok=True)


def _remove_unless_held(folder: Path) -> None:
    import shutil

    if sys.platform == "win32":
        # Files that are open cannot be removed there.
        shutil.rmtree(folder, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
