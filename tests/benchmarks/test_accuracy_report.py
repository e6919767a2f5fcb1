"""What is said about accuracy: the table, the sentences and the JSON."""

import dataclasses
import io
import json

import pytest

from pocketlens.benchmarks.payload import accuracy_payload
from pocketlens.benchmarks.report import accuracy_sentences, accuracy_table, print_report
from pocketlens.evaluation.agreement import ClassFlips, Flips

FLOAT32 = ("float32", 14, 904, {1: 7.0})
CLASSES = (
    ClassFlips("tulip", 200, 20, 1),
    ClassFlips("rose", 200, 9, 2),
    ClassFlips("daisy", 200, 1, 3),
)


def _printed(result):
    stream = io.StringIO()
    print_report(result, stream)
    return stream.getvalue()


def _columns(result):
    return {
        " ".join(str(column.header).split()): list(column.cells)
        for column in accuracy_table(result).columns
    }


def test_table(made_up):
    flips = Flips(6, 2, 0.2891)
    columns = _columns(made_up(FLOAT32, ("int8", 4, 900, {1: 3.3}), flips=flips))
    assert columns == {
        "File": ["float320.tflite", "int81.tflite"],
        "top-1 % (95 % interval)": ["90.4 (88.4–92.1)", "90.0 (88.0–91.7)"],
        "macro F1 (95 % interval)": ["0.904 (.88–.92)", "0.900 (.88–.92)"],
        "agrees %": ["99.0", "99.0"],
        "lost": ["–", "6"],
        "won": ["–", "2"],
        "p": ["–", "0.29"],
    }


def test_one_file_is_compared_with_nothing(made_up):
    result = made_up(FLOAT32)
    assert not {"agrees %", "lost", "p"} & set(_columns(result))
    assert accuracy_sentences(result) == []
    assert "McNemar" not in _printed(result)


def test_without_photos_there_is_no_table_of_accuracy(made_up):
    assert "top-1" not in _printed(made_up(("int8", 4, None, {1: 3.0})))


def test_top5_is_shown_where_it_means_something(made_up):
    result = made_up(FLOAT32, ("int8", 4, 900, {1: 3.3}))
    files = [
        dataclasses.replace(file, accuracy=dataclasses.replace(file.accuracy, in_top5=981))
        for file in result.files
    ]
    result = dataclasses.replace(result, files=tuple(files))
    assert _columns(result)["top-5 %"] == ["98.1", "98.1"]
    assert max(map(len, _printed(result).splitlines())) <= 100
    payload = accuracy_payload(files[0].accuracy, "multiclass")
    assert payload["top5"] == 0.981
    assert payload["top5_interval_95"] == pytest.approx((0.9706, 0.9878), abs=1e-4)


@pytest.mark.parametrize(
    ("flips", "said"),
    [
        pytest.param(
            Flips(6, 2, 0.2891, CLASSES),
            "is 0.4 points below float32 (6 photos lost, 2 won, p = 0.29): that is noise.",
            id="noise",
        ),
        pytest.param(
            Flips(30, 6, 0.00004, CLASSES),
            "is 2.4 points below float32 (30 photos lost, 6 won, p < 0.001): that is more than "
            "chance; hit hardest: tulip (-19 of 200), rose (-7 of 200).",
            id="worse",
        ),
        pytest.param(
            Flips(0, 8, 0.0078),
            "is 0.8 points above float32 (0 photos lost, 8 won, p = 0.008): that is more than "
            "chance.",
            id="better",
        ),
        pytest.param(
            Flips(3, 3, 1.0),
            "is level with float32 (3 photos lost, 3 won, p = 1.00): that is noise.",
            id="level",
        ),
        pytest.param(
            Flips(1, 0, 1.0),
            "is 0.1 points below float32 (1 photo lost, 0 won, p = 1.00): that is noise.",
            id="one photo",
        ),
        pytest.param(Flips(0, 0, 1.0), "is right on the same photos as float32.", id="same"),
    ],
)
def test_sentences(made_up, flips, said):
    result = made_up(FLOAT32, ("int8", 4, 900, {1: 3.3}), flips=flips)
    assert accuracy_sentences(result) == [f"int81.tflite {said}"]
    assert said in " ".join(_printed(result).split())


@pytest.mark.parametrize(
    ("task", "keys", "header"),
    [
        ("multiclass", {"top1"}, "top-1 %"),
        ("binary", {"accuracy"}, "accuracy %"),
        ("multilabel", {"exact_match", "micro_f1"}, "exact match %"),
    ],
)
def test_accuracy_is_called_as_the_task_has_it(made_up, task, keys, header):
    flips = Flips(6, 2, 0.2891, CLASSES)
    result = dataclasses.replace(
        made_up(FLOAT32, ("int8", 4, 900, {1: 3.3}), flips=flips), task=task
    )
    payload = json.loads(json.dumps(accuracy_payload(result.files[1].accuracy, task)))
    common = {"interval_95", "top5", "top5_interval_95", "macro_f1", "macro_f1_interval_95"}
    assert set(payload) - common - {"correct", "total", "agreement", "flips"} == keys
    assert all(payload[key] == 0.9 for key in keys)
    assert payload["flips"]["is_noise"] is True
    assert payload["flips"]["classes"][0] == {"label": "tulip", "photos": 200, "lost": 20, "won": 1}
    printed = _printed(result)
    assert header in printed
    assert ("micro" in printed) == (task == "multilabel")
    assert max(map(len, printed.split("\n\n")[0].splitlines())) <= 100
