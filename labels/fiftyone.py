"""FiftyOne's image classification datasets (labels.json) and whole datasets (samples.json).

The formats: https://docs.voxel51.com/user_guide/export_datasets, compared with files that FiftyOne
1.22 wrote (tests/labels/files).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pocketlens.errors import UsageError
from pocketlens.labels.items import (
    Item,
    LabelFile,
    classes_of,
    fail,
    read_json,
    refuse_unwritable,
    split_of,
    to_json,
    utc_time,
)
from pocketlens.names import shown
from pocketlens.runtime.photos import SUFFIXES, find_pictures, name_below

LABELS, SAMPLES, METADATA = "labels.json", "samples.json", "metadata.json"
DATA, MANIFEST = "data", "data.json"

_BY, _AT = "labelled_by", "labelled_at"
_ONE, _SEVERAL = "Classification", "Classifications"
_TRUTH = "ground_truth"


def recognizes(path: Path) -> bool:
    """Tell whether a file or folder may be one of FiftyOne's."""
    if path.is_dir():
        return bool(_datasets(path))
    if path.suffix.lower() != ".json":
        return False
    with path.open("rb") as stream:
        return stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{"


def read(path: Path, *, field: str | None = None, newest: bool = False) -> LabelFile:
    """Read a dataset: its folder, a folder with one for each split, or the JSON in it.

    Args:
        path: the folder or file.
        field: the field with the labels, of a whole dataset that has several.
        newest: means nothing here.

    Raises:
        DataError: it is no such file.
        UsageError: a whole dataset has several fields with labels and none is named.
    """
    del newest
    files = [(path, "")] if path.is_file() else _datasets(path)
    if not files:
        fail(path, f"{LABELS} or {SAMPLES} of FiftyOne", "neither")
    parts = [_read_one(file, split, field) for file, split in files]
    left_out: Counter[str] = Counter()
    for part in parts:
        left_out.update(part.left_out)
    items = tuple(item for part in parts for item in part.items)
    declared = [label for part in parts for label in part.classes]
    several = any(part.several for part in parts)
    return LabelFile(items, classes_of(items, declared), several, dict(left_out))


def _datasets(folder: Path) -> list[tuple[Path, str]]:
    """Return the JSON of the dataset in a folder, or of those in its folders for splits."""
    for name in (LABELS, SAMPLES):
        if (folder / name).is_file():
            return [(folder / name, "")]
    return [
        (child / name, split_of(child.name))
        for child in sorted(folder.iterdir())
        for name in (LABELS, SAMPLES)
        if split_of(child.name) and (child / name).is_file()
    ]


def _read_one(path: Path, split: str, field: str | None) -> LabelFile:
    values = read_json(path)
    if isinstance(values, dict) and isinstance(values.get("samples"), list):
        return _whole(path, values["samples"], split, field)
    if not isinstance(values, dict) or not isinstance(values.get("labels"), dict):
        fail(path, '"labels" or "samples" of FiftyOne', _keys(values))
    if field is not None:
        raise UsageError(
            f"Expected no --field for {shown(path)}, which has one label for each photo. "
            "Leave it out."
        )
    return _classification(path, values, split)


def _keys(values: Any) -> str:
    return ", ".join(list(values)[:6]) if isinstance(values, dict) else type(values).__name__


def _classification(path: Path, values: Mapping[str, Any], split: str) -> LabelFile:
    classes = values.get("classes")
    if not isinstance(classes, list | None) or not all(isinstance(c, str) for c in classes or ()):
        fail(path, "classes as a list of texts", str(classes)[:80])
    names = classes or []
    find = _places(path)
    items, several = [], False
    for uuid, target in values["labels"].items():
        several = several or isinstance(target, list)
        place = find(uuid)
        item = Item(uuid, None, split, bare=True) if place is None else _at(path, place, split)
        items.append(_with_target(path, item, target, names))
    return LabelFile(tuple(items), classes_of(items, names), several)


def _at(path: Path, place: str, split: str) -> Item:
    """Return the item of a picture that a dataset's JSON says is at `place`.

    Only what is in the dataset's folder is taken from there: a path that leads out of it is a
    name like any other.
    """
    if os.path.isabs(place) or ".." in PurePosixPath(place).parts:
        return Item(place, None, split)
    picture = path.parent / place
    name = PurePosixPath(place)
    name = name.relative_to(DATA) if name.parts[:1] == (DATA,) else name
    return Item(name.as_posix(), None, split, picture=picture if picture.is_file() else None)


def _with_target(path: Path, item: Item, target: Any, classes: list[str]) -> Item:
    if target is None:
        return item
    labels, who, at = [], "", ""
    for entry in target if isinstance(target, list) else [target]:
        label = entry.get("label") if isinstance(entry, dict) else entry
        if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(classes):
            label = classes[label]
        if not isinstance(label, str):
            fail(path, f"a label or its number for {shown(item.name)}", str(label)[:80])
        labels.append(label)
        attributes = entry.get("attributes") if isinstance(entry, dict) else None
        if isinstance(attributes, dict):
            who, at = str(attributes.get(_BY) or who), utc_time(attributes.get(_AT)) or at
    return Item(
        item.name,
        tuple(dict.fromkeys(labels)),
        item.split,
        who,
        at,
        picture=item.picture,
        bare=item.bare,
    )


def _places(path: Path) -> Callable[[str], str | None]:
    """Return how the pictures of a labels.json are found by the names in it, which lack the suffix.

    What is found are paths from the dataset's folder, from the manifest as they are.
    """
    folder = path.parent
    found: dict[str, str] = {}
    whole: dict[str, str] = {}
    if (folder / MANIFEST).is_file():
        manifest = read_json(folder / MANIFEST)
        if not isinstance(manifest, dict):
            fail(folder / MANIFEST, "names and paths of pictures", _keys(manifest))
        for key, value in manifest.items():
            if not isinstance(value, str):
                fail(folder / MANIFEST, "names and paths of pictures", str(value)[:80])
            stem, suffix = os.path.splitext(key)
            # FiftyOne writes them without the suffix of the picture, and reads them with it.
            found[stem if suffix.lower() in SUFFIXES else key] = value
            whole[key] = value
    elif (folder / DATA).is_dir():
        for picture in find_pictures(folder / DATA):
            name = name_below(picture, folder)
            found[os.path.splitext(name_below(picture, folder / DATA))[0]] = name
    return lambda uuid: found.get(uuid) or whole.get(uuid)


def _whole(path: Path, samples: list[Any], split: str, field: str | None) -> LabelFile:
    left_out: Counter[str] = Counter()
    if not all(isinstance(sample, dict) for sample in samples):
        fail(path, "samples as objects", "something else")
    field = _field(path, samples, field)
    items, several = [], False
    for sample in samples:
        name = sample.get("filepath")
        if not isinstance(name, str):
            fail(path, "a path for each sample", str(name)[:80])
        for key, value in sample.items():
            if key != field and isinstance(value, dict) and "_cls" in value:
                left_out[f"field {shown(key)}"] += 1
        tags = [tag for tag in sample.get("tags") or () if isinstance(tag, str)]
        splits = [split_of(tag) for tag in tags if split_of(tag)]
        left_out["tags"] += len(tags) - len(splits)
        item = _at(path, name, splits[0] if len(set(splits)) == 1 else split)
        value = sample.get(field) if field else None
        if isinstance(value, dict):
            several = several or value.get("_cls") == _SEVERAL
            target = value.get("classifications") if value.get("_cls") == _SEVERAL else value
            item = _with_target(path, item, _with_attributes(target), [])
        items.append(item)
    counts = {name: count for name, count in left_out.items() if count}
    return LabelFile(tuple(items), classes_of(items), several, counts)


def _with_attributes(target: Any) -> Any:
    """Return labels of a sample as labels.json has them: with their attributes in one place."""
    if isinstance(target, list):
        return [_with_attributes(entry) for entry in target]
    if not isinstance(target, dict):
        return target
    return {"label": target.get("label"), "attributes": target}


def _field(path: Path, samples: list[Any], field: str | None) -> str | None:
    kinds: dict[str, set[str]] = {}
    for sample in samples:
        for key, value in sample.items():
            if isinstance(value, dict) and value.get("_cls") in (_ONE, _SEVERAL):
                kinds.setdefault(key, set()).add(str(value["_cls"]))
    names = sorted(kinds)
    if field is not None:
        if field not in names:
            raise UsageError(
                f"Expected --field as one of {', '.join(map(shown, names)) or 'none'}, the labels "
                f"in {shown(path)}. Received: {shown(field)}."
            )
        return field
    if len(names) > 1:
        raise UsageError(
            f"Expected one field with labels in {shown(path)}. Received: "
            f"{', '.join(map(shown, names))}. Name one with --field."
        )
    return names[0] if names else None


def write(
    labels: LabelFile, paths: Mapping[str, str], *, copied: bool
) -> Iterator[tuple[str, bytes | str]]:
    """Yield the files of a dataset's folder: name, and contents or the path of the photo to copy.

    Splits become folders of their own, each a dataset that FiftyOne adds with the split as a tag.

    Args:
        labels: the photos; those without labels get none there either.
        paths: the path of each photo by its name, as the manifest is to have it.
        copied: whether the photos are copied into the folder.
    """
    refuse_unwritable((*labels.classes, *(item.name for item in labels.items)), "FiftyOne")
    splits = dict.fromkeys(item.split for item in labels.items)
    for split in splits:
        items = [item for item in labels.items if item.split == split]
        before = f"{split}/" if split else ""
        yield from _write_one(items, labels, paths, before, copied=copied)


def _write_one(
    items: list[Item],
    labels: LabelFile,
    paths: Mapping[str, str],
    before: str,
    *,
    copied: bool,
) -> Iterator[tuple[str, bytes | str]]:
    number = {label: position for position, label in enumerate(labels.classes)}
    targets: dict[str, Any] = {}
    manifest: dict[str, str] = {}
    for item in items:
        stem, suffix = os.path.splitext(item.name)
        # FiftyOne knows a photo by its name without the suffix: a.jpg and a.png are one to it.
        uuid, count = stem, 1
        while uuid in targets:
            count += 1
            uuid = f"{stem}-{count}"
        targets[uuid] = _target(item, number, several=labels.several)
        manifest[uuid + suffix] = paths[item.name]
    payload = {"classes": list(labels.classes), "labels": targets}
    yield before + LABELS, to_json(payload)
    if copied:
        for name, path in manifest.items():
            yield f"{before}{DATA}/{name}", path
    else:
        up = "../" if before else ""
        as_seen = {
            name: path if os.path.isabs(path) else up + path for name, path in manifest.items()
        }
        yield before + MANIFEST, to_json(as_seen)


def _target(item: Item, number: Mapping[str, int], *, several: bool) -> Any:
    if item.labels is None:
        return None
    about = {name: value for name, value in ((_BY, item.who), (_AT, item.at)) if value}
    entries: list[Any] = [number[label] for label in item.labels]
    if about:
        entries = [{"label": entry, "attributes": about} for entry in entries]
    if several:
        return entries
    return entries[0] if entries else None
