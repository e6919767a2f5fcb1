"""Files that the programs wrote (see files/README.md): every label is read, nothing else."""

import json
from pathlib import Path

import pytest
from PIL import Image

from pocketlens.labels import import_labels
from pocketlens.runtime.tables import read_table

FILES = Path(__file__).parent / "files"
# As tests/peers/labels.py had them labelled; every second one is also wet.
LABELS = {
    "daisy/1.jpg": "daisy",
    "daisy/été 2.2024.jpg": "daisy",
    "rose/7.jpg": "rose",
    "rose/ñandú #3 & co.png": "rose",
    "Röße, ✿|x/一.jpg": "Röße, ✿|x",
    '<wet> & "dry"/o\'x.png': '<wet> & "dry"',
}
SPLITS = ("train", "val", "test", "train", "train", "train")
SEVERAL = {
    name: {label, "wet"} if index % 2 else {label}
    for index, (name, label) in enumerate(LABELS.items())
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for index, name in enumerate(LABELS):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8 + index, 6), (30 * index, 90, 120)).save(root / name)
    return root


def read_back(table: Path, photos: Path) -> tuple[dict[str, set[str]], dict[str, str]]:
    """Return labels and split of each photo of a table, by its path below the photos."""
    read = read_table(table)
    names = {photo: photo.path.resolve().relative_to(photos).as_posix() for photo in read.photos}
    labels = {names[p]: {read.labels[index] for index in p.label_indices} for p in read.photos}
    return labels, {names[p]: split for split, found in read.splits.items() for p in found}


@pytest.mark.parametrize(
    ("file", "field", "left_out"),
    [
        ("datumaro", None, {"boxes": 1}),
        ("fiftyone", "kinds", {"field truth": 6, "field guess": 6, "field boxes": 6, "tags": 6}),
        ("label_studio/uploads.json", None, {"boxes": 1, "skipped annotations": 1}),
        ("label_studio/uploads.min.json", None, {"boxes": 1}),
        ("label_studio/several-back.json", None, {}),
        ("label_studio/several-back.min.json", None, {}),
    ],
)
def test_photos_with_several_labels(
    file: str, field: str | None, left_out: dict[str, int], photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "table.jsonl"
    imported = import_labels(FILES / file, photos=[photos], out=out, field=field)
    labels, splits = read_back(out, photos)
    assert labels == SEVERAL
    assert imported.left_out == left_out
    if "uploads" not in file:
        assert splits == dict(zip(LABELS, SPLITS, strict=True))


@pytest.mark.parametrize(
    ("file", "field"),
    [
        ("fiftyone", "truth"),
        ("fiftyone_images", None),
        ("label_studio/one-back.json", None),
        ("label_studio/one-back.min.json", None),
    ],
)
def test_photos_with_one_label(file: str, field: str | None, photos: Path, tmp_path: Path) -> None:
    into = tmp_path / "into"
    imported = import_labels(FILES / file, photos=[photos], into=into, field=field)
    assert imported.counts == {"added": len(LABELS)}
    for name, label in LABELS.items():
        copy = into / label / Path(name).name
        assert copy.read_bytes() == (photos / name).read_bytes()


def test_who_labelled_when_is_known(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.jsonl"
    import_labels(FILES / "label_studio" / "uploads.json", photos=[photos], out=out)
    tasks = json.loads((FILES / "label_studio" / "uploads.json").read_text("utf-8"))
    times = {task["annotations"][0]["updated_at"][:19] for task in tasks}
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert {row["labelled_by"] for row in rows} == {"Label Studio user 1"}
    assert {row["labelled_at"][:19] for row in rows} == times
