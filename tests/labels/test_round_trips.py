"""Out in each format and in again: the same labels of the same photos, whatever they are called."""

import contextlib
import itertools
import json
import os
import string
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketlens.errors import LabelsError, UsageError
from pocketlens.labels import export_labels, import_labels
from pocketlens.names import to_label
from pocketlens.runtime.tables import read_table

SUFFIX = {"label-studio": "x.json", "cvat": "x.xml", "fiftyone": "x", "csv": "x.jsonl"}
# No file system takes a slash or a zero; ext4 takes all else, in up to 255 bytes.
CHARACTERS = st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"])
ODD = st.sampled_from(list("%#?&=;:+\\|'\"<> .\n\t\r\u0301é✿ſK"))
TEXT = st.text(st.one_of(CHARACTERS, ODD, st.sampled_from(string.ascii_letters)), min_size=1)
STEM = TEXT.map(lambda text: text[:40]).filter(
    lambda text: not text.startswith(".") and text.strip() and not text.endswith("|")
)
LABEL = TEXT.map(lambda text: to_label(text[:60])).filter(bool)


@st.composite
def labelled(draw: st.DrawFn) -> tuple[dict[str, list[str]], list[str]]:
    """Return labels by the names of photos, and their splits."""
    names = draw(st.lists(STEM, min_size=1, max_size=5, unique=True))
    suffixes = draw(st.lists(st.sampled_from([".jpg", ".PNG"]), min_size=5, max_size=5))
    labels = draw(st.lists(LABEL, min_size=1, max_size=4, unique=True))
    some = st.lists(st.sampled_from(labels), max_size=3, unique=True)
    photos = {n + s: draw(some) for n, s in zip(names, suffixes, strict=False)}
    # A table is of photos with labels.
    photos[next(iter(photos))] = [labels[0]]
    part = st.sampled_from(["train", "val", "test"])
    return photos, draw(st.lists(part, min_size=len(photos), max_size=len(photos)))


def write_photos(root: Path, names: Mapping[str, Any]) -> bool:
    """Write a different content for each photo; False where the disk takes two names for one."""
    root.mkdir()
    for number, name in enumerate(names):
        if os.path.lexists(root / name):
            return False
        (root / name).write_bytes(b"photo %d" % number)
    return True


@pytest.mark.parametrize("name", SUFFIX)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=labelled())
def test_labels_and_splits_come_back(
    name: str, drawn: tuple[dict[str, list[str]], list[str]]
) -> None:
    labels, splits = drawn
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if not write_photos(folder / "photos", labels):
            return
        lines = [
            json.dumps({"path": f"photos/{photo}", "labels": given, "split": split})
            for (photo, given), split in zip(labels.items(), splits, strict=True)
        ]
        (folder / "given.jsonl").write_text("\n".join(lines), "utf-8")
        file, out = folder / SUFFIX[name], folder / "again.jsonl"
        if not exported(folder / "given.jsonl", file, name):
            return
        # In CVAT and FiftyOne nothing tells a photo without a label from one that is not labelled.
        import_labels(file, photos=[folder / "photos"], out=out, empty=True)
        given, again = read_table(folder / "given.jsonl"), read_table(out)
        assert by_photo(again) == by_photo(given)


def exported(photos: Path, file: Path, name: str) -> bool:
    """Export photos; False for those with characters that XML 1.0 does not have."""
    if name in ("cvat", "label-studio"):
        # The labelling interface of Label Studio is XML, too.
        with contextlib.suppress(UsageError):
            export_labels(photos, file, name)
            return True
        return False
    export_labels(photos, file, name)
    return True


def by_photo(table: Any) -> dict[Path, Any]:
    splits = {photo.path: split for split, found in table.splits.items() for photo in found}
    return {
        photo.path.resolve(): (
            {table.labels[index] for index in photo.label_indices},
            splits.get(photo.path),
        )
        for photo in table.photos
    }


@pytest.mark.parametrize("name", SUFFIX)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(labels=st.lists(LABEL, min_size=1, max_size=3, unique=True), stem=STEM)
def test_folders_come_back(name: str, labels: list[str], stem: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        table = folder / "given.jsonl"
        (folder / "photos").mkdir()
        rows = []
        for number, label in enumerate(labels):
            photo = folder / "photos" / f"{number}{stem}.jpg"
            photo.write_bytes(b"photo %d" % number)
            rows.append(json.dumps({"path": f"photos/{photo.name}", "label": label}))
        table.write_text("\n".join(rows), "utf-8")
        try:
            import_labels(table, photos=[folder / "photos"], into=folder / "first")
        except (LabelsError, UsageError):
            # A label that is no name of a folder.
            return
        file = folder / SUFFIX[name]
        if not exported(folder / "first", file, name):
            return
        import_labels(file, photos=[folder / "first"], into=folder / "again")
        assert contents(folder / "again") == contents(folder / "first")
        assert len(contents(folder / "again")) == len(labels)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_names_that_are_no_utf8_come_back_where_the_format_has_bytes(tmp_path: Path) -> None:
    photo = os.fsencode(tmp_path / "photos" / "daisy") + b"/caf\xe9.jpg"
    (tmp_path / "photos" / "daisy").mkdir(parents=True)
    try:
        Path(os.fsdecode(photo)).write_bytes(b"photo")
    except OSError:
        pytest.skip("this disk takes UTF-8 names only")
    for number, (name, suffix) in enumerate(SUFFIX.items()):
        file, into = tmp_path / f"{number}{suffix}", tmp_path / f"into{number}"
        if name in ("cvat", "fiftyone"):
            with pytest.raises(UsageError, match=r"caf\\xe9"):
                export_labels(tmp_path / "photos", file, name)
            continue
        export_labels(tmp_path / "photos", file, name)
        import_labels(file, photos=[tmp_path / "photos"], into=into)
        assert contents(into) == contents(tmp_path / "photos")


def test_copies_come_with_the_file(tmp_path: Path) -> None:
    for split, label in itertools.product(("train", "test"), ("daisy", "rose")):
        folder = tmp_path / "photos" / split / label
        folder.mkdir(parents=True)
        (folder / "1.jpg").write_bytes(f"{split} {label}".encode())
    for name, file in (("cvat", "x.zip"), ("fiftyone", "x")):
        export_labels(tmp_path / "photos", tmp_path / file, name, copy=True)
        # Nowhere else to find them.
        (tmp_path / "empty").mkdir(exist_ok=True)
        into = tmp_path / f"{name} again"
        import_labels(tmp_path / file, photos=[tmp_path / "empty"], into=into)
        expected = [b"test daisy", b"test rose", b"train daisy", b"train rose"]
        assert sorted(contents(into).values()) == expected
        assert {path.split("/")[0] for path in contents(into)} == {"daisy", "rose"}
