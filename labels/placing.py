"""Photos into a folder per class, without replacing any."""

from __future__ import annotations

import contextlib
import filecmp
import itertools
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from pocketlens.errors import UsageError
from pocketlens.files import making_new, output_errors, rename_new
from pocketlens.labels.items import Picture, open_picture
from pocketlens.names import shown, to_label
from pocketlens.runtime.photos import class_folders, is_class_name
from pocketlens.runtime.tables import splits_of

ADDED, MOVED, THERE = Placed = ("added", "moved", "already there")

# Of a name on every file system in use, in bytes.
_LONGEST_NAME = 255
_CHUNK = 1 << 20


class Folders:
    """The class folders of a folder of photos, some of which are yet to be made.

    Raises:
        UsageError: a label cannot be the name of a folder, or two cannot be beside each other.
    """

    def __init__(self, root: Path, labels: Iterable[str]) -> None:
        self._root = root
        there = class_folders(root) if root.is_dir() else []
        # The first of those that are one class.
        self._by_label = {to_label(folder.name): folder for folder in reversed(there)}
        for label in sorted(labels):
            self._by_label.setdefault(label, root / label)
        self._check()

    def _check(self) -> None:
        for label, folder in self._by_label.items():
            _check_name(label, folder)
        names = [folder.name for folder in self._by_label.values()]
        splits = splits_of(names)
        if "train" in splits.values() and len(set(splits.values())) > 1:
            raise UsageError(
                f"Expected labels that are no splits, as folders of photos. Received: "
                f"{', '.join(map(shown, splits))}. Write a table: --out labels.csv"
            )
        with output_errors(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
        by_case: dict[str, list[str]] = {}
        for label in self._by_label:
            by_case.setdefault(label.casefold(), []).append(label)
        for group in by_case.values():
            for one, other in itertools.combinations(group, 2):
                self._refuse_one_folder_for_two(one, other)

    def _refuse_one_folder_for_two(self, one: str, other: str) -> None:
        """Raise UsageError where the disk takes two names for one, as macOS and Windows do."""
        first, second = self._by_label[one], self._by_label[other]
        made = not first.exists()
        with output_errors(first):
            first.mkdir(exist_ok=True)
        try:
            if second.exists() and second.samefile(first):
                raise UsageError(
                    f"Expected labels that the disk can tell apart. Received: {shown(one)} and "
                    f"{shown(other)}, which are one folder here. Rename one, or write a table: "
                    "--out labels.csv"
                )
        finally:
            if made:
                with contextlib.suppress(OSError):
                    first.rmdir()

    def place(self, picture: Picture, label: str, *, link: bool = False) -> str:
        """Put a photo into the folder of its label, and return what became of it.

        A photo that lies below the root already is moved there. The same content under the same
        name counts as there; with another content there, the photo gets a new name.

        Returns:
            One of `Placed`.

        Raises:
            OutputError: it cannot be written.
        """
        folder = self._by_label[label]
        is_ours = isinstance(picture, Path) and _is_below(picture, self._root)
        if is_ours and isinstance(picture, Path) and _is_below(picture, folder):
            return THERE
        name = picture.name
        stem, suffix = os.path.splitext(name)
        for number in itertools.count(2):
            target = folder / name
            if os.path.lexists(target):
                if same_content(target, picture):
                    if is_ours and isinstance(picture, Path):
                        with output_errors(picture):
                            picture.unlink()
                        return MOVED
                    return THERE
            else:
                with contextlib.suppress(FileExistsError):
                    if is_ours and isinstance(picture, Path):
                        with output_errors(target):
                            folder.mkdir(parents=True, exist_ok=True)
                            rename_new(picture, target)
                        return MOVED
                    _add(picture, target, link=link)
                    return ADDED
            name = f"{stem}-{number}{suffix}"
        raise AssertionError


def _check_name(label: str, folder: Path) -> None:
    """Raise UsageError for a label that is no name of a class folder."""
    name = folder.name if "/" not in label else label
    wrong = ""
    if "/" in name or (os.sep != "/" and os.sep in name):
        wrong = "a slash"
    elif name.startswith("."):
        wrong = "a dot at its beginning, which hides a folder"
    elif len(os.fsencode(name)) > _LONGEST_NAME:
        wrong = f"more than {_LONGEST_NAME} bytes"
    elif to_label(name) != label:
        wrong = "a name that reads as another label"
    elif not is_class_name(name):
        wrong = "the name of a folder that systems make"
    if wrong:
        raise UsageError(
            f"Expected labels that can be names of folders. Received: {shown(label)!r}, with "
            f"{wrong}. Rename it, or write a table: --out labels.csv"
        )


def _is_below(path: Path, folder: Path) -> bool:
    # Not where a link leads to: it is the link that lies there.
    return Path(os.path.realpath(path.parent), path.name).is_relative_to(os.path.realpath(folder))


def _add(picture: Picture, target: Path, *, link: bool) -> None:
    if link and isinstance(picture, Path):
        with contextlib.suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(os.path.realpath(picture), target)
            return
    with making_new(target) as partial, open_picture(picture) as stream, partial.open("wb") as out:
        shutil.copyfileobj(stream, out, _CHUNK)


def same_content(path: Path, picture: Picture) -> bool:
    """Tell whether a file has the bytes of a picture."""
    with contextlib.suppress(OSError):
        if isinstance(picture, Path):
            return filecmp.cmp(path, picture, shallow=False)
        with path.open("rb") as one, open_picture(picture) as other:
            while left := one.read(_CHUNK):
                if left != other.read(len(left)):
                    return False
            return not other.read(1)
    return False
