"""Photos into a folder per class, without replacing any; in a project by its journal."""

from __future__ import annotations

import contextlib
import filecmp
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pocketlens.choices import UNKNOWN
from pocketlens.clock import Clock
from pocketlens.errors import ConflictError, LabelsError, UsageError
from pocketlens.files import output_errors, rename_new, write_new
from pocketlens.labels.items import Picture, open_picture
from pocketlens.names import shown, to_label
from pocketlens.progress import track
from pocketlens.project import (
    Project,
    class_folder,
    project_root,
    read_project,
    refuse_odd_label,
)
from pocketlens.runtime.inbox import parse_time
from pocketlens.runtime.labelling import label_of, place_all
from pocketlens.runtime.photos import class_folders, is_class_name
from pocketlens.runtime.tables import splits_of

ADDED, MOVED, THERE = PLACED = ("added", "moved", "already there")

_CHUNK = 1 << 20
_PLACING = "Placing photos"


class Labelled(NamedTuple):
    """A photo, its label, and who gave it when: ISO 8601, "" where nobody knows."""

    picture: Picture
    label: str
    who: str
    at: str


class _Moment(Clock):
    """The time at which a label was given elsewhere."""

    def __init__(self, at_s: float) -> None:
        self._at_s = at_s

    def wall_s(self) -> float:
        return self._at_s


def place_photos(
    root: Path, photos: Sequence[Labelled], *, link: bool = False
) -> tuple[dict[str, int], list[str]]:
    """Put each photo into the folder of its label, and return what became of how many.

    A photo below the root, or in the inbox of the project whose photos the root has, is moved. The
    same content under the same name counts as there; with another content there, the photo gets a
    new name.

    Args:
        root: the folder with a folder per class; made if it is missing.
        photos: the photos with their labels.
        link: hard links in place of copies, where the disk allows them.

    Returns:
        Counts by what is in `PLACED`, and the photos that somebody else moved meanwhile.

    Raises:
        LabelsError: a label cannot be the name of a folder, or is none of the project.
        UsageError: two labels cannot be folders beside each other.
        OutputError: something cannot be written. What was placed before stays; the same call goes
            on from there.
    """
    labels = {photo.label for photo in photos}
    project = project_of(root)
    if project is not None and os.path.realpath(root) != os.path.realpath(project.photos):
        # A folder of photos like any other, though it is in a project.
        project = None
    for label in sorted(labels):
        refuse_odd_label(label)
        if not is_class_name(label):
            raise LabelsError(
                f"Expected labels that can be folders of photos. Received: {shown(label)!r}, the "
                "name of a folder that systems make. Rename it, or write a table with --out."
            )
    if project is not None:
        _refuse_other_labels(project, labels)
    _refuse_splits(root, labels)
    _refuse_one_folder_for_two(root, labels)
    if project is not None:
        return _place_in_project(project, photos, link=link)
    counts = Counter(
        _place(root, photo.picture, photo.label, link=link) for photo in track(photos, _PLACING)
    )
    return dict(counts), []


def project_of(folder: Path) -> Project | None:
    """Return the project that a folder belongs to, None for one outside of any."""
    root = project_root(Path(os.path.abspath(folder)))
    return None if root is None else read_project(root)


def _refuse_other_labels(project: Project, labels: Iterable[str]) -> None:
    known = (*project.classes, UNKNOWN)
    others = sorted(set(labels) - set(known))
    if others:
        raise LabelsError(
            f"Expected labels of the project ({', '.join(known)}). Received: {', '.join(others)}. "
            f"Add them to classes in {shown(project.file)}, or rename them in the file."
        )


def _refuse_splits(root: Path, labels: Iterable[str]) -> None:
    """Raise UsageError for labels that would make the folder one of splits."""
    there = [folder.name for folder in class_folders(root)] if root.is_dir() else []
    splits = splits_of([*there, *labels])
    if "train" in splits.values() and len(set(splits.values())) > 1:
        raise UsageError(
            f"Expected labels that are no splits, as folders of photos. Received: "
            f"{', '.join(map(shown, splits))}. Write a table with --out."
        )


def _refuse_one_folder_for_two(root: Path, labels: Iterable[str]) -> None:
    """Raise UsageError where the disk takes two names for one, as macOS and Windows do."""
    there = [to_label(folder.name) for folder in class_folders(root)] if root.is_dir() else []
    by_case: dict[str, set[str]] = {}
    for label in (*there, *labels):
        by_case.setdefault(label.casefold(), set()).add(label)
    for group in by_case.values():
        for one, other in itertools.combinations(sorted(group), 2):
            first, second = class_folder(root, one), class_folder(root, other)
            made = not first.exists()
            with output_errors(first):
                first.mkdir(parents=True, exist_ok=True)
            try:
                same = second.exists() and second.samefile(first)
            finally:
                if made:
                    with contextlib.suppress(OSError):
                        first.rmdir()
            if same:
                raise UsageError(
                    f"Expected labels that this disk can tell apart. Received: {shown(one)} and "
                    f"{shown(other)}, which are one folder here. Rename one, or write a table with "
                    "--out."
                )


def _place_in_project(
    project: Project, photos: Sequence[Labelled], *, link: bool
) -> tuple[dict[str, int], list[str]]:
    counts: Counter[str] = Counter()
    conflicts = []
    groups: dict[tuple[str, str, str], list[tuple[Path, bool]]] = {}
    for photo in photos:
        inside = photo.picture if isinstance(photo.picture, Path) else None
        now = None if inside is None else label_of(project.photos, inside)
        if now == photo.label:
            counts[THERE] += 1
            continue
        # From the inbox it goes on like every frame, also if this is interrupted.
        picture = inside if inside is not None and now is not None else None
        path = picture or _bring(project.inbox, photo.picture, link=link)
        groups.setdefault((photo.label, photo.who, photo.at), []).append((path, picture is None))
    for (label, who, at), members in track(list(groups.items()), _PLACING):
        clock = {"clock": _Moment(parse_time(at))} if at else {}
        results = place_all(
            project.photos,
            [(path, None) for path, _ in members],
            label,
            journal=project.journal,
            who=who,
            **clock,
        )
        for (path, is_new), result in zip(members, results, strict=True):
            if isinstance(result, ConflictError):
                conflicts.append(shown(path.name))
            else:
                counts[THERE if result.already else ADDED if is_new else MOVED] += 1
    return dict(counts), conflicts


def _bring(folder: Path, picture: Picture, *, link: bool) -> Path:
    """Copy a photo into a folder, and return where it is."""
    for name in _names(picture.name):
        target = folder / name
        if same_content(target, picture):
            return target
        if not os.path.lexists(target):
            with contextlib.suppress(FileExistsError):
                _copy(picture, target, link=link)
                return target
    raise AssertionError


def _place(root: Path, picture: Picture, label: str, *, link: bool) -> str:
    folder = class_folder(root, label)
    ours = picture if isinstance(picture, Path) and _is_below(picture, root) else None
    if ours is not None and _is_below(ours, folder):
        return THERE
    for name in _names(picture.name):
        target = folder / name
        if same_content(target, picture):
            if ours is None:
                return THERE
            with output_errors(ours):
                ours.unlink()
            return MOVED
        if not os.path.lexists(target):
            with contextlib.suppress(FileExistsError):
                if ours is None:
                    _copy(picture, target, link=link)
                    return ADDED
                with output_errors(target):
                    folder.mkdir(parents=True, exist_ok=True)
                _rename(ours, target)
                return MOVED
    raise AssertionError


def _rename(picture: Path, target: Path) -> None:
    try:
        rename_new(picture, target)
    except FileExistsError:
        raise
    except OSError:
        with output_errors(target):
            raise


def _names(name: str) -> Iterable[str]:
    stem, suffix = os.path.splitext(name)
    return itertools.chain([name], (f"{stem}-{number}{suffix}" for number in itertools.count(2)))


def _is_below(path: Path, folder: Path) -> bool:
    # Not where a link leads to: it is the link that lies there.
    return Path(os.path.realpath(path.parent), path.name).is_relative_to(os.path.realpath(folder))


def _copy(picture: Picture, target: Path, *, link: bool) -> None:
    """Copy or link a photo; FileExistsError where something is already."""
    if link and isinstance(picture, Path):
        with output_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            os.link(os.path.realpath(picture), target)
            return
    with open_picture(picture) as stream:
        data = stream.read()
    write_new(target, data)


def same_content(path: Path, picture: Picture) -> bool:
    """Tell whether a file is there and has the bytes of a picture."""
    with contextlib.suppress(OSError):
        if isinstance(picture, Path):
            return filecmp.cmp(path, picture, shallow=False)
        with path.open("rb") as one, open_picture(picture) as other:
            while left := one.read(_CHUNK):
                if left != other.read(len(left)):
                    return False
            return not other.read(1)
    return False
