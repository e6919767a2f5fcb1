"""Photos are found without doubt, placed without loss, and in a project by its journal."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pocketlens.errors import DataError, LabelsError, OutputExistsError, UsageError
from pocketlens.labels import export_labels, import_labels
from pocketlens.project import create_project
from pocketlens.runtime.inbox import FrameInfo, add
from pocketlens.runtime.labelling import read_journal


def write(folder: Path, photos: Mapping[str, str]) -> Path:
    for name, content in photos.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode())
    return folder


def read(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().decode()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def tasks(path: Path, labels: Mapping[str, Any], **more: Any) -> Path:
    """Write a file of Label Studio with a label for the address of each photo."""
    found = []
    for number, (image, label) in enumerate(labels.items()):
        answers = label if isinstance(label, list) else [label]
        annotations = [
            {
                "result": [
                    {
                        "from_name": "label",
                        "to_name": "image",
                        "type": "choices",
                        "value": {"choices": [answer]},
                    }
                ],
                "created_at": f"2026-11-0{index + 1}T10:00:00.500Z",
                "completed_by": {"email": f"p{index}@example.com"},
            }
            for index, answer in enumerate(answers)
        ]
        found.append({"id": number, "data": {"image": image}, "annotations": annotations, **more})
    path.write_text(json.dumps(found), "utf-8")
    return path


@pytest.mark.parametrize(
    ("address", "photo"),
    [
        ("/data/upload/7/0a1b2c3d-b.jpg", "b.jpg"),
        ("/data/upload/7/0a1b2c3d-my_photo_1.jpg", "my photo (1).jpg"),
        ("/data/local-files/?d=all/daisy/a%20b.jpg", "daisy/a b.jpg"),
        ("https://host/x/rose/a%20b.jpg?sig=1#x", "rose/a b.jpg"),
        ("s3://bucket/rose/a b.jpg", "rose/a b.jpg"),
        ("/home/anna/photos/daisy/a b.jpg", "daisy/a b.jpg"),
        ("C:\\photos\\daisy\\a b.jpg", "daisy/a b.jpg"),
        ("100%25.jpg", "100%25.jpg"),
        ("caf\u00e9.jpg", "cafe\u0301.jpg"),
        ("../../../b.jpg", "b.jpg"),
    ],
)
def test_a_photo_is_found_by_the_end_of_its_name(address: str, photo: str, tmp_path: Path) -> None:
    names = ("b.jpg", "my photo (1).jpg", "daisy/a b.jpg", "rose/a b.jpg", "100%25.jpg")
    photos = write(tmp_path / "photos", {name: name for name in (*names, "cafe\u0301.jpg")})
    file = tasks(tmp_path / "t.json", {address: "daisy"})
    import_labels(file, photos=[photos], into=tmp_path / "into")
    assert list(read(tmp_path / "into").values()) == [photo]


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        (["/data/upload/1/0a1b2c3d-a.jpg"], "several for /data/upload/1/0a1b2c3d-a.jpg"),
        (["tulips/a.jpg"], "several for tulips/a.jpg"),
        (["x/nowhere.jpg"], "none for x/nowhere.jpg"),
        (["/etc/passwd"], "none for /etc/passwd"),
        (["daisy/.."], "none for daisy/.."),
        # Which of the two b.jpg the one that is there is, nobody can say.
        (["one/b.jpg", "two/b.jpg"], "none for one/b.jpg, two/b.jpg"),
        (["data:image/png;base64,AAAA"], "none for data:image"),
    ],
)
def test_what_is_not_found_without_doubt_is_refused(
    addresses: list[str], said: str, tmp_path: Path
) -> None:
    photos = write(tmp_path / "photos", {"daisy/a.jpg": "1", "rose/a.jpg": "2", "rose/b.jpg": "3"})
    file = tasks(tmp_path / "t.json", dict.fromkeys(addresses, "daisy"))
    with pytest.raises(DataError, match="Expected") as error:
        import_labels(file, photos=[photos], into=tmp_path / "into")
    assert said in str(error.value)
    assert not (tmp_path / "into").exists()


def test_missing_photos_are_left_out_if_that_is_wanted(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"a.jpg": "1"})
    file = tasks(tmp_path / "t.json", {"a.jpg": "daisy", "b.jpg": "daisy"})
    imported = import_labels(file, photos=[photos], into=tmp_path / "into", skip_missing=True)
    assert imported.left_out == {"photos that were not found": 1}


def test_people_who_disagree(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"a.jpg": "1", "b.jpg": "2"})
    file = tasks(tmp_path / "t.json", {"a.jpg": ["rose", "daisy"], "b.jpg": ["rose", "rose"]})
    with pytest.raises(DataError, match=r"a\.jpg .* disagree: rose by p0@.* and daisy by p1@"):
        import_labels(file, photos=[photos], out=tmp_path / "x.csv")
    import_labels(file, photos=[photos], out=tmp_path / "x.csv", newest=True)
    text = (tmp_path / "x.csv").read_text("utf-8").splitlines()
    assert text[1] == '"photos/a.jpg","daisy","p1@example.com","2026-11-02T10:00:00.500Z"'


def test_one_photo_with_two_names(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"a.jpg": "1"})
    same = tasks(tmp_path / "same.json", {"a.jpg": "rose", "./a.jpg": "rose"})
    imported = import_labels(same, photos=[photos], into=tmp_path / "into")
    assert imported.counts == {"added": 1}
    assert imported.left_out == {"photos named twice": 1}
    other = tasks(tmp_path / "other.json", {"a.jpg": "rose", "./a.jpg": "daisy"})
    with pytest.raises(DataError, match=r"rose and daisy for \./a\.jpg and a\.jpg"):
        import_labels(other, photos=[photos], into=tmp_path / "into2")


def test_nothing_is_overwritten_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"a.jpg": "new", "b.jpg": "b"})
    into = write(tmp_path / "into", {"rose/a.jpg": "old", "rose/b.jpg": "b"})
    file = tasks(tmp_path / "t.json", {"a.jpg": "rose", "b.jpg": "rose"})
    expected = {"rose/a.jpg": "old", "rose/a-2.jpg": "new", "rose/b.jpg": "b"}
    for counts in ({"added": 1, "already there": 1}, {"already there": 2}):
        assert import_labels(file, photos=[photos], into=into).counts == counts
        assert read(into) == expected
    (tmp_path / "x.csv").write_text("mine", "utf-8")
    with pytest.raises(OutputExistsError):
        import_labels(file, photos=[photos], out=tmp_path / "x.csv")


def test_photos_that_are_there_move_to_their_new_label(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"daisy/a.jpg": "1", "rose/b.jpg": "2"})
    file = tasks(tmp_path / "t.json", {"daisy/a.jpg": "rose", "rose/b.jpg": "rose"})
    imported = import_labels(file, photos=[photos], into=photos)
    assert imported.counts == {"moved": 1, "already there": 1}
    assert read(photos) == {"rose/a.jpg": "1", "rose/b.jpg": "2"}


def test_links(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"a.jpg": "1"})
    file = tasks(tmp_path / "t.json", {"a.jpg": "rose"})
    import_labels(file, photos=[photos], into=tmp_path / "into", link=True)
    assert (tmp_path / "into/rose/a.jpg").samefile(photos / "a.jpg")


def test_labels_in_other_unicode_forms_are_one_and_said(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"a.jpg": "1", "b.jpg": "2", "c.jpg": "3"})
    into = write(tmp_path / "into", {"cafe\u0301/z.jpg": "4"})
    labels = {"a.jpg": "cafe\u0301", "b.jpg": "caf\u00e9 ", "c.jpg": "Caf\u00e9"}
    file = tasks(tmp_path / "t.json", labels)
    imported = import_labels(file, photos=[photos], into=into)
    assert imported.renamed == {"cafe\u0301": "caf\u00e9", "caf\u00e9 ": "caf\u00e9"}
    assert imported.by_label == {"Caf\u00e9": 1, "caf\u00e9": 2}
    found = read(into)
    assert set(found) >= {"cafe\u0301/a.jpg", "cafe\u0301/b.jpg", "Caf\u00e9/c.jpg"}


@pytest.mark.parametrize(
    "label", ["../up", "/etc", "a/b", ".hidden", "__MACOSX", "x" * 256, "..", ""]
)
def test_labels_that_are_no_folder(label: str, tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"a.jpg": "1"})
    file = tasks(tmp_path / "t.json", {"a.jpg": label})
    with pytest.raises((LabelsError, DataError), match="Expected"):
        import_labels(file, photos=[photos], into=tmp_path / "into")
    assert read(tmp_path) == {"photos/a.jpg": "1", "t.json": file.read_text("utf-8")}
    if label and len(label) < 200:
        import_labels(file, photos=[photos], out=tmp_path / "x.csv")


def test_labels_that_would_be_splits(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"a.jpg": "1", "b.jpg": "2"})
    file = tasks(tmp_path / "t.json", {"a.jpg": "train", "b.jpg": "test"})
    with pytest.raises(UsageError, match="no splits"):
        import_labels(file, photos=[photos], into=tmp_path / "into")


def test_several_labels_need_a_table(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"a.jpg": "1"})
    (tmp_path / "t.csv").write_text("path,labels\nphotos/a.jpg,rose|wet\n", "utf-8")
    with pytest.raises(UsageError, match="1 with several, such as"):
        import_labels(tmp_path / "t.csv", photos=[photos], into=tmp_path / "into")
    export_labels(tmp_path / "t.csv", tmp_path / "x.json", "label-studio")
    assert 'choice="multiple"' in (tmp_path / "x.xml").read_text("utf-8")


def test_csv_that_cannot_hold_a_label_names_the_other_table(tmp_path: Path) -> None:
    row = {"path": "a.jpg", "labels": ["a|b", "c"]}
    (tmp_path / "t.jsonl").write_text(json.dumps(row), "utf-8")
    write(tmp_path, {"a.jpg": "1"})
    with pytest.raises(UsageError, match=r"Write a \.jsonl table"):
        import_labels(tmp_path / "t.jsonl", out=tmp_path / "x.csv")


def test_a_table_needs_photos_outside_of_an_archive(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"rose/a.jpg": "1"})
    export_labels(photos, tmp_path / "x.zip", "cvat", copy=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="inside"):
        import_labels(tmp_path / "x.zip", photos=[tmp_path / "empty"], out=tmp_path / "x.csv")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return create_project(tmp_path / "flowers", ["daisy", "rose"]).root


def frame(project: Path, content: bytes, scores: Mapping[str, float]) -> Path:
    info = FrameInfo(1.7e9, "camera", (8, 6), "unsure", scores, model="flowers_int8.tflite")
    return add(project / "inbox", content, info).path


def test_an_inbox_goes_out_with_predictions_and_comes_back_with_labels(project: Path) -> None:
    first = frame(project, b"one", {"daisy": 0.6, "rose": 0.4})
    second = frame(project, b"two", {"daisy": 0.1, "rose": 0.9})
    out = project / "tasks.json"
    exported = export_labels(project / "inbox", out, "label-studio")
    assert (exported.unlabelled, exported.with_scores) == (2, 2)
    written = json.loads(out.read_text("utf-8"))
    assert "annotations" not in written[0]
    assert written[0]["predictions"][0]["model_version"] == "flowers_int8.tflite"
    assert written[0]["predictions"][0]["score"] in (0.6, 0.9)
    interface = (project / "tasks.xml").read_text("utf-8")
    assert [f'value="{label}"' in interface for label in ("daisy", "rose", "unknown")] == [True] * 3
    # Somebody labels both in Label Studio.
    for task in written:
        chosen = task["predictions"][0]["result"]
        task["annotations"] = [
            {
                "result": chosen,
                "created_at": "2026-11-30T12:00:00.250Z",
                "completed_by": {"email": "anna@example.com"},
            }
        ]
    out.write_text(json.dumps(written), "utf-8")
    folders = [project / "inbox", project / "photos"]
    imported = import_labels(out, photos=folders, into=project / "photos")
    assert imported.counts == {"moved": 2}
    assert not any((project / "inbox").iterdir())
    names = {path.name for path in (project / "photos").rglob("*.jpg")}
    assert names == {first.name, second.name}
    # The .json goes with its picture.
    assert len(list((project / "photos").rglob("*.json"))) == 2
    entries = read_journal(project / "labels.csv")
    assert {(entry.who, entry.action, entry.reason) for entry in entries} == {
        ("anna@example.com", "label", "unsure")
    }
    assert {entry.at_s for entry in entries} == {1796040000.25}
    # A second time nothing changes, not even the journal.
    again = import_labels(out, photos=folders, into=project / "photos")
    assert again.counts == {"already there": 2}
    assert read_journal(project / "labels.csv") == entries


def test_who_and_when_of_a_journal_come_back(project: Path, tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"a.jpg": "1", "b.jpg": "2"})
    file = tasks(tmp_path / "t.json", {"a.jpg": "rose", "b.jpg": "daisy"})
    assert import_labels(file, photos=[photos], into=project / "photos").counts == {"added": 2}
    for name, target in (("label-studio", "x.json"), ("fiftyone", "x"), ("csv", "x.jsonl")):
        export_labels(project / "photos", tmp_path / target, name)
        out = tmp_path / f"{name}.jsonl"
        import_labels(tmp_path / target, photos=[project / "photos"], out=out)
        rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
        assert {row["labelled_by"] for row in rows} == {"p0@example.com"}
        assert {row["labelled_at"] for row in rows} == {"2026-11-01T10:00:00.500Z"}
    left_out = export_labels(project / "photos", tmp_path / "c.xml", "cvat").left_out
    assert left_out == {"who labelled them and when": 2}


def test_labels_that_a_project_does_not_have_are_refused(project: Path, tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"a.jpg": "1"})
    file = tasks(tmp_path / "t.json", {"a.jpg": "Rose"})
    with pytest.raises(LabelsError, match=r"Received: Rose\. Add them to classes"):
        import_labels(file, photos=[photos], into=project / "photos")
    assert not read_journal(project / "labels.csv")


def test_pictures_of_a_dataset_that_are_in_the_inbox_are_moved_from_there(project: Path) -> None:
    picture = frame(project, b"one", {})
    data = project.parent / "dataset"
    write(data / "data", {picture.name: "one"})
    labels = {"classes": ["rose"], "labels": {picture.stem: 0}}
    (data / "labels.json").write_text(json.dumps(labels), "utf-8")
    folders = [project / "inbox", project / "photos"]
    imported = import_labels(data, photos=folders, into=project / "photos")
    assert imported.counts == {"moved": 1}
    assert not picture.exists()


def test_zip_of_cvat_as_a_project_has_it(tmp_path: Path) -> None:
    xml = """<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta>
<project><labels><label><name>rose</name></label><label><name>bee</name></label></labels></project>
</meta><image id="0" name="a.jpg" subset="Train" task_id="1" width="8" height="6">
<tag label="rose" source="manual"><attribute name="size">big</attribute></tag>
<polygon label="bee" points="0,0;1,1;2,0"></polygon></image>
<image id="0" name="a.jpg" subset="Test" task_id="2" width="8" height="6">
<tag label="rose" source="auto"></tag></image></annotations>"""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("annotations.xml", xml)
        archive.writestr("images/train/a.jpg", "train")
        archive.writestr("images/test/a.jpg", "test")
        archive.writestr("__MACOSX/images/train/._a.jpg", "litter")
    (tmp_path / "photos").mkdir()
    imported = import_labels(
        tmp_path / "x.zip", photos=[tmp_path / "photos"], into=tmp_path / "into"
    )
    assert read(tmp_path / "into") == {"rose/a.jpg": "train", "rose/a-2.jpg": "test"}
    assert imported.by_label == {"rose": 2, "bee": 0}
    assert imported.left_out == {
        "polygons": 1,
        "attributes of tags": 1,
        "splits, which only a table keeps": 2,
    }


def test_splits_of_a_layout_are_exported(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {f"{s}/rose/a.jpg": s for s in ("train", "val", "test")})
    export_labels(photos, tmp_path / "x", "fiftyone")
    assert {path.name for path in (tmp_path / "x").iterdir()} >= {"train", "val", "test"}
    import_labels(tmp_path / "x", photos=[photos], out=tmp_path / "x.csv")
    lines = (tmp_path / "x.csv").read_text("utf-8").splitlines()[1:]
    assert {line.split(",")[-1].strip('"') for line in lines} == {"train", "val", "test"}
    with pytest.raises(OutputExistsError):
        export_labels(photos, tmp_path / "x", "fiftyone")
    export_labels(photos, tmp_path / "x", "fiftyone", overwrite=True)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"a.jpg": "1"})
    file = tasks(tmp_path / "t.json", {"a.jpg": "rose"})
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Cannot write"):
        import_labels(file, photos=[photos], into=tmp_path / "file" / "into")
