"""Every task from photos to answers: train, convert to five formats, evaluate, classify."""

import csv
import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow", reason="training needs the train extra")

from pocketlens.cli.main import run
from pocketlens.convert import FORMATS, Demands, convert
from pocketlens.evaluation.answers import share_of_equal
from pocketlens.keras_files import load_keras_model
from pocketlens.runtime import Classifier
from pocketlens.runtime.answers import answer_of
from pocketlens.runtime.photos import LabelledPhotos, read_labelled
from pocketlens.runtime.runs import read_run
from pocketlens.train import Settings, evaluate_model, train

TASKS = ("binary", "multilabel")
# How far a score may be from the Keras model's. Every kernel lies on its int8 grid already.
TOLERANCES = {"float32": 1e-4, "float16": 0.03, "dynamic": 0.1, "weights8": 1e-3, "int8": 0.2}


@dataclass(frozen=True)
class Scored:
    """A run's scores for its test photos, (N, outputs), by format; "keras" is the run itself."""

    photos: LabelledPhotos
    task: str
    threshold: float
    scores: dict[str, np.ndarray]


def score(run_folder: Path, models: dict[str, Path]) -> Scored:
    opened = read_run(run_folder)
    card, photos = opened.card, opened.photos("test")
    samples = read_labelled(photos, card.input_size_wh, card.resize_mode, [])
    pixels = np.stack([pixels for pixels, _ in samples])
    network = load_keras_model(opened.model)
    given = network.predict(pixels.astype(np.float32), verbose=0)
    expected, novelty = given if card.novelty else (given, None)
    scores = {"keras": expected}
    for entry, path in models.items():
        with Classifier(path) as classifier:
            assert (classifier.task, classifier.threshold) == (card.task, card.threshold)
            scores[entry] = np.stack([classifier.scores(row) for row in pixels])
            results = [classifier.classify_pixels(row) for row in pixels]
        if novelty is not None:
            own = [result.novelty for result in results]
            np.testing.assert_allclose(own, novelty[:, 0], atol=TOLERANCES[entry], rtol=0)
    return Scored(photos, card.task, card.threshold, scores)


def check_metrics(run_folder: Path, models: dict[str, Path]) -> Scored:
    """Compare every file with the Keras model: scores, and metrics as the scores allow."""
    scored = score(run_folder, models)
    truth = [photo.label_indices for photo in scored.photos.photos]
    keras_scores = scored.scores["keras"]
    keras_result = evaluate_model(run_folder, run_folder).result
    for entry, path in models.items():
        tolerance = TOLERANCES[entry]
        np.testing.assert_allclose(scored.scores[entry], keras_scores, atol=tolerance, rtol=0)
        # Only photos whose answer hangs by less than the tolerance may be answered differently.
        sorted_scores = np.sort(keras_scores, axis=1)
        if scored.task == "multiclass":
            unsure = sorted_scores[:, -1] - sorted_scores[:, -2] <= 2 * tolerance
        else:
            unsure = (np.abs(keras_scores - scored.threshold) <= tolerance).any(axis=1)
        result = evaluate_model(path, run_folder).result
        assert abs(result.accuracy - keras_result.accuracy) <= unsure.mean() + 1e-9
        assert result.count == keras_result.count == len(truth)
        answers = [answer_of(row, scored.task, scored.threshold) for row in scored.scores[entry]]
        assert result.accuracy == pytest.approx(share_of_equal(answers, truth))
        if not unsure.any():
            assert result.macro_f1 == pytest.approx(keras_result.macro_f1)
    return scored


@pytest.mark.parametrize("task", TASKS)
def test_files_are_as_good_as_the_run(
    task: str, tiny_home: Path, task_models: dict[str, dict[str, Path]]
) -> None:
    scored = check_metrics(tiny_home / task, task_models[task])
    outputs = {"binary": 1, "multilabel": 3}[task]
    assert scored.scores["keras"].shape == (len(scored.photos.photos), outputs)


@pytest.mark.parametrize("task", TASKS)
def test_labels_in_files_and_run(
    task: str, tiny_home: Path, task_models: dict[str, dict[str, Path]]
) -> None:
    labels, in_file = {
        "binary": (("cross", "circle"), "circle\n"),
        "multilabel": (("circle", "cross", "stripes"), "circle\ncross\nstripes\n"),
    }[task]
    card = read_run(tiny_home / task).card
    assert (card.labels, card.task, card.threshold) == (labels, task, 0.5)
    assert (tiny_home / task / "labels.txt").read_text() == in_file
    for entry in FORMATS:
        with zipfile.ZipFile(task_models[task][entry]) as archive:
            assert archive.read("labels.txt").decode() == in_file
        with Classifier(task_models[task][entry]) as classifier:
            assert classifier.labels == labels


@pytest.mark.parametrize("task", TASKS)
def test_split_keeps_the_labels(
    task: str, tiny_home: Path, task_models: dict[str, dict[str, Path]]
) -> None:
    opened = read_run(tiny_home / task)
    parts = [opened.photos(part).photos for part in ("train", "val", "test")]
    sets = {photo.label_indices for photos in parts for photo in photos}
    if task == "binary":
        assert sets == {(0,), (1,)}
        circles = [p for p in opened.photos("train").photos if p.label_indices == (1,)]
        assert all(photo.path.parent.name == "circle" for photo in circles)
    else:
        assert sets == {(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2)}


@pytest.mark.parametrize("task", TASKS)
def test_commands_follow_the_task(
    task: str,
    tiny_home: Path,
    task_models: dict[str, dict[str, Path]],
    tiny_binary_table: Path,
    tiny_pairs_table: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = {"binary": tiny_binary_table, "multilabel": tiny_pairs_table}[task]
    model = task_models[task]["int8"]
    assert run(["evaluate", str(model), str(table), "--json", "-"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    arguments = ["--photos", str(table), "--num-runs", "2", "--min-secs", "0", "--json", "-"]
    assert run(["benchmark", str(model), *arguments]) == 0
    measured = json.loads(capsys.readouterr().out)
    accuracy = measured["files"][0]["accuracy"]
    share = accuracy[{"binary": "accuracy", "multilabel": "exact_match"}[task]]
    assert measured["task"] == task
    assert share == pytest.approx(evaluated["accuracy"])
    assert ("micro_f1" in accuracy) == (task == "multilabel")
    assert run(["benchmark", str(model), *arguments[:-2]]) == 0
    out = capsys.readouterr().out
    assert {"binary": "accuracy %", "multilabel": "exact"}[task] in out
    assert run(["inspect", str(model)]) == 0
    out = capsys.readouterr().out
    expected = {
        "binary": "circle if its score is 0.5 or more, else cross",
        "multilabel": "every label",
    }
    assert expected[task] in out
    assert "Nothing in it" in out or "multiply-adds" in out


# Real photos: a few flowers; pairs side by side for several labels, one photo of no flower.


@pytest.fixture(scope="module")
def weights(shared: Path) -> str:
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    return str(shared / "weights" / "keras" / "models" / name)


def flower_table(shared: Path, home: Path, task: str) -> Path:
    """Write a table of real photos for a task, 24 of each flower at least."""
    flowers = {
        name: sorted((shared / "data" / "flowers" / name).iterdir())[:24]
        for name in ("roses", "sunflowers", "tulips")[: 2 if task == "binary" else 3]
    }
    rows: list[tuple[str, str]] = []
    if task != "multilabel":
        rows = [(str(path), name) for name, paths in flowers.items() for path in paths]
    else:
        others = sorted((shared / "data" / "imagenet_samples").glob("*.jpg"))[:24]
        kinds = {**flowers, "": others}
        for index in range(48):
            names = [list(kinds)[number] for number in (index % 4, index // 4 % 4)]
            halves = [
                Image.open(kinds[name][(index + 7 * side) % 24]).convert("RGB").resize((128, 128))
                for side, name in enumerate(names)
            ]
            both = Image.new("RGB", (256, 128))
            both.paste(halves[0], (0, 0))
            both.paste(halves[1], (128, 0))
            both.save(home / f"{index}.jpg", quality=95)
            rows.append((f"{index}.jpg", "|".join(sorted({name for name in names if name}))))
    path = home / "photos.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "labels" if task == "multilabel" else "label"])
        writer.writerows(rows)
    return path


@pytest.mark.networks
@pytest.mark.parametrize("task", ["multiclass", *TASKS])
def test_real_photos(
    task: str,
    shared: Path,
    weights: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))
    table = flower_table(shared, tmp_path, task)
    settings = Settings(
        task=task,
        weights=weights,
        image_size=96,
        head_epochs=15,
        fine_tune_epochs=0,
        grid_epochs=1,
        batch_size=16,
        # Its answers are counted by the best score here.
        unknown="off" if task == "multiclass" else "auto",
    )
    train(table, tmp_path / task, settings)
    files = convert(tmp_path / task, tmp_path / "models", samples=20, demands=Demands(max_drop=100))
    models = {file.format: file.path for file in files}
    scored = check_metrics(tmp_path / task, models)
    for photo in scored.photos.photos[:3]:
        assert run(["classify", str(models["float32"]), str(photo.path), "--json", "-"]) == 0
        (picture,) = json.loads(capsys.readouterr().out)["pictures"]
        row = scored.scores["keras"][scored.photos.photos.index(photo)]
        answer = answer_of(row, scored.task, scored.threshold)
        labels = scored.photos.labels
        said = {entry["label"]: entry["score"] for entry in picture["categories"]}
        assert sorted(picture["answers"]) == sorted(labels[index] for index in answer)
        each = [1 - row[0], row[0]] if task == "binary" else row
        assert said == pytest.approx(dict(zip(labels, each, strict=True)), abs=1e-3)
    shutil.rmtree(tmp_path / "cache")
