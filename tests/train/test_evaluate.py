"""`evaluate`: the same photos, the same metrics, whatever kind of file the model is in."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="evaluation needs the train extra")

from pocketlens.cli import run
from pocketlens.errors import LabelsError
from pocketlens.runtime.runs import read_run
from pocketlens.train import evaluate_model


def test_run_is_evaluated_as_training_did(tiny_run: Path) -> None:
    measured = evaluate_model(tiny_run, tiny_run).result
    metrics = read_run(tiny_run).card.metrics
    assert measured.count == metrics["test_count"] == 18
    assert measured.accuracy == pytest.approx(metrics["test_accuracy"], abs=1e-4)
    assert measured.macro_f1 == pytest.approx(metrics["test_macro_f1"], abs=1e-4)
    assert evaluate_model(tiny_run / "model.keras", tiny_run).result == measured


def test_float32_file_is_evaluated_as_the_run(
    tiny_run: Path, tiny_models: dict[str, Path], tiny_photos: Path
) -> None:
    file, run_ = (
        evaluate_model(model, tiny_photos) for model in (tiny_models["float32"], tiny_run)
    )
    np.testing.assert_allclose(file.answers.scores, run_.answers.scores, atol=1e-4)
    assert file.result.confusion == run_.result.confusion
    assert file.photos == run_.photos


def test_unreadable_photos_are_counted(
    tiny_tflite: Path, tiny_photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_photos, tmp_path / "photos")
    next((tmp_path / "photos" / "cross").iterdir()).write_bytes(b"")
    measured = evaluate_model(tiny_tflite, tmp_path / "photos")
    assert measured.skipped == 1
    assert measured.result.count == 89


def test_some_classes_are_enough(tiny_tflite: Path, tiny_photos: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_photos / "cross", tmp_path / "photos" / "cross")
    result = evaluate_model(tiny_tflite, tmp_path / "photos").result
    assert [entry.support for entry in result.classes] == [0, 30, 0]
    assert result.accuracy == result.classes[1].recall


def test_foreign_class(tiny_tflite: Path, tiny_photos: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_photos / "cross", tmp_path / "photos" / "zebra")
    with pytest.raises(LabelsError, match="zebra"):
        evaluate_model(tiny_tflite, tmp_path / "photos")


def test_command_line(
    tiny_tflite: Path, tiny_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", str(tiny_tflite), str(tiny_photos)]) == 0
    text = capsys.readouterr().out
    assert "Accuracy" in text
    assert "stripes" in text
    target = tmp_path / "out.json"
    assert run(["evaluate", str(tiny_tflite), str(tiny_photos), "--json", str(target)]) == 0
    payload = json.loads(target.read_text())
    assert payload["count"] == 90
    assert payload["labels"] == ["circle", "cross", "stripes"]
    assert run(["evaluate", str(tiny_tflite), str(tiny_photos), "--json", str(target)]) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "photos", "code"),
    [
        ("nowhere.tflite", "good", 2),
        ("nowhere", "good", 2),
        ("other.keras", "good", 2),
        ("good", "nowhere", 2),
        ("good", "empty", 1),
    ],
)
def test_bad_input(
    model: str,
    photos: str,
    code: int,
    tiny_tflite: Path,
    tiny_photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.keras").write_text("")
    model_path = tiny_tflite if model == "good" else tmp_path / model
    photos_path = tiny_photos if photos == "good" else tmp_path / photos
    assert run(["evaluate", str(model_path), str(photos_path)]) == code
    error = capsys.readouterr().err
    assert "Received" in error
    assert "Traceback" not in error


def test_nothing_of_tensorflow_is_printed(tiny_tflite: Path, tiny_photos: Path) -> None:
    command = [sys.executable, "-m", "pocketlens", "evaluate", str(tiny_tflite), str(tiny_photos)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "Accuracy" in done.stdout
