"""Every command and export gives one answer and one threshold, with a card and without one."""

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs the train extra")

import keras
import tensorflow as tf

from pocketlens.card import DEFAULT_THRESHOLDS, unpack
from pocketlens.cli.main import run

SIZE = 32
# How much of red, green and blue each picture has, in 0-255, and what a score is made of it.
COLOURS = [
    (250, 90, 20),
    (20, 230, 140),
    (115, 60, 250),
    (105, 30, 60),
    (140, 10, 90),
    (90, 150, 1),
]
STEEPNESS = 10.0
LABELS = {
    "multiclass": ("red", "green", "blue"),
    "binary": ("other", "red"),
    "multilabel": ("red", "green", "blue"),
}


def network(task: str, *, scores: bool = True) -> keras.Model:
    """A network whose logits are the mean red, green and blue; of a binary one the red alone."""
    outputs = 1 if task == "binary" else 3
    pixels = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 255)(pixels)
    colours = keras.layers.Conv2D(3, 1)
    activation = "softmax" if task == "multiclass" else "sigmoid"
    head = keras.layers.Dense(outputs, activation=activation if scores else None)
    model = keras.Model(pixels, head(keras.layers.GlobalAveragePooling2D()(colours(x))))
    colours.set_weights([np.eye(3, dtype=np.float32)[None, None], np.zeros(3, np.float32)])
    kernel = STEEPNESS * np.eye(3, outputs, dtype=np.float32)
    head.set_weights([kernel, np.full(outputs, -STEEPNESS / 2, np.float32)])
    return model


def expected_answers(task: str, threshold: float) -> list[set[str]]:
    """Calculate the answers by hand."""
    shares = np.array(COLOURS) / 255
    if task == "multiclass":
        return [{LABELS[task][index]} for index in shares.argmax(axis=1)]
    sure = 1 / (1 + np.exp(-STEEPNESS * (shares - 0.5))) >= threshold
    if task == "binary":
        return [{LABELS[task][int(row[0])]} for row in sure]
    return [{name for name, given in zip(LABELS[task], row, strict=True) if given} for row in sure]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Plain pictures, which no resizing changes."""
    folder = tmp_path_factory.mktemp("pictures")
    for index, colour in enumerate(COLOURS):
        picture = np.full((40, 50, 3), colour[::-1], np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), picture)
    return sorted(folder.iterdir())


def write_table(path: Path, pictures: list[Path], task: str) -> Path:
    """Write a table that says what the model answers at 0.5, wrong for the first picture."""
    truth = expected_answers(task, 0.5)
    truth[0] = {next(name for name in LABELS[task] if {name} != truth[0])}
    lines = [
        json.dumps({"path": str(picture), "labels": sorted(names)})
        if task == "multilabel"
        else json.dumps({"path": str(picture), "label": "".join(names)})
        for picture, names in zip(pictures, truth, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("kind", ["own", "third-party", "third-party logits"])
@pytest.mark.parametrize(
    ("task", "threshold"),
    [
        ("multiclass", None),
        ("binary", None),
        ("binary", 0.3),
        ("multilabel", None),
        ("multilabel", 0.3),
    ],
    ids=str,
)
def test_one_answer_and_one_threshold(
    task: str,
    threshold: float | None,
    kind: str,
    pictures: list[Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def ask(*arguments: object) -> Any:
        capfd.readouterr()
        assert run([*map(str, arguments), "--json", "-"]) == 0
        return json.loads(capfd.readouterr().out)

    def convert(source: Path, name: str, *said: object) -> Path:
        out = ["--out", tmp_path / name, "--name", "net"]
        ask("convert", source, "--format", "float32", "--photos", table, *out, *said)
        return tmp_path / name / "net_float32.tflite"

    labels = tmp_path / "names.txt"
    labels.write_text("".join(f"{name}\n" for name in LABELS[task]))
    table = write_table(tmp_path / "photos.jsonl", pictures, task)
    said = ["--labels", labels, "--task", task]
    said += ["--threshold", threshold] if threshold else []
    if kind == "third-party logits":
        model = tmp_path / "plain.tflite"
        converter = tf.lite.TFLiteConverter.from_keras_model(network(task, scores=False))
        model.write_bytes(converter.convert())
        said += ["--mean", 0, "--std", 1]
    else:
        network(task).save(tmp_path / "net.keras")
        model = convert(tmp_path / "net.keras", "own", *said)
    if kind == "own":
        said = []
    elif kind == "third-party":
        # Its standard metadata goes too, which names labels that are no longer there.
        flatbuffer = unpack(model.read_bytes()).flatbuffer
        model = tmp_path / "plain.tflite"
        model.write_bytes(flatbuffer.replace(b"TFLITE_METADATA", b"UNKNOWN_RECORDS"))
        said += ["--mean", 0, "--std", 1]
    limit = threshold or DEFAULT_THRESHOLDS[task]
    wanted = expected_answers(task, limit)
    assert len(set(map(frozenset, wanted))) > 1

    classified = ask("classify", model, *pictures, *said)
    assert [set(entry["answers"]) for entry in classified["pictures"]] == wanted

    inspected = ask("inspect", model, *said)
    assert (inspected["task"], inspected["threshold"]) == (task, limit)

    frames = tmp_path / "frames.jsonl"
    ask("live", model, "--source", pictures[0].parent, "--jsonl", frames, *said)
    shown = [json.loads(line) for line in frames.read_text().splitlines()]
    assert [{entry["label"] for entry in frame["decision"]} for frame in shown] == wanted
    assert [set(frame["answers"]) for frame in shown] == wanted

    rows = [json.loads(line) for line in table.read_text().splitlines()]
    truth = [set(row["labels"] if "labels" in row else [row["label"]]) for row in rows]
    right = sum(a == b for a, b in zip(wanted, truth, strict=True)) / len(wanted)
    evaluated = ask("evaluate", model, table, *said)
    assert evaluated["threshold"] == (None if task == "multiclass" else limit)
    assert evaluated["accuracy"] == pytest.approx(right)
    quick = ["--num-runs", 1, "--min-secs", 0]
    measured = ask("benchmark", model, "--photos", table, *quick, *said)
    accuracy = measured["files"][0]["accuracy"]
    assert measured["task"] == task
    share = {"multiclass": "top1", "binary": "accuracy", "multilabel": "exact_match"}[task]
    assert accuracy[share] == pytest.approx(right)

    again = convert(model, "again", *said)
    card = unpack(again.read_bytes()).card
    assert card is not None
    assert (card.labels, card.task, card.threshold) == (LABELS[task], task, limit)
    classified = ask("classify", again, *pictures)
    assert [set(entry["answers"]) for entry in classified["pictures"]] == wanted
    for target, name in (("android", "card.json"), ("ios", "card.json"), ("web", "app.json")):
        ask("export", model, "--target", target, "--out", tmp_path / target, *said)
        told = json.loads((tmp_path / target / name).read_text())
        assert (tuple(told["labels"]), told["task"]) == (LABELS[task], task)
        assert told["threshold"] == limit
    ask("export", model, "--target", "c", "--out", tmp_path / "c", *said)
    header = (tmp_path / "c" / f"{model.stem}_model.h").read_text()
    assert f'_TASK "{task}"' in header
    (constant,) = re.findall(r"_THRESHOLD (\S+)f", header)
    assert float(constant) == pytest.approx(limit)
