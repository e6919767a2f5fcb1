"""Tables of labelled photos, good ones and every way in which one can be wrong."""

import json
from pathlib import Path

import pytest

from pocketlens.errors import DataError, UsageError
from pocketlens.runtime.photos import Photo
from pocketlens.runtime.runs import evaluation_photos
from pocketlens.runtime.tables import is_table, read_table


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding, newline="")
    return path


ONE_LABEL = {
    "photos.csv": "path,label\na/1.jpg,dog\nb.jpg,cat\n",
    "photos.CSV": '\ufeffLabel , Path\r\ndog,"a/1.jpg"\r\n\r\n cat ,b.jpg',
    "photos.jsonl": '{"path": "a/1.jpg", "label": "dog"}\n\n{"label": "cat", "path": "b.jpg"}',
}


@pytest.mark.parametrize("name", ONE_LABEL)
def test_one_label_a_photo(tmp_path: Path, name: str) -> None:
    table = read_table(write(tmp_path / name, ONE_LABEL[name]))
    assert table.labels == ("cat", "dog")
    assert table.photos == (Photo(tmp_path / "a/1.jpg", (1,)), Photo(tmp_path / "b.jpg", (0,)))
    assert table.splits == {}


SEVERAL_LABELS = {
    "photos.csv": 'path,labels\n1.jpg,dog | cat\n"2, b.jpg",\n3.jpg,cat\n',
    "photos.jsonl": '{"path": "1.jpg", "labels": ["dog", "cat"]}\n'
    '{"path": "2, b.jpg", "labels": []}\n{"path": "3.jpg", "label": "cat"}\n',
}


@pytest.mark.parametrize("name", SEVERAL_LABELS)
def test_any_number_of_labels(tmp_path: Path, name: str) -> None:
    table = read_table(write(tmp_path / name, SEVERAL_LABELS[name]))
    assert table.labels == ("cat", "dog")
    assert [photo.label_indices for photo in table.photos] == [(0, 1), (), (0,)]
    assert table.photos[1].path.name == "2, b.jpg"


@pytest.mark.parametrize("column", ["part", "split"])
def test_parts(tmp_path: Path, column: str) -> None:
    text = f"path,label,{column}\n1.jpg,a,Train\n2.jpg,b,validation\n3.jpg,a,test\n4.jpg,b,train\n"
    table = read_table(write(tmp_path / "photos.csv", text))
    names = {split: [photo.path.stem for photo in photos] for split, photos in table.splits.items()}
    assert names == {"train": ["1", "4"], "val": ["2"], "test": ["3"]}
    assert evaluation_photos(tmp_path / "photos.csv").photos == table.splits["test"]


def test_absolute_paths(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    text = f"path,label\n{tmp_path / 'x.jpg'},a\n../y.jpg,b\n"
    table = read_table(write(tmp_path / "tables" / "photos.csv", text))
    assert [photo.path.resolve() for photo in table.photos] == [
        tmp_path.resolve() / "x.jpg",
        tmp_path.resolve() / "y.jpg",
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "", "Expected path, one of label and labels.* line 1 .* Received: nothing"),
        ("a.csv", "file,label\n1.jpg,a\n", "line 1 .* Received: file, label"),
        ("a.csv", "path\n1.jpg\n", "line 1 .* Received: path"),
        ("a.csv", "path,label,labels\n", "line 1 .* Received: path, label, labels"),
        ("a.csv", "path,label,part,split\n", "line 1 .* Received: path, label, part, split"),
        ("a.csv", "path,label,label\n", "line 1 .* Received: path, label, label"),
        ("a.csv", "path,label\n", "one photo per line .* Received: none"),
        ("a.csv", "path,label\n1.jpg,a\n\n2.jpg\n", "2 columns in line 4 .* Received: 1"),
        ("a.csv", "path,label\n1.jpg,a\n2.jpg, \n", "label as .* in line 3 .* Received: ''"),
        ("a.csv", "path,labels\n1.jpg,a||b\n", "label as .* in line 2 .* Received: ''"),
        ("a.csv", "path,labels\n1.jpg,a|a\n", "each label of a photo once in line 2"),
        ("a.csv", 'path,label\n1.jpg,"a\nb"\n', r"label as .* in line 3 .* Received: 'a\\nb'"),
        ("a.csv", 'path,label\n1.jpg,"a" b\n', "comma-separated values in line 2"),
        ("a.csv", "path,labels\n1.jpg,\n", "photos with labels .* Received: 1 without any"),
        ("a.csv", "path,label\n,a\n", "the path of a photo in line 2"),
        ("a.csv", "path,label\n1.jpg,a\n1.jpg,b\n", "once in line 3 .* 1.jpg, as in line 2"),
        ("a.csv", "path,label,part\n1.jpg,a,new\n", "one of train, val, test in line 2 .*'new'"),
        ("a.jsonl", "{}\n", "line 1 .* Received: nothing"),
        ("a.jsonl", '{"path": "1.jpg", "label": "a"}\n[1]\n', "a JSON object in line 2"),
        ("a.jsonl", '{"path": "1.jpg", "label": "a"}\n{"path"\n', "a JSON object in line 2"),
        ("a.jsonl", "[" * 100_000, "a JSON object in line 1"),
        ("a.csv", f"path,label\n1.jpg,{'a' * 1001}\n", "at most 1000 characters in line 2"),
        ("a.jsonl", '{"path": "1.jpg", "label": 3}\n', "line of text in line 1 .* Received: 3"),
        ("a.jsonl", '{"path": 1, "label": "a"}\n', "path of a photo in line 1 .* Received: 1"),
        ("a.jsonl", '{"path": "1.jpg", "labels": "a"}\n', "as a list in line 1 .* Received: 'a'"),
        (
            "a.jsonl",
            '{"path": "1.jpg", "label": "a", "part": "test"}\n{"path": "2.jpg", "label": "b"}\n',
            "a split for every photo or for none in line 2",
        ),
        ("a.jsonl", '{"path": "1.jpg", "label": "a", "part": null}\n', "line 1 .* Received: None"),
    ],
    ids=lambda text: text[:60],
)
def test_bad_table(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read_table(write(tmp_path / name, text))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_encoding(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="as UTF-8 text"):
        read_table(write(tmp_path / "a.csv", "path,label\n1.jpg,Kätzchen\n", "latin-1"))


def test_missing_table(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing there"):
        read_table(tmp_path / "a.csv")


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    assert not is_table(tmp_path / "a.csv")
    assert is_table(tmp_path / "b.JSONL")
    assert not is_table(tmp_path / "b.txt")


def test_parts_without_one_to_test_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "path,label,part\n1.jpg,a,train\n2.jpg,b,val\n")
    with pytest.raises(DataError, match="Received: only train, val"):
        evaluation_photos(path)


@pytest.mark.parametrize("names", [("train", "val", "test"), ("training", "testing")])
def test_of_a_layout_of_folders_the_test_photos_are_taken(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    for name in names:
        for label in ("cat", "dog"):
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            (folder / f"{name}.jpg").write_bytes(b"")
    found = evaluation_photos(tmp_path)
    assert found.labels == ("cat", "dog")
    assert {photo.path.stem for photo in found.photos} == {names[-1]}


def test_a_layout_of_folders_without_one_to_test_on(tmp_path: Path) -> None:
    for name in ("train", "val"):
        (tmp_path / name / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match="only train, val"):
        evaluation_photos(tmp_path)


@pytest.mark.parametrize("name", ["photos.csv", "photos.jsonl"])
def test_one_name_in_two_forms_is_one_label(tmp_path: Path, name: str) -> None:
    composed, other = "café", "cafe\N{COMBINING ACUTE ACCENT}"
    lines = [f"1.jpg,{composed}", f"2.jpg,{other} "]
    if name.endswith("jsonl"):
        pairs = (line.split(",") for line in lines)
        lines = [json.dumps({"path": path, "label": label}) for path, label in pairs]
    else:
        lines.insert(0, "path,label")
    table = read_table(write(tmp_path / name, "\n".join(lines), "utf-8-sig"))
    assert table.labels == (composed,)


def test_files_are_found_whatever_the_form_of_their_names(tmp_path: Path) -> None:
    other = "cafe\N{COMBINING ACUTE ACCENT}.jpg"
    for name in (other, " x.jpg ", "y.jpg"):
        (tmp_path / name).write_bytes(b"")
    text = 'path,label\ncafé.jpg,a\n" x.jpg ",a\ny.jpg ,a\ngöne.jpg,a\n'
    table = read_table(write(tmp_path / "photos.csv", text))
    assert [photo.path.name for photo in table.photos] == [other, " x.jpg ", "y.jpg", "göne.jpg"]


def test_spaces_before_quotes(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "photos.csv", 'path, label\n1.jpg, "x, y"\n'))
    assert table.labels == ("x, y",)


def test_eval_is_the_split_that_is_missing(tmp_path: Path) -> None:
    for others, split in ((["test"], "val"), (["val"], "test"), ([], "test")):
        rows = "".join(f"{name}.jpg,a,{name}\n" for name in ("train", "Eval", *others))
        table = read_table(write(tmp_path / "photos.csv", f"path,label,split\n{rows}"))
        assert [photo.path.stem for photo in table.splits[split]] == ["Eval"]


def test_control_characters_are_shown_escaped(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "photos.csv", "path,label\n1.jpg,a\x1b[31mb\n"))
    assert table.labels == (r"a\x1b[31mb",)
