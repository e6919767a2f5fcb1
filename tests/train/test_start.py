"""`train --from RUN`: the run's weights or others, whichever do better on validation photos."""

import json
import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras

from pocketlens.cli.main import run
from pocketlens.project import create_project
from pocketlens.runtime.runs import read_run, read_split
from pocketlens.train import Settings, train
from pocketlens.train.data_check import check_data
from pocketlens.train.lineage import read_seen
from pocketlens.train.pixel_cache import load_pixels
from pocketlens.train.start import Start, Tried, better, choose_start
from pocketlens.train.unfinished import UnfinishedRun


@pytest.fixture(scope="module")
def blind_run(plain_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with weights that tell no photo from another."""
    folder = tmp_path_factory.mktemp("blind") / "blind"
    shutil.copytree(plain_run, folder)
    model = keras.models.load_model(folder / "model.keras", compile=False)
    # Without kernels every photo has the same features.
    weights = model.get_weights()
    model.set_weights([weight * 0 if weight.ndim == 4 else weight for weight in weights])
    model.save(folder / "model.keras")
    return folder


def settings_with(**values: object) -> Settings:
    common = {
        "arch": "cnn_deep",
        "image_size": 32,
        "batch_size": 16,
        "head_epochs": 40,
        "fine_tune_epochs": 1,
        "grid_epochs": 0,
        "unknown": "off",
    }
    return Settings(**common, **values)  # type: ignore[arg-type]


def test_better_weights_are_taken_and_told_and_stay_when_a_training_goes_on(
    tiny_photos: Path,
    plain_run: Path,
    blind_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Interrupt(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "fine-tune" in record.getMessage():
                raise KeyboardInterrupt

    settings = settings_with(from_run=str(plain_run), weights=str(blind_run))
    out = tmp_path / "new"
    monkeypatch.setattr(logging.getLogger("pocketlens"), "handlers", [Interrupt()])
    with caplog.at_level(logging.INFO, "pocketlens"), pytest.raises(KeyboardInterrupt):
        train(tiny_photos, out, settings)
    monkeypatch.undo()
    assert UnfinishedRun.of(out).checkpoint.is_file()

    def again(*_: object) -> Start:
        raise AssertionError("compared again")

    monkeypatch.setattr("pocketlens.train.training.choose_start", again)
    training = train(tiny_photos, out, settings, resume=True)
    record = training.card.training
    assert record["weights"] == record["from_run"] == plain_run.name
    assert record["other_weights"] == blind_run.name
    assert record["weights_loss"] < record["other_weights_loss"]
    assert "is more than chance" in training.start
    assert training.start.startswith(f"Started from the weights of {plain_run.name}: with these")
    assert f"{record['weights_loss']:.3f}" in training.start
    report = out / "report"
    assert json.loads((report / "report.json").read_text())["start"] == training.start
    assert training.start in (report / "index.html").read_text("utf-8")
    # It knows the photos of what it started from.
    assert read_seen(str(out)).splits.keys() >= read_seen(str(plain_run)).splits.keys()


@pytest.mark.parametrize("task", ["multiclass", "binary", "multilabel"])
def test_run_that_is_worse_is_not_started_from(
    task: str, tiny_photos: Path, plain_run: Path, blind_run: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    for label in ("circle", "cross"):
        shutil.copytree(tiny_photos / label, photos / label)
    settings = settings_with(task=task, from_run=str(blind_run), weights=str(plain_run))
    divided = check_data(photos, task).divide(settings.seed)
    splits = load_pixels(divided, (32, 32), settings.resize_mode)
    chosen = choose_start(settings, len(divided.labels), splits, tmp_path)
    assert chosen.weights == str(plain_run)
    assert [entry.weights for entry in chosen.tried] == [str(plain_run), str(blind_run)]
    best, other = (entry.val_loss for entry in chosen.tried)
    # The mean over photos is what Keras says.
    assert chosen.difference == pytest.approx(other - best, abs=1e-3)
    assert 0 < chosen.error < chosen.difference


def test_what_may_be_chance_takes_the_weights_that_know_no_photos() -> None:
    others, flowers = Tried("imagenet", 0.75, 0.8), Tried("runs/flowers", 0.7, 0.85)
    losses, gains = np.full(100, 0.75), np.tile([0.15, -0.05], 50)
    clear = better(others, losses, flowers, losses - gains)
    assert clear.weights == "runs/flowers"
    assert clear.difference == pytest.approx(0.05)
    # What one photo differs by, over the root of how many there are.
    assert clear.error == pytest.approx(0.1 / np.sqrt(99))
    unclear = better(others, losses[:2], flowers, (losses - gains)[:2])
    assert unclear.weights == "imagenet"
    assert unclear.difference == pytest.approx(-0.05)
    assert better(others, losses, flowers, losses).weights == "imagenet"
    assert better(others, losses[:1], flowers, losses[:1] - 0.5).weights == "imagenet"
    assert clear.text == (
        "Started from the weights of flowers: with these a head has a validation loss of 0.700 "
        "(accuracy 85.0%), with those of ImageNet 0.750 (80.0%); the difference of 0.050 ± 0.010 "
        "is more than chance."
    )
    assert unclear.text.startswith("Started from the weights of ImageNet: with these a head has")
    assert unclear.text.endswith("0.050 ± 0.100 may be chance.")
    for entry in (clear, unclear):
        assert Start.from_json(json.loads(json.dumps(entry.to_json()))) == entry


def test_nothing_is_compared_without_a_choice(plain_run: Path, blind_run: Path) -> None:
    alone = choose_start(settings_with(from_run=str(plain_run)), 3, {}, Path())
    assert alone.weights == str(plain_run)
    assert "there are no others to compare them with" in alone.text
    plain = choose_start(settings_with(weights=str(blind_run)), 3, {}, Path())
    assert (plain.weights, plain.text) == (str(blind_run), "")
    for entry in (alone, plain):
        assert Start.from_json(json.loads(json.dumps(entry.to_json()))) == entry


def test_project_trains_again_with_a_new_class_and_more_photos(
    tiny_photos: Path,
    plain_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By the command line: the network is the run's, and its test photos stay test photos."""
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))
    project = create_project(tmp_path / "project", ["circle", "cross", "dots"])
    # It has no stripes any more, and dots are new.
    for label in ("circle", "cross"):
        shutil.copytree(tiny_photos / label, project.photos / label, dirs_exist_ok=True)
    shutil.rmtree(project.photos / "unknown")
    rng = np.random.default_rng(3)
    for index in range(12):
        image = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((6, 6, 1))).astype(np.uint8)
        cv2.imwrite(str(project.photos / "dots" / f"{index}.png"), image)
    shutil.copytree(plain_run, project.runs / "first")
    split = read_split(plain_run)
    out = project.runs / "second"
    command = ["train", str(project.photos), "--out", str(out), "--from"]
    command += [str(project.runs / "first"), "--seed", "5"]
    command += ["--head-epochs", "2", "--fine-tune-epochs", "1", "--grid-epochs", "0"]
    with caplog.at_level(logging.INFO, "pocketlens"):
        assert run(command) == 0
    assert "As in first: arch cnn_deep, unknown off, image size 32." in caplog.text
    assert "of 72 photos had a split in earlier runs and keep it." in caplog.text
    assert "Started from the weights of first" in capsys.readouterr().out
    card = read_run(out).card
    assert card.labels == ("circle", "cross", "dots")
    assert card.input_size_wh == (32, 32)
    assert (card.training["splits_of"], card.training["from_run"]) == ("first", "first")
    parts = read_split(out).parts
    for name, members in parts.items():
        had = {path for path in split.parts[name] if not path.startswith("stripes")}
        assert had == {path for path in members if not path.startswith("dots")}
        assert any(path.startswith("dots") for path in members)
    # Another network is refused in a sentence; nothing is read or written before.
    assert run([*command, "--arch", "cnn_small", "--out", str(tmp_path / "third")]) == 2
    assert "as in the run of --from, or none, to take the run's" in capsys.readouterr().err
    fourth = ["--out", str(tmp_path / "fourth")]
    assert run([*command, "--splits-of", "none", "--splits-of", str(out), *fourth]) == 2
    assert "Expected runs or none for --splits-of" in capsys.readouterr().err
