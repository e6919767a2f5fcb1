"""`evaluate`: the same photos, the same metrics, whatever kind of file the model is in."""

import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow", reason="evaluation needs the train extra")

import keras

from pocketlens.cli.main import run
from pocketlens.errors import UsageError
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.runs import read_run
from pocketlens.train import evaluate_model, evaluate_with_report
from pocketlens.train.feature_maps import feature_maps


def test_run_is_evaluated_as_training_did(tiny_run: Path) -> None:
    measured = evaluate_model(tiny_run, tiny_run).result
    metrics = read_run(tiny_run).card.metrics
    assert measured.count == metrics["test_count"]
    assert measured.accuracy == pytest.approx(metrics["test_accuracy"], abs=1e-4)
    assert measured.macro_f1 == pytest.approx(metrics["test_macro_f1"], abs=1e-4)
    assert evaluate_model(tiny_run / "model.keras", tiny_run).result == measured


def test_label_sets_are_measured_on_the_test_photos(
    plain_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(plain_run, tmp_path / "run")
    card = read_run(plain_run).card
    card = replace(card, sets={"0.8": 0.4, "0.95": 0.0})
    (tmp_path / "run" / "card.json").write_text(card.to_json(), "utf-8")
    target = tmp_path / "evaluation.json"
    assert run(["evaluate", str(tmp_path / "run"), str(plain_run), "--json", str(target)]) == 0
    first, last = json.loads(target.read_text("utf-8"))["sets"]
    scores = evaluate_model(plain_run, plain_run).answers
    inside = (scores.scores >= 0.4) | (scores.scores == scores.scores.max(axis=1, keepdims=True))
    assert first["coverage"] == pytest.approx((inside & scores.truth).any(axis=1).mean())
    assert first["mean_size"] == pytest.approx(inside.sum(axis=1).mean())
    assert first["worst_coverage"] <= first["coverage"]
    assert first["worst_class"] in card.labels
    assert (last["level"], last["coverage"], last["mean_size"]) == (0.95, 1, len(card.labels))
    lines = capfd.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines if "--sets" in line] == [
        "--sets 0.8",
        "--sets 0.95",
    ]


def test_float32_file_is_evaluated_as_the_run(
    tiny_run: Path, tiny_models: dict[str, Path], tiny_photos: Path
) -> None:
    file, run_ = (
        evaluate_model(model, tiny_photos) for model in (tiny_models["float32"], tiny_run)
    )
    np.testing.assert_allclose(file.answers.scores, run_.answers.scores, atol=1e-4)
    assert file.result.confusion == run_.result.confusion
    assert file.photos == run_.photos


def test_report_of_a_run(tiny_run: Path, tiny_photos: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    photo = sorted((tiny_photos / "cross").iterdir())[3]
    arguments = ["evaluate", str(tiny_run), str(tiny_photos), "--report", str(report)]
    arguments += ["--feature-maps", str(photo)]
    assert run(arguments) == 0
    names = {path.name for path in report.iterdir()}
    assert names >= {
        "index.html",
        "report.json",
        "confusion.png",
        "confusion_percent.png",
        "roc.png",
        "calibration.png",
        "feature_maps_1.png",
    }
    page = (report / "index.html").read_text("utf-8")
    assert "://" not in page
    assert f"Feature maps of {photo.name}" in page
    assert page.count("<svg ") == 4
    payload = json.loads((report / "report.json").read_text())
    assert payload["temperature"] == read_run(tiny_run).card.metrics["temperature"]
    wrong = 90 - round(90 * payload["accuracy"])
    assert len(payload["mistakes"]) == wrong
    assert sum(pair["photos"] for pair in payload["confused"]) == wrong
    assert page.count('class="photo"') >= min(wrong, 20)
    for mistake in payload["mistakes"]:
        assert Path(mistake["photo"]).parent.name == mistake["truth"] != mistake["answer"]
    assert run(arguments) == 2
    assert run([*arguments, "--overwrite"]) == 0


def test_report_never_takes_the_place_of_something_else(
    tiny_tflite: Path, tiny_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious.txt").write_text("x")
    arguments = ["evaluate", str(tiny_tflite), str(tiny_photos), "--report", str(tmp_path)]
    assert run([*arguments, "--overwrite"]) == 2
    assert "choose another folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_labels_are_text_on_the_page(tmp_path: Path, tiny_photos: Path, tiny_run: Path) -> None:
    odd = tmp_path / "photos" / "<b>&$x$"
    shutil.copytree(tiny_photos / "cross", odd)
    shutil.copytree(tiny_photos / "circle", tmp_path / "photos" / "o")
    foreign = shutil.copy(tiny_run / "model.keras", tmp_path / "other.keras")
    labels = tmp_path / "labels.txt"
    labels.write_text("<b>&$x$\no\nz\n")
    report = tmp_path / "report"
    evaluate_with_report(Path(foreign), tmp_path / "photos", ModelHints(labels), report=report)
    page = (report / "index.html").read_text("utf-8")
    assert "&lt;b&gt;&amp;$x$" in page
    assert "<b>&" not in page


def test_third_party_keras_file(
    tiny_run: Path, tiny_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = Path(shutil.copy(tiny_run / "model.keras", tmp_path / "other.keras"))
    labels = tmp_path / "names.txt"
    assert run(["evaluate", str(foreign), str(tiny_photos)]) == 2
    assert "--labels FILE" in capsys.readouterr().err
    labels.write_text("circle\ncross\n")
    assert run(["evaluate", str(foreign), str(tiny_photos), "--labels", str(labels)]) == 2
    assert "Expected 3 labels" in capsys.readouterr().err
    labels.write_text("circle\ncross\nstripes\n")
    same = evaluate_model(foreign, tiny_photos, ModelHints(labels))
    known = evaluate_model(tiny_run, tiny_photos)
    np.testing.assert_array_equal(same.answers.scores, known.answers.scores)
    assert same.temperature is None


def small_keras(path: Path, outputs: int, activation: str | None) -> Path:
    """Save a model that looks at the mean red of pixels that were brought to -1 to 1."""
    pixels = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(pixels)
    head = keras.layers.Dense(outputs, activation=activation)
    model = keras.Model(pixels, head(x))
    kernel = np.zeros((3, outputs), np.float32)
    kernel[0, -1] = 10
    head.set_weights([kernel, np.zeros(outputs, np.float32)])
    model.save(path)
    return path


@pytest.fixture
def red_and_blue(tmp_path: Path) -> Path:
    for label, colour in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
        (tmp_path / "colours" / label).mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (10 + index, 10), colour).save(
                tmp_path / "colours" / label / f"{index}.png"
            )
    return tmp_path / "colours"


@pytest.mark.parametrize(
    ("outputs", "activation"), [(2, "softmax"), (2, None), (1, "sigmoid"), (1, None)]
)
def test_third_party_keras_with_normalisation_and_logits(
    outputs: int, activation: str | None, red_and_blue: Path, tmp_path: Path
) -> None:
    model = small_keras(tmp_path / "red.keras", outputs, activation)
    labels = tmp_path / "labels.txt"
    labels.write_text("blue\nred\n")
    found = evaluate_model(model, red_and_blue, ModelHints(labels, mean=127.5, std=127.5))
    assert found.result.task == ("multiclass" if outputs == 2 else "binary")
    assert found.result.accuracy == 1
    # The mean red is -1 or 1, so the logits are 10 apart from nought, or from each other.
    certain = 1 / (1 + np.exp(-10))
    np.testing.assert_allclose(found.answers.scores.max(axis=1), certain, atol=1e-5)


@pytest.mark.parametrize(("mode", "answer"), [(None, "red"), ("stretch", "red"), ("crop", "blue")])
def test_resize_mode_of_a_third_party_model(mode: str | None, answer: str, tmp_path: Path) -> None:
    model = small_keras(tmp_path / "red.keras", 2, "softmax")
    labels = tmp_path / "labels.txt"
    labels.write_text("blue\nred\n")
    pixels = np.zeros((10, 40, 3), np.uint8)
    pixels[..., 0] = 255
    pixels[:, 15:25] = (0, 0, 255)
    (tmp_path / "photos" / answer).mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "photos" / answer / "wings.png")
    said = ModelHints(labels, 127.5, 127.5, resize_mode=mode)
    assert evaluate_model(model, tmp_path / "photos", said).result.accuracy == 1


def test_third_party_keras_that_is_no_classifier(
    red_and_blue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = keras.Input((None, None, 3))
    keras.Model(pixels, keras.layers.Conv2D(2, 3)(pixels)).save(tmp_path / "odd.keras")
    labels = tmp_path / "labels.txt"
    labels.write_text("blue\nred\n")
    arguments = ["evaluate", str(tmp_path / "odd.keras"), str(red_and_blue)]
    assert run([*arguments, "--labels", str(labels)]) == 1
    assert "Expected an image classifier with an input" in capsys.readouterr().err


def test_another_size_than_a_keras_model_has_is_refused(red_and_blue: Path, tmp_path: Path) -> None:
    model = small_keras(tmp_path / "red.keras", 2, "softmax")
    hints = ModelHints(("blue", "red"), 127.5, 127.5, image_size=32)
    with pytest.raises(UsageError, match=r"no --image-size for .*red\.keras, whose input is 8x8"):
        evaluate_model(model, red_and_blue, hints)


def test_scores_that_are_no_numbers(
    red_and_blue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = keras.models.load_model(small_keras(tmp_path / "red.keras", 2, None))
    model.layers[-1].set_weights([np.full((3, 2), np.nan, np.float32), np.zeros(2, np.float32)])
    model.save(tmp_path / "nan.keras")
    labels = tmp_path / "labels.txt"
    labels.write_text("blue\nred\n")
    arguments = ["evaluate", str(tmp_path / "nan.keras"), str(red_and_blue)]
    assert run([*arguments, "--labels", str(labels)]) == 1
    assert "Expected finite scores" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "photos", "code"),
    [
        ("nowhere.tflite", "good", 2),
        ("nowhere", "good", 2),
        ("other.keras", "good", 2),
        ("other.h5", "good", 2),
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
    (tmp_path / "other.h5").write_text("")
    model_path = tiny_tflite if model == "good" else tmp_path / model
    photos_path = tiny_photos if photos == "good" else tmp_path / photos
    assert run(["evaluate", str(model_path), str(photos_path)]) == code
    error = capsys.readouterr().err
    assert "Received" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--labels", "tiny/labels.txt"], "its card says. Received: --labels"),
        (["--resize", "crop"], "its card says. Received: --resize crop"),
        (["--mean", "1", "--std", "2"], "its card says. Received: --mean 1.0, --std 2.0"),
        (["--feature-maps", "photos/cross/00.png"], "Expected --report DIR"),
    ],
    ids=["labels", "resize", "mean", "maps without a page"],
)
def test_too_much_said_about_a_run(
    options: list[str],
    text: str,
    tiny_run: Path,
    tiny_photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tiny_run.parent)
    assert run(["evaluate", str(tiny_run), str(tiny_photos), *options]) == 2
    assert text in capsys.readouterr().err


def test_no_feature_maps_of_a_tflite(
    tiny_tflite: Path, tiny_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = str(tiny_photos / "cross" / "00.png")
    arguments = ["evaluate", str(tiny_tflite), str(tiny_photos), "--feature-maps", photo]
    assert run([*arguments, "--report", str(tmp_path / "report")]) == 2
    assert "cannot be looked into" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_feature_maps_are_what_the_layers_give() -> None:
    pixels = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 255)(pixels)
    inner_input = keras.Input((16, 16, 3))
    y = keras.layers.Conv2D(5, 3, padding="same", name="first")(inner_input)
    y = keras.layers.Conv2D(20, 3, strides=2, padding="same", name="second")(y)
    inner = keras.Model(inner_input, y)
    x = keras.layers.GlobalAveragePooling2D()(inner(x))
    model = keras.Model(pixels, keras.layers.Dense(2)(x))
    photo = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    maps = feature_maps(model, photo)
    assert [(entry.layer, entry.shape) for entry in maps] == [
        ("first", (16, 16, 5)),
        ("second", (8, 8, 20)),
    ]
    # The brightest pixel of the strongest channel is where its value is highest.
    values = np.asarray(inner.get_layer("first")(photo[None] / 255.0))[0]
    strongest = values[..., values.std(axis=(0, 1)).argmax()]
    tile = np.asarray(Image.open(io.BytesIO(maps[0].png)).convert("RGBA").convert("L"))[:104, :104]
    row, column = np.unravel_index(strongest.argmax(), strongest.shape)
    low_row, low_column = np.unravel_index(strongest.argmin(), strongest.shape)
    step = 104 / 16
    brightest = tile[int((row + 0.5) * step), int((column + 0.5) * step)]
    darkest = tile[int((low_row + 0.5) * step), int((low_column + 0.5) * step)]
    assert brightest == tile.max()
    assert darkest == tile.min()


def test_nothing_of_tensorflow_is_printed(tiny_tflite: Path, tiny_photos: Path) -> None:
    command = [sys.executable, "-m", "pocketlens", "evaluate", str(tiny_tflite), str(tiny_photos)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert all("used to train or choose" in line for line in done.stderr.splitlines())
    assert "Accuracy" in done.stdout


def test_an_open_size_and_an_activation_can_be_said(red_and_blue: Path, tmp_path: Path) -> None:
    pixels = keras.Input((None, None, 3))
    means = keras.layers.GlobalAveragePooling2D()(pixels)
    model = keras.Model(pixels, keras.layers.Dense(2)(means))
    # Blue and red, as logits that look like scores.
    model.layers[-1].set_weights(
        [np.array([[0, 0.003], [0, 0], [0.003, 0]], np.float32), np.zeros(2, np.float32)]
    )
    model.save(tmp_path / "open.keras")
    hints = ModelHints(("blue", "red"), 0, 1, image_size=32, activation="softmax")
    found = evaluate_model(tmp_path / "open.keras", red_and_blue, hints)
    assert found.result.accuracy == 1
    np.testing.assert_allclose(found.answers.scores.sum(axis=1), 1, atol=1e-6)
