"""`pocketlens classify` from the outside."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketlens.cli.classify import answer_text
from pocketlens.cli.main import run
from pocketlens.runtime import Classifier


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "good.png"
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def classify(model, *arguments):
    return run(["classify", str(model), *map(str, arguments)])


def test_a_photo_gets_its_path_and_aligned_answers(tiny_tflite, photo, capfd):
    assert classify(tiny_tflite, photo) == 0
    path, *answers = capfd.readouterr().out.splitlines()
    assert path == str(photo)
    with Classifier(tiny_tflite) as classifier:
        expected = classifier.classify_photo(photo).categories
    assert [line.split() for line in answers] == [
        [f"{category.score:.4f}", category.label] for category in expected
    ]
    assert len({line.index(line.split()[1]) for line in answers}) == 1


def test_numbers_in_names_are_sorted_by_their_value(tiny_tflite, photo, tmp_path, capfd):
    for number in (10, 9, 100):
        (tmp_path / f"frame{number}.png").write_bytes(photo.read_bytes())
    assert classify(tiny_tflite, tmp_path, "--json", "-") == 0
    pictures = json.loads(capfd.readouterr().out)["pictures"]
    names = [Path(picture["path"]).name for picture in pictures]
    assert names == ["frame9.png", "frame10.png", "frame100.png", "good.png"]


def test_answers_of_several_labels_are_marked(task_models, photo, capfd):
    model = task_models["multilabel"]["float32"]
    assert classify(model, photo, "--json", "-") == 0
    (picture,) = json.loads(capfd.readouterr().out)["pictures"]
    assert classify(model, photo) == 0
    _, *lines = capfd.readouterr().out.splitlines()
    assert [line[2:].split()[1] for line in lines if line[0] == "*"] == picture["answers"]
    with Classifier(model) as classifier:
        result = classifier.best(np.array([0.9, 0.2, 0.6], np.float32))
    text = answer_text(photo, result, mark=True).splitlines()
    assert text[1:] == ["* 0.9000  circle", "* 0.6000  stripes", "  0.2000  cross"]


def test_a_binary_file_may_get_two_other_labels(task_models, photo, tmp_path, capfd):
    labels = tmp_path / "labels.txt"
    labels.write_text("no\nyes\n")
    model = task_models["binary"]["int8"]
    assert classify(model, photo, "--labels", labels) == 0
    lines = capfd.readouterr().out.splitlines()[1:]
    assert {line.split()[1] for line in lines} == {"yes", "no"}
    assert sum(float(line.split()[0]) for line in lines) == pytest.approx(1, abs=1e-3)
    labels.write_text("yes\n")
    assert classify(model, photo, "--labels", labels) == 2
    assert "Expected 2 labels" in capfd.readouterr().err


@pytest.fixture
def unsure(tiny_tflite, tmp_path, with_card):
    """A file of whose sets those of 0.8 have the best label alone, those of 0.95 all labels."""
    return with_card(tiny_tflite, tmp_path / "sets.tflite", sets={"0.8": 1.0, "0.95": 0.0})


def test_label_sets_are_shown_and_written(unsure, photo, tmp_path, capfd):
    with Classifier(unsure) as classifier:
        labels = [entry.label for entry in classifier.classify_photo(photo).categories]
    lines, table = tmp_path / "lines.jsonl", tmp_path / "table.csv"
    broken = tmp_path / "broken.jpg"
    broken.touch()
    arguments = ["--top-k", 1, "--jsonl", lines, "--csv", table]
    assert classify(unsure, photo, broken, "--sets", 0.95, *arguments) == 1
    assert capfd.readouterr().out.splitlines()[1] == "  " + " or ".join(labels)
    good, bad = map(json.loads, lines.read_text("utf-8").splitlines())
    assert good["label_set"] == [entry["label"] for entry in good["categories"]] == labels
    assert good["answers"] == labels[:1]
    assert set(bad) == {"path", "error"}
    with table.open(encoding="utf-8", newline="") as stream:
        header, first, second = csv.reader(stream)
    assert header[:4] == ["path", "error", "answers", "label_set"]
    assert first[2:4] == [labels[0], "|".join(labels)]
    assert len(first) == len(header)
    assert second[2:] == ["", ""]
    assert classify(unsure, photo, "--sets", 0.8, "--json", "-") == 0
    (picture,) = json.loads(capfd.readouterr().out)["pictures"]
    assert picture["label_set"] == labels[:1]
    assert classify(unsure, photo) == 0
    assert "or" not in capfd.readouterr().out.splitlines()[1].split()


@pytest.mark.parametrize("task", ["multiclass", "binary", "multilabel"])
def test_label_sets_that_cannot_be_are_one_sentence(unsure, task_models, photo, capfd, task):
    model = unsure if task == "multiclass" else task_models[task]["int8"]
    assert classify(model, photo, "--sets", 0.9) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "0.8, 0.95. Received: 0.9" in err or f"a {task} one. Use its" in err


def test_top_k_bounds_the_answers(tiny_tflite, photo, capfd):
    assert classify(tiny_tflite, photo, "--top-k", 1) == 0
    assert len(capfd.readouterr().out.splitlines()) == 2


def test_an_unreadable_picture_among_good_ones(tiny_tflite, photo, tmp_path, capfd):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    empty = tmp_path / "empty.jpg"
    empty.touch()
    assert classify(tiny_tflite, broken, photo, empty, photo) == 1
    out, err = capfd.readouterr()
    assert out.count(str(photo)) == 2
    assert [str(broken) in line or str(empty) in line for line in err.splitlines()] == [True] * 2
    assert "Traceback" not in err


def test_a_folder_is_its_pictures(tiny_tflite, photo, tmp_path, capfd):
    (tmp_path / "deep").mkdir()
    deep = tmp_path / "deep" / "other.png"
    deep.write_bytes(photo.read_bytes())
    (tmp_path / "notes.txt").write_text("no picture")
    assert classify(tiny_tflite, tmp_path, "--json", "-") == 0
    entries = json.loads(capfd.readouterr().out)["pictures"]
    assert [entry["path"] for entry in entries] == [str(deep), str(photo)]


def test_json_holds_answers_and_errors(tiny_tflite, photo, tmp_path, capfd):
    target = tmp_path / "out.json"
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    assert classify(tiny_tflite, photo, broken, "--json", target) == 1
    good, bad = json.loads(target.read_text("utf-8"))["pictures"]
    assert len(good["categories"]) == 3
    assert sum(category["score"] for category in good["categories"]) == pytest.approx(1, abs=0.02)
    assert "Received" in bad["error"]
    # A second run does not overwrite it unasked.
    before = target.read_bytes()
    assert classify(tiny_tflite, photo, "--json", target) == 2
    assert target.read_bytes() == before
    assert classify(tiny_tflite, photo, "--json", target, "--overwrite") == 0
    assert target.read_bytes() != before


@pytest.mark.parametrize(
    ("name", "words"),
    [("empty", "Received: none"), ("labels.txt", "Expected 3 labels")],
    ids=["empty-folder", "wrong-labels"],
)
def test_wrong_calls_are_one_sentence(tiny_tflite, photo, tmp_path, capfd, name, words):
    if name == "empty":
        (tmp_path / name).mkdir()
        code = classify(tiny_tflite, tmp_path / name)
    else:
        (tmp_path / name).write_text("one\ntwo\n")
        code = classify(tiny_tflite, photo, "--labels", tmp_path / name)
    out, err = capfd.readouterr()
    assert (code, out) == (2, "")
    assert words in err


def test_labels_can_be_renamed(tiny_tflite, photo, tmp_path, capfd):
    labels = tmp_path / "labels.txt"
    labels.write_text("eins\nzwei\ndrei\n")
    assert classify(tiny_tflite, photo, "--labels", labels) == 0
    words = {line.split()[1] for line in capfd.readouterr().out.splitlines()[1:]}
    assert words == {"eins", "zwei", "drei"}


def test_names_that_are_no_utf8_and_bad_photos_end_no_batch(tiny_tflite, photo, tmp_path, capfd):
    folder = tmp_path / "photos"
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9\n.png")
    shutil.copy(photo, folder / name)
    shutil.copy(photo, folder / "good.png")
    (folder / "bad.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    target = tmp_path / "out.json"
    assert classify(tiny_tflite, folder, "--json", target) == 1
    captured = capfd.readouterr()
    assert r"caf\xe9\n.png" in captured.out
    assert "bad.jpg" in captured.err
    pictures = json.loads(target.read_bytes())["pictures"]
    assert [Path(entry["path"]).name for entry in pictures] == ["bad.jpg", name, "good.png"]
    assert ["error" in entry for entry in pictures] == [True, False, False]


def test_lines_and_rows_come_as_they_are_classified(tiny_tflite, photo, tmp_path, capfd):
    broken = photo.with_name("broken.jpg")
    broken.write_bytes(b"no picture")
    table, whole = tmp_path / "new" / "answers.csv", tmp_path / "answers.json"
    code = classify(
        tiny_tflite, photo, broken, photo, "--jsonl", "-", "--csv", table, "--json", whole
    )
    assert code == 1
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert lines == json.loads(whole.read_text())["pictures"]
    assert ["error" in line for line in lines] == [False, True, False]
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["path"] for row in rows] == [str(photo), str(broken), str(photo)]
    assert [bool(row["error"]) for row in rows] == [False, True, False]
    assert rows[0]["answers"] == rows[0]["label_1"] == lines[0]["answers"][0]
    assert float(rows[0]["score_3"]) == lines[0]["categories"][2]["score"]


def test_what_was_classified_is_there_when_the_rest_is_not(
    tiny_tflite, photo, tmp_path, monkeypatch
):
    def interrupted(*_):
        yield np.zeros((96, 96, 3), np.uint8)
        raise KeyboardInterrupt

    monkeypatch.setattr("pocketlens.runtime.photos.read_pixels", interrupted)
    lines = tmp_path / "answers.jsonl"
    assert classify(tiny_tflite, photo, photo, "--jsonl", lines) == 130
    assert json.loads(lines.read_text())["path"] == str(photo)


@pytest.mark.parametrize("option", ["--jsonl", "--csv"])
def test_a_file_that_appears_meanwhile_stays(
    tiny_tflite, photo, tmp_path, monkeypatch, capfd, option
):
    target = tmp_path / "answers"

    class Late(Classifier):
        def __init__(self, *arguments, **settings):
            target.write_text("theirs")
            super().__init__(*arguments, **settings)

    monkeypatch.setattr("pocketlens.runtime.classifier.Classifier", Late)
    assert classify(tiny_tflite, photo, option, target) == 2
    assert "appeared or changed" in capfd.readouterr().err
    assert target.read_text() == "theirs"
