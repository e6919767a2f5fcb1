"""What a project has made: its runs and model files, each with a key for addresses.

What a request names is looked up among what is there; no path is made of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException

from pocketlens.names import shown
from pocketlens.runtime.model_files import SUFFIX
from pocketlens.runtime.runs import MODEL_NAME, is_run
from pocketlens.studio.names import to_key

_NOT_FOUND = "It is no longer there. Load the page again."


@dataclass(frozen=True)
class Made:
    """A run, a model file or a folder of photos.

    Attributes:
        path: where it is.
        word: what it is called on a command line in the project's folder.
        made_s: when it was last changed, in seconds since 1970.
        size_bytes: of a file; 0 of a run.
    """

    path: Path
    word: str
    made_s: float
    size_bytes: int = 0

    @property
    def key(self) -> str:
        """What stands for it in an address."""
        return to_key(self.word)

    @property
    def name(self) -> str:
        """Its name, so that it can be shown."""
        return shown(self.path.name)


def find_runs(root: Path, folder: Path) -> list[Made]:
    """Return the runs in a folder of a project, the newest first."""
    return _newest_first(
        [
            Made(path, _word(root, path), state.st_mtime)
            for path in _entries(folder)
            if is_run(path) and (state := _state(path / MODEL_NAME))
        ]
    )


def find_files(root: Path, folder: Path) -> list[Made]:
    """Return the `.tflite` files in a folder of a project and in those in it, the newest first.

    Links are left out: a page gives away what is in the project, and nothing else.
    """
    found = []
    for path in (*_entries(folder), *_below(folder)):
        state = _state(path) if path.suffix == SUFFIX else None
        if state and stat.S_ISREG(state.st_mode):
            found.append(Made(path, _word(root, path), state.st_mtime, state.st_size))
    return _newest_first(found)


def find_photo_folders(root: Path, without: Iterable[Path]) -> list[Made]:
    """Return the folders of a project that may have photos, by name, without those named."""
    others = set(without)
    return [
        Made(path, _word(root, path), state.st_mtime)
        for path in _entries(root)
        if path not in others and (state := _state(path)) and stat.S_ISDIR(state.st_mode)
    ]


def find(made: Iterable[Made], key: str) -> Made:
    """Return the one that a key stands for.

    Raises:
        HTTPException: 404, there is none.
    """
    for entry in made:
        if entry.key == key:
            return entry
    raise HTTPException(404, _NOT_FOUND)


def _state(path: Path) -> os.stat_result | None:
    """Return what a file is, None where it is being removed or replaced."""
    try:
        return path.lstat()
    except OSError:
        return None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _below(folder: Path) -> list[Path]:
    return [
        path
        for inner in _entries(folder)
        if inner.is_dir() and not inner.is_symlink()
        for path in _entries(inner)
    ]


def _word(root: Path, path: Path) -> str:
    return os.path.relpath(path, root).replace(os.sep, "/")


def _newest_first(made: list[Made]) -> list[Made]:
    return sorted(made, key=lambda entry: (-entry.made_s, entry.word))
