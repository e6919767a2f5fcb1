"""Networks with operators that XNNPACK or 8 bits do not have: five files that say so."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs the train extra")

import keras
import tensorflow as tf
from keras import layers

from pocketlens.cli.main import run
from pocketlens.convert import FORMATS, Demands, IncompleteError, convert
from pocketlens.convert.encoders import Encoder
from pocketlens.runtime import Classifier
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.photos import read_pixels

SIZE = 32
LABELS = ("circle", "cross", "stripes")


def network(middle: Callable[[Any], Any]) -> keras.Model:
    """A network with some layers in it, whose scores differ from picture to picture."""
    keras.utils.set_random_seed(1)
    pixels = keras.Input((SIZE, SIZE, 3))
    x = layers.Rescaling(1 / 127.5, -1.0)(pixels)
    x = middle(layers.Conv2D(16, 3, strides=2, padding="same")(x))
    x = middle(layers.Conv2D(24, 3, strides=2, padding="same")(x))
    return keras.Model(pixels, head(x))


def head(x: Any) -> Any:
    sharp = keras.initializers.RandomNormal(stddev=4.0, seed=3)
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dense(3, activation="softmax", kernel_initializer=sharp)(x)


def attention(x: Any) -> Any:
    height, width, channels = x.shape[1:]
    rows = layers.Reshape((height * width, channels))(x)
    rows = rows + layers.MultiHeadAttention(2, 8)(rows, rows)
    return layers.Reshape((height, width, channels))(rows)


# Whether XNNPACK runs all of the float32 file, and one of the operators that int8 leaves outside or
# in float.
NETWORKS = {
    "gelu": (layers.Activation("gelu"), True, "GELU"),
    "elu": (layers.Activation("elu"), True, "ELU"),
    "selu": (layers.Activation("selu"), False, "EXP"),
    "normalized layers": (lambda x: layers.LayerNormalization()(x), True, "RSQRT"),
    "normalized groups": (lambda x: layers.GroupNormalization(4)(x), True, "SQUARE"),
    "prelu": (lambda x: layers.PReLU("glorot_uniform", shared_axes=[1, 2])(x), True, "PRELU"),
    "up": (layers.UpSampling2D(2), False, "TILE"),
    "attention": (attention, True, "BATCH_MATMUL"),
}


def converted(path: Path, photos: Path, out: Path, **options: Any) -> list[Any]:
    return convert(
        path,
        out,
        hints=ModelHints(LABELS, **options),
        data=photos,
        representative=photos,
        samples=12,
        # Nobody trained these, so their answers hang by a hair.
        demands=Demands(max_drop=100),
    )


def compare(files: list[Any], model: keras.Model, photos: Path) -> None:
    """Compare the scores of files with those of the model that they were made from."""
    paths = sorted(photos.rglob("*.png"))[::6]
    pixels = np.stack(list(read_pixels(paths, (SIZE, SIZE), "stretch")))
    expected = model.predict(pixels.astype(np.float32), verbose=0)
    assert np.ptp(expected, axis=0).max() > 0.01
    for file in files:
        with Classifier(file.path) as classifier:
            scores = np.stack([classifier.scores(entry) for entry in pixels])
        tolerance = {"float32": 1e-4, "float16": 5e-3}.get(file.format, 0.2)
        np.testing.assert_allclose(scores, expected, atol=tolerance, err_msg=file.format)


@pytest.mark.parametrize("kind", NETWORKS)
def test_operators_outside_are_in_the_card(kind: str, tiny_photos: Path, tmp_path: Path) -> None:
    middle, whole, operator = NETWORKS[kind]
    model = network(middle)
    model.save(tmp_path / "model.keras")
    made = converted(tmp_path / "model.keras", tiny_photos, tmp_path)
    assert [file.format for file in made] == list(FORMATS)
    compare(made, model, tiny_photos)
    files = {file.format: file for file in made}
    assert (files["float32"].operators.partitions == 1) == whole
    assert (files["float32"].shortfall is None) == whole
    shortfall = files["int8"].shortfall
    assert shortfall is not None
    assert operator in {**shortfall.outside, **shortfall.in_float}
    with Classifier(files["int8"].path) as classifier:
        metrics = classifier.card.metrics
    assert metrics["partitions"] == shortfall.partitions == files["int8"].operators.partitions
    assert metrics["outside_xnnpack"] == shortfall.outside
    assert metrics["float_operators"] == shortfall.in_float


def test_the_summary_says_it(
    tiny_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network(layers.Activation("elu")).save(tmp_path / "model.keras")
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    arguments = ["convert", str(tmp_path / "model.keras"), "--out", str(tmp_path), "--force"]
    arguments += ["--labels", str(tmp_path / "labels.txt"), "--photos", str(tiny_photos)]
    arguments += ["--calibration-photos", str(tiny_photos), "--samples", "5", "--format", "int8"]
    assert run(arguments) == 0
    assert "int8: 1 XNNPACK partition, in float: 2 ELU" in capsys.readouterr().out


def half_network(half: str, all_half: str) -> keras.Model:
    keras.utils.set_random_seed(1)
    inner = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomTranslation(0.1, 0.1)])
    pixels = keras.Input((SIZE, SIZE, 3))
    x = layers.RandomContrast(0.2)(layers.RandomRotation(0.1)(inner(pixels)))
    x = layers.Rescaling(1 / 127.5, -1.0, dtype=half)(x)
    x = layers.Conv2D(16, 3, strides=2, dtype=half)(x)
    x = layers.ReLU(dtype=half)(layers.BatchNormalization(dtype=half)(x))
    x = layers.DepthwiseConv2D(3, dtype=all_half)(layers.Dropout(0.2, dtype=half)(x))
    return keras.Model(pixels, head(x))


def test_half_precision_and_augmentation(tiny_photos: Path, tmp_path: Path) -> None:
    """Layers that compute in 16 bits compute in float32, those that only train do nothing."""
    model = half_network("mixed_float16", "float16")
    model.save(tmp_path / "model.keras")
    files = converted(tmp_path / "model.keras", tiny_photos, tmp_path)
    assert [file.format for file in files] == list(FORMATS)
    assert not any(file.shortfall for file in files)
    float32 = half_network("float32", "float32")
    float32.set_weights(model.get_weights())
    compare(files, float32, tiny_photos)


def test_half_precision_inside_a_saved_model(tiny_photos: Path, tmp_path: Path) -> None:
    """There layers cannot be brought to float32: the cause is said, not the operators it hits."""
    pixels = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, strides=2, dtype="mixed_float16")(pixels)
    keras.Model(pixels, head(layers.ReLU(dtype="mixed_float16")(x))).export(
        tmp_path / "saved", verbose=False
    )
    with pytest.raises(IncompleteError) as caught:
        converted(tmp_path / "saved", tiny_photos, tmp_path / "out", mean=0.0, std=1.0)
    assert "computes in 16 bits (a policy like mixed_float16)" in str(caught.value)
    assert "convert the .keras file" in str(caught.value)
    assert "Conv2D" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_an_operator_that_tflite_does_not_have(tiny_photos: Path, tmp_path: Path) -> None:
    """Named once, not with the converter's hundreds of lines, and not five times."""
    module = tf.Module()
    module.model = network(layers.ReLU())
    function = tf.function(lambda x: module.model(tf.math.betainc(x + 1, x + 1, x / 256)))
    signature = function.get_concrete_function(tf.TensorSpec((None, SIZE, SIZE, 3), name="pixels"))
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"default": signature})
    with pytest.raises(IncompleteError) as caught:
        converted(tmp_path / "saved", tiny_photos, tmp_path / "out", mean=0.0, std=1.0)
    assert caught.value.files == []
    assert str(caught.value).startswith("float32, float16, dynamic, weights8, int8 could not be")
    assert str(caught.value).count("has no operator for Betainc") == 1
    assert not (tmp_path / "out").exists()


def test_one_format_that_cannot_be_made(
    tiny_photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> bytes:
        raise RuntimeError("no such\nkernel.")

    monkeypatch.setattr(Encoder, "int8", refuse)
    network(layers.ReLU()).save(tmp_path / "model.keras")
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    arguments = ["convert", str(tmp_path / "model.keras"), "--out", str(tmp_path / "out")]
    arguments += ["--labels", str(tmp_path / "labels.txt"), "--force", "--samples", "5"]
    arguments += ["--photos", str(tiny_photos), "--calibration-photos", str(tiny_photos)]
    with caplog.at_level(logging.INFO):
        assert run(arguments) == 1
    said = capfd.readouterr()
    assert "int8 could not be made of this model and is left out: no such kernel." in said.err
    assert "Compared with the original model" in said.out
    assert "Traceback" not in said.err + caplog.text
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"model_{entry}.tflite" for entry in FORMATS if entry != "int8"}
