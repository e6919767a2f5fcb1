"""Models that end in logits: found out on photos, and an activation appended."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs the train extra")

import keras
import tensorflow as tf

from pocketlens.convert import Demands, convert
from pocketlens.convert.activations import activate, find_activation
from pocketlens.runtime import Classifier
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.photos import read_pixels

SIZE = 32
PATH = Path("model.keras")


def network(outputs: int) -> keras.Model:
    """A network without a last activation, whose outputs differ from picture to picture."""
    keras.utils.set_random_seed(1)
    pixels = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(pixels)
    x = keras.layers.Conv2D(16, 3, strides=2, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    sharp = keras.initializers.RandomNormal(stddev=8.0, seed=3)
    return keras.Model(pixels, keras.layers.Dense(outputs, kernel_initializer=sharp)(x))


def saved(model: keras.Model, folder: Path, kind: str) -> Path:
    path = folder / f"model.{kind}"
    if kind == "keras":
        model.save(path)
    elif kind == "tflite":
        # With an open batch, as nearly everybody writes it.
        path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    else:
        model.export(path, verbose=False)
    return path


@pytest.mark.parametrize("kind", ["keras", "SavedModel", "tflite"])
@pytest.mark.parametrize(
    ("outputs", "task", "activation"),
    [(3, None, "softmax"), (1, None, "sigmoid"), (3, "multilabel", "sigmoid")],
    ids=["multiclass", "binary", "multilabel"],
)
def test_logits_become_scores(
    kind: str, outputs: int, task: str | None, activation: str, tiny_photos: Path, tmp_path: Path
) -> None:
    model = network(outputs)
    path = saved(model, tmp_path, kind)
    hints: dict[str, Any] = {} if kind == "keras" else {"mean": 0.0, "std": 1.0}
    files = convert(
        path,
        tmp_path,
        # float16 by two ways, and the one that is quantized as a whole.
        ["float32", "float16", "int8"] if task is None else ["float32"],
        hints=ModelHints(("a", "b", "c")[: max(outputs, 2)], task=task, **hints),
        representative=tiny_photos,
        samples=60,
        demands=Demands(max_drop=100),
    )
    paths = sorted(tiny_photos.rglob("*.png"))[::9]
    pixels = np.stack(list(read_pixels(paths, (SIZE, SIZE), "stretch")))
    logits = model.predict(pixels.astype(np.float32), verbose=0)
    assert np.abs(logits).max() > 1
    expected = (keras.ops.softmax if activation == "softmax" else keras.ops.sigmoid)(logits)
    for file in files:
        with Classifier(file.path) as classifier:
            assert classifier.card.activation == "none"
            assert classifier.card.metrics["appended_activation"] == activation
            scores = np.stack([classifier.scores(entry) for entry in pixels])
        tolerance = {"float32": 1e-4, "float16": 5e-3, "int8": 0.06}[file.format]
        np.testing.assert_allclose(scores, np.asarray(expected), atol=tolerance)
        assert file.comparison.agreement > 0.9
        assert file.shortfall is None


@pytest.mark.parametrize("kind", ["keras", "tflite"])
def test_said_activation_counts(kind: str, tiny_photos: Path, tmp_path: Path) -> None:
    """It is appended once, and the runtime adds nothing."""
    model = network(3)
    hints: dict[str, Any] = {} if kind == "keras" else {"mean": 0.0, "std": 1.0}
    (file,) = convert(
        saved(model, tmp_path, kind),
        tmp_path,
        ["float32"],
        hints=ModelHints(("a", "b", "c"), activation="sigmoid", **hints),
        representative=tiny_photos,
        samples=80,
    )
    pixels = np.full((SIZE, SIZE, 3), 200, np.uint8)
    with Classifier(file.path) as classifier:
        scores = classifier.scores(pixels)
    expected = keras.ops.sigmoid(model(pixels[None].astype(np.float32)))[0]
    np.testing.assert_allclose(scores, np.asarray(expected), atol=1e-4)


@pytest.mark.parametrize(
    ("outputs", "task", "expected"),
    [
        ([[0.1, 0.9], [0.5, 0.5]], "multiclass", "none"),
        ([[0.1, 1.1]], "multiclass", "softmax"),
        ([[-0.1, 0.4]], "multilabel", "sigmoid"),
        ([[7.0]], "binary", "sigmoid"),
        ([[0.2]], "binary", "none"),
        ([[0.9, 0.9]], "multilabel", "none"),
        # Rounding.
        ([[1.0000002, 0.0]], "multiclass", "none"),
    ],
)
def test_what_makes_scores(outputs: list[list[float]], task: str, expected: str) -> None:
    assert find_activation(PATH, np.array(outputs, np.float32), task) == expected


def test_unclear_outputs_are_said(caplog: pytest.LogCaptureFixture) -> None:
    assert find_activation(PATH, np.array([[0.9, 0.8]], np.float32), "multiclass") == "none"
    assert "set --activation softmax" in caplog.text


def test_large_logits_do_not_overflow() -> None:
    logits = np.array([[1e4, -1e4, 0.0]], np.float32)
    np.testing.assert_allclose(activate(logits, "softmax"), [[1, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(activate(logits, "sigmoid"), [[1, 0, 0.5]], atol=1e-6)
