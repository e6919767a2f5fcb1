"""Handing labels on: the photos of a folder, a table or a run as a file of another program."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pocketlens.card import LABELS_NAME, labels_text
from pocketlens.choices import CVAT, FIFTYONE, LABEL_STUDIO, TABLE, UNKNOWN
from pocketlens.errors import DataError, UsageError
from pocketlens.files import (
    one_call,
    refuse_files,
    refuse_folder,
    replacing,
    staged_folder,
    write_bytes,
    write_text,
)
from pocketlens.labels import cvat, fiftyone, label_studio, table
from pocketlens.labels.items import Item, LabelFile
from pocketlens.labels.placing import project_of
from pocketlens.names import shown, to_label
from pocketlens.runtime.inbox import iso_time, read_info
from pocketlens.runtime.labelling import read_journal
from pocketlens.runtime.photos import (
    LabelledPhotos,
    class_folders,
    existing_folder,
    find_pictures,
    name_below,
    scan,
)
from pocketlens.runtime.pictures import read_header
from pocketlens.runtime.runs import SPLITS, is_run, read_run, read_split
from pocketlens.runtime.tables import SUFFIXES as TABLE_SUFFIXES
from pocketlens.runtime.tables import is_table, read_table, split_folders

_HEADER_BYTES = 1 << 20
# EXIF orientations that turn a picture by a quarter.
_TURNED = 5
_ZIP, _XML, _JSON = ".zip", ".xml", ".json"
# A file dated before 1980 has no date in a zip.
_NO_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        format: its name in `choices.LABEL_FORMATS`.
        files: the files, or the folder.
        by_label: how many photos have each label.
        unlabelled: how many photos have none yet.
        with_scores: for how many there is what a model says.
        left_out: what the format cannot hold, and of how many photos.
    """

    format: str
    files: tuple[Path, ...]
    by_label: Mapping[str, int]
    unlabelled: int
    with_scores: int
    left_out: Mapping[str, int] = field(default_factory=dict)


class _Photos(NamedTuple):
    labels: LabelFile
    paths: Mapping[str, Path]
    root: Path


def export_labels(
    photos: str | Path,
    out: Path,
    format: str,  # noqa: A002 - as the option is called
    *,
    prefix: str | None = None,
    copy: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Write the labels of photos as a file of another program.

    Args:
        photos: a folder per class, with or without splits, a table, a run, or a folder of photos
            without labels, which become tasks.
        out: FILE.json for Label Studio (and FILE.xml, its labelling interface), FILE.xml or
            FILE.zip for CVAT, a folder for FiftyOne, FILE.csv or FILE.jsonl for a table.
        format: one of `choices.LABEL_FORMATS`.
        prefix: what stands before each photo's path in Label Studio.
        copy: copy the photos too, into FiftyOne's folder or CVAT's zip.
        overwrite: replace what is at `out`.

    Raises:
        UsageError: a wrong combination, or names that the format cannot hold.
        DataError: there are no photos.
        OutputError: something cannot be written.
    """
    photos = Path(photos)
    with one_call():
        files = _targets(out, format, prefix=prefix, copy=copy)
        if format == FIFTYONE:
            refuse_folder(out, overwrite=overwrite, marker=LABELS_NAME)
        else:
            refuse_files(files, overwrite=overwrite)
        found = _with_journal(_read(photos))
        left_out: Counter[str] = Counter()
        if format == LABEL_STUDIO:
            before = label_studio.LOCAL_FILES if prefix is None else prefix
            for suffix, data in label_studio.write(_named(found, prefix is None), before).items():
                write_bytes(out.with_suffix(suffix), data)
        elif format == CVAT:
            _write_cvat(out, found, copy=copy)
            left_out["who labelled them and when"] = _known(found)
        elif format == FIFTYONE:
            _write_fiftyone(out, found, copy=copy, overwrite=overwrite)
        else:
            _write_table(out, found)
    items = found.labels.items
    if format == TABLE:
        left_out["photos without a label"] = sum(1 for item in items if item.labels is None)
    if format in (FIFTYONE, TABLE, CVAT):
        left_out["scores of a model"] = sum(1 for item in items if item.scores)
    by_label = Counter(label for item in items for label in item.labels or ())
    return Exported(
        format,
        files,
        {label: by_label[label] for label in found.labels.classes},
        sum(1 for item in items if item.labels is None),
        sum(1 for item in items if item.scores),
        {what: count for what, count in left_out.items() if count},
    )


def _targets(out: Path, name: str, *, prefix: str | None, copy: bool) -> tuple[Path, ...]:
    suffix = out.suffix.lower()
    wanted = {LABEL_STUDIO: (_JSON,), CVAT: (_XML, _ZIP), TABLE: TABLE_SUFFIXES}.get(name)
    if wanted is not None and suffix not in wanted:
        raise UsageError(
            f"Expected --out as a file named {' or '.join(wanted)} for {name}. Received: "
            f"{shown(out)}. Rename it."
        )
    if prefix is not None and name != LABEL_STUDIO:
        raise UsageError(f"Expected --prefix with label-studio. Received: {name}. Leave it out.")
    if copy and (name in (LABEL_STUDIO, TABLE) or suffix == _XML):
        raise UsageError(
            "Expected --copy with fiftyone, or with cvat and a .zip file. Received: "
            f"{shown(out)} for {name}. Leave it out."
        )
    return (out, out.with_suffix(_XML)) if name == LABEL_STUDIO else (out,)


def _read(photos: Path) -> _Photos:
    """Read photos with their labels and splits, named by their paths below one folder."""
    if is_run(photos):
        run = read_run(photos)
        record = read_split(photos)
        parts = {split: run.photos(split) for split in SPLITS if record.parts.get(split)}
        several = any(len(p.label_indices) != 1 for part in parts.values() for p in part.photos)
        return _gather(record.root, parts, several=several)
    if is_table(photos):
        listed = read_table(photos)
        tables = dict(listed.splits) or {"": listed.photos}
        parts = {split: LabelledPhotos(listed.labels, found) for split, found in tables.items()}
        several = any(len(photo.label_indices) != 1 for photo in listed.photos)
        return _gather(photos.parent, parts, several=several)
    folders = split_folders(existing_folder(photos))
    if len(folders) > 1:
        return _gather(photos, {split: scan(folder) for split, folder in folders.items()})
    if not any(any(find_pictures(child)) for child in class_folders(photos)):
        return _unlabelled(photos)
    return _gather(photos, {"": scan(photos)})


def _unlabelled(folder: Path) -> _Photos:
    paths = {name_below(path, folder): path for path in sorted(find_pictures(folder))}
    if not paths:
        raise DataError(f"Expected photos in {shown(folder)}. Received: none. Put some into it.")
    items = [_with_scores(Item(name, None), path) for name, path in paths.items()]
    classes = tuple(sorted({label for item in items for label in item.scores}))
    return _Photos(LabelFile(tuple(items), classes), paths, folder)


def _gather(root: Path, parts: Mapping[str, LabelledPhotos], *, several: bool = False) -> _Photos:
    paths: dict[str, Path] = {}
    items = []
    classes: dict[str, None] = {}
    for split, part in parts.items():
        labels = tuple(map(to_label, part.labels))
        classes |= dict.fromkeys(labels)
        for photo in part.photos:
            name = _name_of(photo.path, root)
            while name in paths:
                stem, suffix = os.path.splitext(name)
                name = f"{stem}-2{suffix}"
            paths[name] = photo.path
            given = tuple(labels[index] for index in photo.label_indices)
            items.append(_with_scores(Item(name, given, split), photo.path))
    return _Photos(LabelFile(tuple(items), tuple(sorted(classes)), several), paths, root)


def _name_of(path: Path, root: Path) -> str:
    """Return a photo's path below the root; of one that lies elsewhere, the path from there up."""
    parts = PurePosixPath(name_below(path.absolute(), root.absolute())).parts
    return PurePosixPath(*(part for part in parts if part not in ("..", "/"))).as_posix()


def _with_scores(item: Item, path: Path) -> Item:
    """Return an item with what a model said of the frame, by the .json beside it."""
    info = read_info(path)
    if info is None or not info.scores:
        return item
    scores = {to_label(label): score for label, score in info.scores.items()}
    return replace(item, scores=scores, model=shown(info.model))


def _with_journal(found: _Photos) -> _Photos:
    """Return photos with who labelled them and when, if they are those of a project."""
    project = project_of(found.root)
    if project is None:
        return found
    last = {entry.file: entry for entry in read_journal(project.journal)}
    items = []
    for item in found.labels.items:
        path = Path(os.path.abspath(found.paths[item.name]))
        entry = last.get(shown(name_below(path, project.root)))
        if entry is not None and item.labels == (entry.to_label,):
            item = replace(item, who=entry.who, at=iso_time(entry.at_s))
        items.append(item)
    # What can be chosen, also if no photo has it yet.
    others = (UNKNOWN,) if all(item.labels is None for item in items) else ()
    classes = tuple(dict.fromkeys((*project.classes, *others, *found.labels.classes)))
    return found._replace(labels=replace(found.labels, items=tuple(items), classes=classes))


def _known(found: _Photos) -> int:
    return sum(1 for item in found.labels.items if item.who or item.at)


def _named(found: _Photos, below_root: bool) -> LabelFile:
    """Return the photos as Label Studio is to name them.

    That is from the folder above theirs: Label Studio serves no files of its document root itself,
    only of folders in it.
    """
    if not below_root:
        return found.labels
    above = found.root.absolute().name
    items = (replace(item, name=f"{above}/{item.name}") for item in found.labels.items)
    return replace(found.labels, items=tuple(items))


def _write_cvat(out: Path, found: _Photos, *, copy: bool) -> None:
    sizes = {name: size for name, path in found.paths.items() if (size := _size(path))}
    data = cvat.write(found.labels, sizes)
    if out.suffix.lower() == _XML:
        write_bytes(out, data)
        return
    with replacing(out) as partial, zipfile.ZipFile(partial, "w") as archive:
        _add(archive, cvat.ANNOTATIONS, io.BytesIO(data), zipfile.ZIP_DEFLATED)
        if copy:
            for item in found.labels.items:
                name = "/".join(filter(None, (cvat.IMAGES, item.split, item.name)))
                with found.paths[item.name].open("rb") as stream:
                    # Photos are compressed already.
                    _add(archive, name, stream, zipfile.ZIP_STORED)


def _add(archive: zipfile.ZipFile, name: str, stream: io.BufferedIOBase, method: int) -> None:
    entry = zipfile.ZipInfo(name, _NO_DATE)
    entry.compress_type, entry.external_attr = method, 0o644 << 16
    with archive.open(entry, "w") as target:
        shutil.copyfileobj(stream, target)


def _size(path: Path) -> tuple[int, int] | None:
    """Return the width and height of an upright picture, None for one that cannot be read."""
    try:
        with path.open("rb") as stream:
            header = read_header(stream.read(_HEADER_BYTES))
    except OSError:
        return None
    if header is None:
        return None
    width, height = header.size_wh
    return (height, width) if header.orientation >= _TURNED else (width, height)


def _write_fiftyone(out: Path, found: _Photos, *, copy: bool, overwrite: bool) -> None:
    place = out.absolute()
    paths = {
        name: str(path.absolute()) if copy else _seen_from(path, place)
        for name, path in found.paths.items()
    }
    files = fiftyone.write(found.labels, paths, copied=copy)
    with staged_folder(out, overwrite=overwrite, marker=LABELS_NAME) as folder:
        write_text(folder / LABELS_NAME, labels_text(found.labels.classes))
        for name, content in files:
            target = folder / name
            data = content if isinstance(content, bytes) else Path(content).read_bytes()
            write_bytes(target, data)


def _seen_from(path: Path, folder: Path) -> str:
    """Return a photo's path from a folder beside it, else the whole path."""
    path = path.absolute()
    if path.is_relative_to(folder.parent):
        return Path(os.path.relpath(path, folder)).as_posix()
    return str(path)


def _write_table(out: Path, found: _Photos) -> None:
    if all(item.labels is None for item in found.labels.items):
        raise DataError("Expected photos with labels for a table. Received: none. Label some.")
    root = out.absolute().parent
    paths = {
        name: Path(os.path.relpath(path.absolute(), root)).as_posix()
        for name, path in found.paths.items()
    }
    write_bytes(out, table.write(out, found.labels, paths))
