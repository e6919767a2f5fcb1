"""Taking labels over: photos into a folder per class, or into a table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pocketlens.errors import DataError, UsageError
from pocketlens.files import one_call, refuse_files, write_bytes
from pocketlens.labels import table
from pocketlens.labels.finding import PhotoIndex, last_part
from pocketlens.labels.formats import FORMATS, format_of
from pocketlens.labels.items import Item, LabelFile, Packed, Picture, classes_of, normal_labels
from pocketlens.labels.placing import PLACED, Labelled, place_photos, same_content
from pocketlens.names import shown
from pocketlens.runtime.photos import existing_folder
from pocketlens.runtime.tables import SUFFIXES as TABLE_SUFFIXES

_NAMED_AT_MOST = 3


@dataclass(frozen=True)
class Imported:
    """What became of a file of labels.

    Attributes:
        format: its name in `choices.LABEL_FORMATS`.
        target: the folder of photos or the table.
        counts: photos by what became of them: "added", "moved", "already there", "listed".
        by_label: how many photos have each label.
        left_out: what was not taken over, and how many.
        renamed: labels that are written in another way here, by how the file has them.
    """

    format: str
    target: Path
    counts: Mapping[str, int]
    by_label: Mapping[str, int]
    left_out: Mapping[str, int] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)


def import_labels(
    file: str | Path,
    *,
    photos: Sequence[Path] = (),
    into: Path | None = None,
    out: Path | None = None,
    format: str | None = None,  # noqa: A002 - as the option is called
    field: str | None = None,
    newest: bool = False,
    empty: bool = False,
    skip_missing: bool = False,
    link: bool = False,
    overwrite: bool = False,
) -> Imported:
    """Take over the labels of whole photos from a file of another program.

    Everything is looked at before anything is written. A photo that is there already is not
    replaced: the same content counts as there, another gets a new name.

    Args:
        file: the file, or the folder of a dataset.
        photos: folders in which the photos are looked for by name; the folder of `file` without.
        into: a folder with a folder per class, into which photos are copied. Those that lie in it
            already are moved to their label.
        out: in place of `into`, a table to write, .csv or .jsonl.
        format: one of `choices.LABEL_FORMATS`; found out without.
        field: the name of the labels, where the file has several kinds.
        newest: take the newest of annotations that disagree.
        empty: photos without a label have none of the labels, in place of being left out.
        skip_missing: leave out photos that are not found.
        link: hard links in place of copies, where the disk allows them.
        overwrite: replace the table.

    Raises:
        UsageError: a wrong combination, or labels that the target cannot hold.
        DataError: the file is not as its format says, photos are missing or ambiguous.
        OutputError: something cannot be written.
    """
    file = Path(file)
    target = _target(into, out)
    with one_call():
        if out is not None:
            refuse_files([out], overwrite=overwrite)
        name = format or format_of(file)
        read = FORMATS[name].read(file, field=field, newest=newest)
        labels, renamed = _in_normal_form(read, file)
        left_out = Counter(read.left_out)
        folders = list(photos) or [file if file.is_dir() else file.parent]
        index = PhotoIndex(map(existing_folder, folders))
        entries = _find_all(labels, index, file, left_out, empty=empty, skip_missing=skip_missing)
        if not entries:
            rest = ", ".join(f"{what} ({n})" for what, n in left_out.items() if n) or "nothing"
            raise DataError(
                f"Expected photos with labels of the whole photo in {shown(file)}. Received: "
                f"{rest}. Label some, or choose another file."
            )
        several = labels.several or any(len(item.labels or ()) != 1 for _, item in entries)
        chosen = LabelFile(
            tuple(item for _, item in entries),
            classes_of([item for _, item in entries], labels.classes),
            several,
        )
        if out is not None:
            counts = _write_table(out, chosen, [picture for picture, _ in entries], left_out)
        else:
            counts = _place_all(target, entries, FORMATS[name].title, left_out, link=link)
    by_label = Counter(label for _, item in entries for label in item.labels or ())
    return Imported(
        name,
        target,
        counts,
        {label: by_label[label] for label in chosen.classes},
        {what: count for what, count in left_out.items() if count},
        renamed,
    )


def _target(into: Path | None, out: Path | None) -> Path:
    target = into if out is None else out
    if target is None or (into is not None and out is not None):
        raise UsageError(
            "Expected either --into with a folder for photos or --out with a table. Received: "
            f"{'neither' if into is None else 'both'}. Give one."
        )
    if out is not None and out.suffix.lower() not in TABLE_SUFFIXES:
        raise UsageError(
            f"Expected a table as --out, .csv or .jsonl. Received: {shown(out)}. Rename it, or "
            "give a folder of photos with --into."
        )
    if into is not None and into.exists() and not into.is_dir():
        raise UsageError(f"Expected a folder as --into. Received: {shown(into)}, a file.")
    return target


def _in_normal_form(labels: LabelFile, file: Path) -> tuple[LabelFile, dict[str, str]]:
    """Return a file's labels as pocketlens writes them, and which ones change by that."""
    forms = {
        label: normal_labels([label], "a label", file)[0]
        for label in classes_of(labels.items, labels.classes)
    }
    items = tuple(
        item
        if item.labels is None
        else replace(item, labels=tuple(dict.fromkeys(forms[label] for label in item.labels)))
        for item in labels.items
    )
    classes = tuple(dict.fromkeys(forms.values()))
    renamed = {label: form for label, form in forms.items() if label != form}
    return LabelFile(items, classes, labels.several, labels.left_out), renamed


def _find_all(
    labels: LabelFile,
    index: PhotoIndex,
    file: Path,
    left_out: Counter[str],
    *,
    empty: bool,
    skip_missing: bool,
) -> list[tuple[Picture, Item]]:
    """Return the photos that have labels, each once, with what is said of it."""
    found: dict[Picture, Item] = {}
    missing: list[str] = []
    ambiguous: list[str] = []
    names = {item.name for item in labels.items if item.picture is None}
    shared = {part for part, count in Counter(map(last_part, names)).items() if count > 1}
    for item in labels.items:
        if item.labels is None and not empty:
            left_out["photos without a label"] += 1
            continue
        item = item if item.labels is not None else replace(item, labels=())
        match = index.find(item)
        photos = match.photos
        if match.by_last_part and len(photos) == 1 and last_part(item.name) in shared:
            # Which of the file's 1.jpg the 1.jpg here is, nobody can say.
            photos = ()
        picture = _picture(item, photos)
        if picture is not None:
            before = found.setdefault(picture, item)
            if before is not item:
                _refuse_two(file, before, item)
                left_out["photos named twice"] += 1
        elif photos:
            places = " or ".join(shown(path) for path in photos[:2])
            ambiguous.append(f"{shown(item.name)} ({places})")
        else:
            missing.append(shown(item.name))
    if ambiguous:
        raise DataError(
            f"Expected one photo for each name in {shown(file)}. Received: several for "
            f"{_few(ambiguous)}. Give a folder with only one of them as --photos."
        )
    if missing and not skip_missing:
        raise DataError(
            f"Expected the photos of {shown(file)} in the given folders. Received: none for "
            f"{_few(missing)}. Give the folder that has them with --photos, or leave them out with "
            "--skip-missing."
        )
    left_out["photos that were not found"] += len(missing)
    return list(found.items())


def _picture(item: Item, paths: tuple[Path, ...]) -> Picture | None:
    """Return the photo that an item means, None if there is none or several fit equally well."""
    if item.picture is not None:
        # The photo from which the program's copy was made, if it is among those given.
        same = [path for path in paths if same_content(path, item.picture)]
        return same[0] if len(same) == 1 else item.picture
    return paths[0] if len(paths) == 1 else None


def _refuse_two(file: Path, one: Item, other: Item) -> None:
    """Raise DataError if a photo is named twice with different labels."""
    if set(one.labels or ()) == set(other.labels or ()):
        return
    names = {shown(one.name), shown(other.name)}
    said = " and ".join(", ".join(map(shown, item.labels or ())) or "none" for item in (one, other))
    raise DataError(
        f"Expected one label for each photo in {shown(file)}. Received: {said} for "
        f"{' and '.join(sorted(names))}, the same photo. Correct it there, or give a folder as "
        "--photos in which they are two."
    )


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more


def _write_table(
    out: Path, labels: LabelFile, pictures: list[Picture], left_out: Counter[str]
) -> dict[str, int]:
    root = out.absolute().parent
    paths: dict[str, str] = {}
    items = []
    for number, (item, picture) in enumerate(zip(labels.items, pictures, strict=True)):
        if isinstance(picture, Packed):
            raise UsageError(
                f"Expected photos on the disk for a table. Received: {shown(picture.entry)} inside "
                f"{shown(picture.archive)}. Unpack it and give the folder as --photos, or use "
                "--into."
            )
        # Names need not differ, photos do.
        named = replace(item, name=str(number))
        paths[named.name] = Path(os.path.relpath(picture.absolute(), root)).as_posix()
        items.append(named)
    if any(item.split for item in items) and not all(item.split for item in items):
        left_out["splits, since not all photos have one"] += sum(1 for i in items if i.split)
    data = table.write(out, LabelFile(tuple(items), labels.classes, labels.several), paths)
    write_bytes(out, data)
    return {"listed": len(items)}


def _place_all(
    into: Path,
    entries: list[tuple[Picture, Item]],
    program: str,
    left_out: Counter[str],
    *,
    link: bool,
) -> dict[str, int]:
    several = [item for _, item in entries if len(item.labels or ()) > 1]
    if several:
        raise UsageError(
            f"Expected one label for each photo, as folders need. Received: {len(several)} with "
            f"several, such as {shown(several[0].name)} ({', '.join(several[0].labels or ())}). "
            "Write a table: --out labels.csv"
        )
    photos = [
        Labelled(picture, item.labels[0], item.who or program, item.at)
        for picture, item in entries
        if item.labels
    ]
    counts, conflicts = place_photos(into, photos, link=link)
    left_out["photos without a label"] += len(entries) - len(photos)
    left_out["splits, which only a table keeps"] += sum(1 for _, item in entries if item.split)
    left_out["photos that somebody else moved meanwhile"] += len(conflicts)
    return {what: counts[what] for what in PLACED if counts.get(what)}
