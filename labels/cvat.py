"""CVAT for images 1.1: XML in which tags are the labels of whole pictures, alone or in a zip.

The format: https://docs.cvat.ai/docs/other/xml_format, compared with files that datumaro 1.13
wrote (tests/labels/files).
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from pocketlens.errors import DataError, UsageError
from pocketlens.labels.items import (
    DAMAGED_ZIP,
    Item,
    LabelFile,
    Packed,
    classes_of,
    fail,
    refuse_unwritable,
    split_of,
)
from pocketlens.names import shown
from pocketlens.runtime.photos import SUFFIXES

ANNOTATIONS, IMAGES = "annotations.xml", "images"

# Far more than a million pictures need; an archive can unpack to a thousand times its size.
_MOST_XML_BYTES = 1 << 30
_MOST_ENTRIES = 1_000_000
_MOST_TIMES = 20
_DEEPEST = 64
_CHUNK = 1 << 20
_SHAPES = {"box": "boxes", "mask": "masks", "points": "groups of points"}
_NOT_SHAPES = {"tag", "attribute"}


class _Reader:
    """Gathers images and tags while expat reads; nothing is expanded, nothing else is opened."""

    def __init__(self, path: Path, split: str) -> None:
        self.path, self.split = path, split
        self.items: list[Item] = []
        self.classes: list[str] = []
        self.left_out: Counter[str] = Counter()
        self._open: list[str] = []
        self._text: list[str] = []
        self._image: dict[str, str] | None = None
        self._tags: list[str] = []

    def read(self, stream: IO[bytes]) -> None:
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        # No file of CVAT has any; entities can make a gigabyte of a line or name other files.
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        parser.buffer_text = True
        read_bytes = 0
        try:
            while chunk := stream.read(_CHUNK):
                read_bytes += len(chunk)
                if read_bytes > _MOST_XML_BYTES:
                    fail(self.path, f"at most {_MOST_XML_BYTES >> 20} MB of XML", "more")
                parser.Parse(chunk, False)
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            fail(self.path, "XML", str(error))

    def _refuse_doctype(self, *_: object) -> None:
        raise DataError(
            f"Expected CVAT's XML in {shown(self.path)}. Received: a document type, with which "
            "entities can be declared. CVAT writes none: export it again."
        )

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self._open and tag != "annotations":
            fail(self.path, "annotations as the outermost element of CVAT's XML", tag)
        self._open.append(tag)
        if len(self._open) > _DEEPEST:
            fail(self.path, f"at most {_DEEPEST} elements in each other", "more")
        self._text = []
        if tag == "image":
            if "name" not in attributes:
                fail(self.path, "a name for each image", "none")
            self._image, self._tags = attributes, []
        elif self._open == ["annotations", "track"]:
            self.left_out["tracks"] += 1
        elif tag == "tag" and self._image is not None:
            if "label" not in attributes:
                fail(self.path, "a label for each tag", "none")
            self._tags.append(attributes["label"])
        elif self._image is not None and self._open[-2] == "image" and tag not in _NOT_SHAPES:
            self.left_out[_SHAPES.get(tag, f"{tag}s")] += 1
        elif tag == "attribute" and self._image is not None and self._open[-2] == "tag":
            self.left_out["attributes of tags"] += 1

    def _end(self, tag: str) -> None:
        if tag == "name" and self._open[-3:-1] == ["labels", "label"]:
            self.classes.append("".join(self._text))
        if tag == "image" and self._image is not None:
            subset = self._image.get("subset", "")
            split = split_of(subset) or self.split
            # What CVAT and datumaro call it where nobody has named any.
            if subset and not split and subset.lower() != "default":
                self.left_out["subsets that are no split"] += 1
            labels = tuple(dict.fromkeys(self._tags)) or None
            self.items.append(Item(self._image["name"], labels, split))
            self._image = None
        self._open.pop()

    def _characters(self, text: str) -> None:
        self._text.append(text)


def recognizes(path: Path) -> bool:
    """Tell whether a file may be one of CVAT's: XML, a zip with XML, a folder with XML."""
    if path.is_dir():
        return any(path.glob("*.xml"))
    if path.suffix.lower() == ".xml":
        return True
    return zipfile.is_zipfile(path)


def read(path: Path, *, field: str | None = None, newest: bool = False) -> LabelFile:
    """Read images with their tags: XML, a zip as CVAT exports it, or such a folder.

    Raises:
        DataError: it is no such file, or has a document type.
    """
    del newest
    if field is not None:
        raise UsageError("Expected no --field for CVAT, which has one kind of tags. Leave it out.")
    if path.is_dir():
        return _together([_xml(file, _named(file)) for file in sorted(path.glob("*.xml"))])
    if path.suffix.lower() == ".xml":
        return _xml(path)
    return _zip(path)


def _named(file: Path) -> str:
    """Return the split that a file's name stands for; datumaro writes a file for each."""
    return split_of(file.stem)


def _xml(path: Path, split: str = "") -> LabelFile:
    with path.open("rb") as stream:
        return _parse(path, stream, split)


def _parse(path: Path, stream: IO[bytes], split: str = "") -> LabelFile:
    reader = _Reader(path, split)
    reader.read(stream)
    return _file(reader.items, reader.classes, reader.left_out)


def _file(items: Iterable[Item], classes: Iterable[str], left_out: Mapping[str, int]) -> LabelFile:
    items = tuple(items)
    several = any(len(item.labels or ()) > 1 for item in items)
    return LabelFile(items, classes_of(items, list(classes)), several, dict(left_out))


def _together(files: list[LabelFile]) -> LabelFile:
    left_out: Counter[str] = Counter()
    for file in files:
        left_out.update(file.left_out)
    return _file(
        [item for file in files for item in file.items],
        [label for file in files for label in file.classes],
        left_out,
    )


def _zip(path: Path) -> LabelFile:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > _MOST_ENTRIES:
                fail(path, f"at most {_MOST_ENTRIES} files in an archive", str(len(entries)))
            files = []
            _refuse_bomb(path, entries)
            for entry in filter(_is_visible, entries):
                if entry.filename.lower().endswith(".xml"):
                    with archive.open(entry) as stream:
                        files.append(_parse(path, stream, _named(Path(entry.filename))))
    except DAMAGED_ZIP as error:
        fail(path, "a zip archive", str(error))
    if not files:
        fail(path, f"{ANNOTATIONS} of CVAT for images", "an archive without XML")
    pictures = {
        entry.filename
        for entry in filter(_is_visible, entries)
        if Path(entry.filename).suffix.lower() in SUFFIXES and not entry.is_dir()
    }
    labels = _together(files)
    return LabelFile(
        tuple(_with_picture(path, item, pictures) for item in labels.items),
        labels.classes,
        labels.several,
        labels.left_out,
    )


def _is_visible(entry: zipfile.ZipInfo) -> bool:
    """Tell whether a file in an archive is none that macOS has put there."""
    return not any(part.startswith((".", "__MACOSX")) for part in entry.filename.split("/"))


def _refuse_bomb(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Raise DataError for an archive that unpacks to far more than pictures do."""
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > _MOST_XML_BYTES + _MOST_TIMES * path.stat().st_size:
        fail(path, "an archive of photos", f"one that unpacks to {unpacked >> 20} MB")


def _with_picture(path: Path, item: Item, pictures: set[str]) -> Item:
    """Return an item with its picture in the archive, which is found by its whole name only."""
    for name in (f"{IMAGES}/{item.name}", f"{IMAGES}/{item.split}/{item.name}", item.name):
        if name in pictures:
            return Item(item.name, item.labels, item.split, picture=Packed(path, name))
    return item


def write(labels: LabelFile, sizes_wh: Mapping[str, tuple[int, int]]) -> bytes:
    """Return the XML of photos; with splits as those of a project's subsets.

    Args:
        labels: the photos; those without labels become images without tags.
        sizes_wh: width and height in pixels of those that can be read, by name.
    """
    names = (item.name for item in labels.items)
    refuse_unwritable((*labels.classes, *names), "CVAT", xml=True)
    stream = io.StringIO()
    stream.write(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
    )
    subsets = list(dict.fromkeys(item.split for item in labels.items if item.split))
    _write_meta(stream, labels, subsets)
    for number, item in enumerate(labels.items):
        attributes: dict[str, Any] = {"id": number, "name": item.name}
        attributes |= {"subset": item.split} if subsets else {}
        attributes |= dict(zip(("width", "height"), sizes_wh.get(item.name, ()), strict=False))
        stream.write(f"  <image {_attributes(attributes)}>\n")
        for label in item.labels or ():
            tag = _attributes({"label": label, "source": "manual"})
            stream.write(f"    <tag {tag}>\n    </tag>\n")
        stream.write("  </image>\n")
    stream.write("</annotations>\n")
    return stream.getvalue().encode("utf-8")


def _write_meta(stream: IO[str], labels: LabelFile, subsets: list[str]) -> None:
    kind = "project" if subsets else "task"
    stream.write(f"  <meta>\n    <{kind}>\n      <name>pocketlens</name>\n")
    if subsets:
        names = "".join(f"<subset>{escape(name)}</subset>" for name in subsets)
        stream.write(f"      <subsets>{names}</subsets>\n")
    else:
        stream.write(f"      <size>{len(labels.items)}</size>\n      <mode>annotation</mode>\n")
    stream.write("      <labels>\n")
    for label in labels.classes:
        name = escape(label).replace("\r", "&#13;")
        stream.write(
            f"        <label>\n          <name>{name}</name>\n          <type>tag</type>\n"
            "          <attributes>\n          </attributes>\n        </label>\n"
        )
    stream.write(f"      </labels>\n    </{kind}>\n  </meta>\n")


def _attributes(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={quoteattr(str(value))}" for name, value in values.items())
