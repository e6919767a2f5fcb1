"""The pages of a run: what is on them and how they look at every width, without training."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

from pocketlens.cli.evaluate import summarise
from pocketlens.evaluation import evaluate_model
from pocketlens.runtime.runs import read_run
from pocketlens.train.callbacks import Epoch, History, Phase
from pocketlens.train.data_check import check_data
from pocketlens.train.data_report import write_data_report
from pocketlens.train.lineage import SeenPhotos
from pocketlens.train.report import Measured, claim, write_report
from pocketlens.train.training import Training

EPOCHS = [
    Epoch("head", 1, 1.2, 0.4, 1.1, 0.5, 1e-3, 2.0),
    Epoch("head", 2, 0.9, 0.6, 1.0, 0.6, 1e-3, 2.0),
    Epoch("fine_tune", 1, 0.5, 0.8, 0.7, 0.7, 1e-4, 3.0),
]

AUGMENTED = [("circle", list(np.full((6, 40, 40, 3), 90, np.uint8)))]

NOTES = ["There is no test split: 57 of the 245 photos of train are taken for it."]


@pytest.fixture(scope="module")
def report(tiny_run: Path, tiny_tflite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    run = read_run(tiny_run)
    photos = {split: run.photos(split).photos for split in ("train", "val", "test")}
    history = History(tmp_path_factory.mktemp("history"))
    history.restore(EPOCHS, [Phase("head", 2), Phase("fine_tune", 1, 0.6)])
    val, test = (evaluate_model(tiny_tflite, run.photos(split)) for split in ("val", "test"))
    seen = SeenPhotos({"0" * 64: "train"})
    measured = Measured({}, val, test)
    write_report(folder, run.card, measured, history, photos, seen, AUGMENTED, NOTES)
    return folder


@pytest.mark.parametrize(
    ("test", "seen", "words"),
    [
        (True, SeenPhotos(), "They were not used in training or for any choice."),
        (True, SeenPhotos({"0": "val"}), "any choice, nor by the runs that its weights come from."),
        (
            True,
            SeenPhotos(unknown="nobody knows"),
            "but nobody knows: if it was these, the figures",
        ),
        (False, SeenPhotos(), "These are the validation photos"),
    ],
    ids=["alone", "retrained", "unknown", "no-test"],
)
def test_claim_is_true(
    tiny_run: Path, tiny_tflite: Path, test: bool, seen: SeenPhotos, words: str
) -> None:
    evaluation = evaluate_model(tiny_tflite, read_run(tiny_run).photos("val"))
    measured = Measured({}, evaluation, evaluation if test else None)
    assert words in claim(measured, seen)


def test_page_of_a_run(report: Path) -> None:
    assert {path.name for path in report.iterdir()} == {
        "index.html",
        "report.json",
        "accuracy.png",
        "loss.png",
        "augmentation.png",
        "confusion.png",
        "confusion_percent.png",
        "roc.png",
        "calibration.png",
    }
    page = (report / "index.html").read_text("utf-8")
    assert page.count("<svg ") == 6
    for text in (
        'href="data.html"',
        "head: epoch 2 of 2 kept (val_loss 1.000, val_accuracy 0.600); all epochs done.",
        "fine_tune: none of 1 epoch improved validation (lowest val_loss 0.700); kept are the",
        "<h2>Settings",
        "<h3>circle</h3>",
        "nor by the runs that its weights come from",
        "Validation: ",
        *NOTES,
    ):
        assert text in page
    assert page.count("data:image/jpeg") >= 6
    # A sheet of all, drawn on white, would be white in the dark.
    assert "image/png" not in page
    assert "://" not in page
    payload = json.loads((report / "report.json").read_text())
    assert payload["notes"] == NOTES
    assert payload["photos"]["test"] == payload["test"]["count"]
    assert [epoch["val_loss"] for epoch in payload["epochs"]] == [1.1, 1.0, 0.7]


def test_temperature_at_its_limit_is_said_where_training_ends(
    tiny_run: Path, tiny_tflite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = read_run(tiny_run)
    result = evaluate_model(tiny_tflite, run.photos("val")).result
    card = dataclasses.replace(run.card, metrics={"temperature": 0.1})
    summarise(Training(tiny_run, card, result, None))
    assert "The calibration temperature ended at its limit of 0.1" in capsys.readouterr().out


@pytest.fixture
def spoiled(tiny_photos: Path, tmp_path: Path) -> Path:
    photos = shutil.copytree(tiny_photos, tmp_path / "photos")
    shutil.copy(photos / "circle" / "01.png", photos / "cross" / "wrong.png")
    shutil.copy(photos / "circle" / "02.png", photos / "circle" / "copy.png")
    (photos / "circle" / "00.png").write_bytes(b"no image")
    return photos


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_contrast_and_width(open_page, lowest_contrast, report, spoiled, tmp_path, scheme, width):
    write_data_report(tmp_path, check_data(spoiled))
    for path in (report / "index.html", tmp_path / "data.html"):
        page = open_page(path.as_uri(), (width, 900), scheme)
        assert lowest_contrast(page) >= 4.5
        assert page.evaluate("document.documentElement.scrollWidth") <= width
