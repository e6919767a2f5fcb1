"""Novelty, the second output of binary and multilabel models: trained, converted, read."""

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_training import SMALL_TRAINING

from pocketlens.card import ModelCard
from pocketlens.choices import FORMATS
from pocketlens.cli.main import run
from pocketlens.errors import ModelFileError
from pocketlens.evaluation import evaluate_model
from pocketlens.runtime import Classifier
from pocketlens.runtime.inspection import inspect
from pocketlens.runtime.metadata import read_metadata
from pocketlens.runtime.model_files import ModelFile, read_model_file
from pocketlens.runtime.operators import describe_operators
from pocketlens.runtime.photos import find_pictures, read_pixels
from pocketlens.runtime.runs import read_run

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras

from pocketlens.convert import Demands, convert
from pocketlens.convert.encoders import Encoder
from pocketlens.convert.graphs import trace
from pocketlens.keras_files import load_keras_model
from pocketlens.train import Settings, train
from pocketlens.train.unknown import fit_novelty

SIZE = 32


@dataclass(frozen=True)
class Trained:
    """A small run with its files, its photos, and pictures of other things."""

    task: str
    run: Path
    files: dict[str, Path]
    photos: list[Path]
    known: np.ndarray
    strangers: np.ndarray


@pytest.fixture(scope="module", params=["binary", "multilabel"])
def trained(
    request: pytest.FixtureRequest,
    tiny_binary_table: Path,
    tiny_pairs_table: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Trained:
    task = request.param
    table = tiny_binary_table if task == "binary" else tiny_pairs_table
    folder = tmp_path_factory.mktemp(task)
    positive = "circle" if task == "binary" else None
    chosen = {"task": task, "positive": positive, "unknown": "auto"}
    settings = Settings(**SMALL_TRAINING | chosen)
    train(table, folder / "run", settings)
    convert(folder / "run", folder, name="m", samples=20, demands=Demands(max_drop=100))
    photos = [photo.path for photo in read_run(folder / "run").photos("train").photos][:40]
    known = np.stack(list(read_pixels(photos, (SIZE, SIZE), "stretch")))
    coarse = np.random.default_rng(2).integers(0, 256, (30, 6, 6, 3)).astype(np.uint8)
    strangers = np.stack([cv2.resize(one, (SIZE, SIZE)) for one in coarse])
    files = {entry: folder / f"m_{entry}.tflite" for entry in FORMATS}
    return Trained(task, folder / "run", files, photos, known, strangers)


def test_a_run_and_its_files_tell_strangers(trained: Trained) -> None:
    network = load_keras_model(trained.run / "model.keras")
    card = read_run(trained.run).card
    assert (card.novelty, card.unknown) == (1, "")
    scores, novelty = network.predict(trained.known.astype(np.float32), verbose=0)
    assert (novelty < 0.5).mean() >= 0.85
    unlike = network.predict(trained.strangers.astype(np.float32), verbose=0)[1]
    assert np.median(unlike) > np.quantile(novelty, 0.9)
    for entry, path in trained.files.items():
        with Classifier(path) as classifier:
            assert classifier.card.novelty == 1
            assert describe_operators(classifier.interpreter).partitions == 1
            results = [classifier.classify_pixels(one) for one in trained.known]
            # The same from a frame, which is resized.
            frame = np.ascontiguousarray(trained.known[0][..., ::-1])
            assert classifier.classify(frame).novelty == results[0].novelty
            assert classifier.best(classifier.scores(trained.known[0])).novelty is None
        if entry in ("float32", "float16"):
            given = np.array([result.novelty for result in results])
            np.testing.assert_allclose(given, novelty[:, 0], atol=0.01, err_msg=entry)
        last = np.stack([result.scores for result in results])[:, -1]
        np.testing.assert_allclose(last, scores[:, -1], atol=0.25, err_msg=entry)


@pytest.mark.parametrize(("task", "outputs"), [("binary", 1), ("multilabel", 3)])
def test_all_formats_say_what_keras_says(task: str, outputs: int, tiny_photos: Path) -> None:
    """Of a network that nobody trained, whose features differ from photo to photo all the same."""
    keras.utils.set_random_seed(1)
    entry = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(entry)
    x = keras.layers.Conv2D(64, 5, strides=3, activation="relu")(x)
    x = keras.layers.Flatten()(keras.layers.MaxPooling2D(3)(x))
    scores = keras.layers.Dense(outputs, activation="sigmoid")(x)
    photos = sorted(find_pictures(tiny_photos))
    known = np.stack(list(read_pixels(photos, (SIZE, SIZE), "stretch")))
    features = keras.Model(entry, x).predict(known.astype(np.float32), verbose=0)
    chosen = np.arange(len(known)) % 3 > 0
    logit = fit_novelty(features[chosen], features[~chosen], 0.95).logit(x)
    novelty = keras.layers.Activation("sigmoid")(logit)
    network = keras.Model(entry, [scores, novelty])
    coarse = np.random.default_rng(2).integers(0, 256, (30, 6, 6, 3)).astype(np.uint8)
    strangers = np.stack([cv2.resize(one, (SIZE, SIZE)) for one in coarse])
    pictures = np.concatenate([known[::2], strangers])
    expected, wanted = network.predict(pictures.astype(np.float32), verbose=0)
    is_stranger = np.arange(len(pictures)) >= len(known[::2])
    assert (wanted[~is_stranger] < 0.5).mean() >= 0.9
    assert (wanted[is_stranger] > 0.5).mean() >= 0.9
    labels = ("no", "yes") if task == "binary" else ("a", "b", "c")
    card = ModelCard("m", labels, (SIZE, SIZE), task=task, novelty=1)
    encoder = Encoder(trace(network), list(known[::4]))
    for form in FORMATS:
        flatbuffer = encoder.encode(form)
        model = ModelFile(form, flatbuffer, len(flatbuffer), card, card.labels)
        with Classifier(model) as classifier:
            assert describe_operators(classifier.interpreter).partitions == 1
            assert classifier.signature.output.shape == (1, outputs)
            results = [classifier.classify_pixels(one) for one in pictures]
            found = np.stack([classifier.scores(one) for one in pictures])
        given = np.array([result.novelty for result in results])
        tolerance = {"float32": 1e-3, "float16": 0.03}.get(form, 0.2)
        np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=form)
        same = (given > 0.5) == (wanted[:, 0] > 0.5)
        assert same.mean() >= (0.9 if form == "int8" else 0.95), form
        if form in ("float32", "float16"):
            np.testing.assert_allclose(given, wanted[:, 0], atol=tolerance, err_msg=form)


def test_the_scores_are_found_by_the_others(trained: Trained, tmp_path: Path) -> None:
    photos = trained.run
    kept = evaluate_model(trained.run, photos).result.accuracy
    assert evaluate_model(trained.files["float32"], photos).result.accuracy == pytest.approx(kept)
    seen = inspect(trained.files["int8"])
    assert seen.output.shape == (1, len(read_run(trained.run).card.score_labels))
    assert seen.partitions == 1
    target = tmp_path / "bench.json"
    command = ["benchmark", str(trained.files["int8"]), "--photos", str(photos), "--json"]
    assert run([*command, str(target)]) == 0


def test_the_metadata_describes_both_outputs(trained: Trained) -> None:
    with Classifier(trained.files["int8"]) as classifier:
        metadata = read_metadata(classifier.model.flatbuffer)
    assert metadata is not None
    assert b"novelty" in trained.files["int8"].read_bytes()


def test_the_report_has_known_and_synthetic_photos(trained: Trained) -> None:
    metrics = read_run(trained.run).card.metrics
    refusals = evaluate_model(trained.run, trained.run).refusals
    assert refusals is not None
    assert metrics["val_synthetic_count"] == metrics["test_synthetic_count"] == 150
    assert metrics["test_known_kept"] == round(refusals.kept / refusals.known, 4)
    assert metrics["test_synthetic_accepted"] == round(refusals.accepted / 150, 4)
    page = (trained.run / "report" / "index.html").read_text()
    assert "Known and unknown" in page
    assert "synthetic strangers accepted" in page


def test_strangers_are_counted(trained: Trained, tmp_path: Path) -> None:
    for number, stranger in enumerate(trained.strangers):
        cv2.imwrite(str(tmp_path / f"{number}.png"), stranger[..., ::-1])
    found = []
    for model in (trained.run, trained.files["float32"]):
        refusals = evaluate_model(model, trained.run, strangers=tmp_path).refusals
        assert refusals is not None
        assert (refusals.label, refusals.strangers) == ("novel", len(trained.strangers))
        assert refusals.auroc is not None
        found.append((refusals.known, refusals.kept, refusals.accepted))
    assert found[0] == found[1]


def test_classify_writes_it(trained: Trained, tmp_path: Path) -> None:
    command = ["classify", str(trained.files["int8"]), *map(str, trained.photos[:2])]
    targets = {name: tmp_path / f"out.{name}" for name in ("json", "csv")}
    for name, target in targets.items():
        assert run([*command, f"--{name}", str(target)]) == 0
    said = [entry["novelty"] for entry in json.loads(targets["json"].read_text())["pictures"]]
    assert all(0 <= value <= 1 for value in said)
    rows = list(csv.DictReader(targets["csv"].open()))
    assert [float(row["novelty"]) for row in rows] == said


@pytest.mark.parametrize(
    ("task", "novelty"),
    [("multiclass", 1), ("binary", 0), ("binary", 2), ("multilabel", True), ("binary", "1")],
)
def test_no_such_output(task: str, novelty: object) -> None:
    with pytest.raises(ModelFileError, match="Expected the card's novelty as 1"):
        ModelCard("m", ("a", "b"), (SIZE, SIZE), task=task, novelty=novelty)  # type: ignore[arg-type]


def test_a_file_without_the_output_that_its_card_names(
    task_models: dict[str, dict[str, Path]],
) -> None:
    model = read_model_file(task_models["binary"]["float32"])
    assert model.card is not None
    with pytest.raises(ModelFileError, match="which its card calls novelty"):
        Classifier(model._replace(card=replace(model.card, novelty=1)))
