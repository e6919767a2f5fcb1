"""Training with options other than the defaults: what they do to a run, and what they must not."""

import csv
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras

from pocketlens.cli.main import run
from pocketlens.errors import UsageError
from pocketlens.int8_grid import LEVELS
from pocketlens.train import Settings, phases, train
from pocketlens.train.data_check import check_data
from pocketlens.train.grid import kernel_of
from pocketlens.train.networks import flat_layers
from pocketlens.train.pixel_cache import load_pixels

PLAIN = Settings(arch="cnn_deep", image_size=32, weights="none", batch_size=16, grid_epochs=1)


def kernels_on_grid(model: keras.Model) -> bool:
    for kernel, axes in filter(None, map(kernel_of, flat_layers(model))):
        values = kernel.numpy()
        scale = np.abs(values).max(axis=axes, keepdims=True) / LEVELS
        levels = values / np.where(scale == 0, 1, scale)
        if np.abs(levels - np.rint(levels)).max() > 1e-3:
            return False
    return True


def test_other_options_lead_to_a_plain_model(
    tiny_photos: Path, plain_run: Path, tmp_path: Path
) -> None:
    """Half precision, SGD and the grid: the saved model is float32, with kernels on the grid."""
    settings = dataclasses.replace(
        PLAIN,
        weights=str(plain_run),
        head_epochs=2,
        fine_tune_epochs=1,
        augmentation="strong",
        balance="oversample",
        optimizer="sgd",
        schedule="plateau",
        label_smoothing=0.1,
        mixed_precision=True,
        unknown="off",
    )
    training = train(tiny_photos, tmp_path / "run", settings)
    model = keras.models.load_model(tmp_path / "run" / "model.keras", compile=False)
    assert {layer.dtype_policy.name for layer in flat_layers(model)} == {"float32"}
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    assert kernels_on_grid(model)
    with (tmp_path / "run" / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["phase"] for row in rows] == ["head", "head", "fine-tune", "grid"]
    # Plateau leaves the rate alone while validation gets better; SGD's is five times Adam's.
    assert float(rows[0]["learning_rate"]) == pytest.approx(settings.rates.head)
    # What was evaluated is what was saved.
    divided = check_data(tiny_photos).divide(settings.seed)
    test = load_pixels(divided, (32, 32), settings.resize_mode)["test"]
    scores = model.predict(test.pixels.astype(np.float32), verbose=0)
    assert (scores.argmax(axis=1) == test.labels).mean() == pytest.approx(training.test.accuracy)


def test_augmentation_sees_training_photos_only(
    tiny_photos: Path, plain_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every picture that is augmented, for any phase or the sheet, is of the training split."""
    seen: list[bytes] = []

    def augment(pixels: np.ndarray, rng: np.random.Generator, **_: Any) -> np.ndarray:
        del rng
        seen.extend(picture.tobytes() for picture in pixels)
        return 255 - pixels

    monkeypatch.setattr(phases, "augment", augment)
    settings = dataclasses.replace(PLAIN, weights=str(plain_run), head_epochs=1, fine_tune_epochs=1)
    train(tiny_photos, tmp_path / "run", settings)
    divided = check_data(tiny_photos).divide(settings.seed)
    splits = load_pixels(divided, (32, 32), settings.resize_mode)
    assert set(seen) == {picture.tobytes() for picture in splits["train"].pixels}


def test_a_run_without_augmentation_says_what_was_done(tiny_photos: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(
        PLAIN,
        fine_tune_epochs=1,
        # At this rate an epoch makes nothing better.
        grid_learning_rate=1.0,
        augmentation="none",
    )
    done = train(tiny_photos, tmp_path / "run", settings).card.training
    assert (done["learning_rate"], done["grid_learning_rate"]) == (0.002, 1.0)
    assert (done["head_epochs"], done["head_learning_rate"]) == (0, None)
    assert (done["fine_tune_epochs"], done["kept_fine_tune_epochs"]) == (1, 1)
    assert (done["grid_epochs"], done["kept_grid_epochs"]) == (1, 0)
    assert done["mixed_precision"] is False
    report = tmp_path / "run" / "report"
    assert (report / "index.html").exists()
    assert not (report / "augmentation.png").exists()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"augmentation": "wild"}, "--augment wild"),
        ({"balance": "luck"}, "--balance luck"),
        ({"optimizer": "lbfgs"}, "--optimizer lbfgs"),
        ({"schedule": "steps"}, "--schedule steps"),
        ({"learning_rate": 0.0}, "--learning-rate 0.0"),
        ({"seed": -1}, "--seed -1"),
        ({"seed": 1 << 32}, "--seed 4294967296"),
        ({"label_smoothing": 1.0}, "--label-smoothing 1.0"),
        ({"label_smoothing": -0.1}, "--label-smoothing -0.1"),
        (
            {"task": "multilabel", "balance": "oversample"},
            "--balance oversample with --task",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_cannot_be(values: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match="Expected") as error:
        Settings(**values)
    assert text in str(error.value)


def test_weights_of_another_network_are_refused_at_once(tiny_run: Path) -> None:
    assert Settings(alpha=0.35, weights=str(tiny_run)).pretrained
    with pytest.raises(UsageError, match=r"which is mobilenet_v2 with alpha 0.35"):
        Settings(alpha=0.5, weights=str(tiny_run))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], {}),
        (["--balance", "oversample"], {"balance": "oversample"}),
        (["--balance=none"], {"balance": "none"}),
        (["--oversample"], {"balance": "oversample"}),
        (["--no-class-weights"], {"balance": "none"}),
        (["--learning-rate", "0.001"], {"learning_rate": 0.001}),
        (["--augment", "strong", "--no-flip"], {"augmentation": "strong", "flip": False}),
        (
            ["--optimizer", "sgd", "--schedule", "plateau"],
            {"optimizer": "sgd", "schedule": "plateau"},
        ),
        (["--label-smoothing", "0.1"], {"label_smoothing": 0.1}),
        (["--mixed-precision"], {"mixed_precision": True}),
        (["--no-mixed-precision"], {"mixed_precision": False}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_flags(
    flags: list[str],
    expected: dict[str, Any],
    tiny_photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[Settings] = []

    def train(_photos: Path, _out: Path, settings: Settings, **_: Any) -> None:
        given.append(settings)

    monkeypatch.setattr("pocketlens.train.train", train)
    monkeypatch.setattr("pocketlens.cli.evaluate.summarise", lambda *_: None)
    run_folder = str(tmp_path / "run")
    assert run(["train", str(tiny_photos), "--out", run_folder, *flags]) == 0
    assert given == [Settings(**expected)]


@pytest.mark.parametrize(
    ("values", "main", "grid"),
    [
        ({"weights": "imagenet"}, 5e-5, 2e-5),
        ({"weights": "none"}, 2e-3, 2e-4),
        ({"weights": "none", "optimizer": "sgd"}, 1e-2, 1e-3),
        ({"weights": "imagenet", "learning_rate": 1e-3}, 1e-3, 4e-4),
        ({"weights": "none", "optimizer": "sgd", "learning_rate": 1e-3}, 1e-3, 1e-4),
        ({"weights": "none", "learning_rate": 1e-3, "grid_learning_rate": 1e-5}, 1e-3, 1e-5),
    ],
    ids=lambda value: ",".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_learning_rates(values: dict[str, Any], main: float, grid: float) -> None:
    rates = Settings(**values).rates
    assert (rates.main, rates.grid) == (pytest.approx(main), pytest.approx(grid))


TWO_DEVICES = """
import sys
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from pathlib import Path
from pocketlens.train import Settings, train, training

photos, weights, out = map(Path, sys.argv[1:])
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
training.all_gpus = strategy.scope
settings = Settings(
    arch="cnn_deep", image_size=32, weights=str(weights), batch_size=16,
    head_epochs=1, fine_tune_epochs=0, grid_epochs=1,
)
train(photos, out, settings)
"""


def test_two_devices_train_together(tiny_photos: Path, unknown_run: Path, tmp_path: Path) -> None:
    """Two CPUs stand in for two GPUs."""
    arguments = [tiny_photos, unknown_run, tmp_path / "run"]
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    model = keras.models.load_model(tmp_path / "run" / "model.keras", compile=False)
    before = keras.models.load_model(unknown_run / "model.keras", compile=False)
    assert kernels_on_grid(model)
    changed = [
        not np.array_equal(one, other)
        for one, other in zip(model.get_weights(), before.get_weights(), strict=True)
    ]
    assert sum(changed) >= 9
