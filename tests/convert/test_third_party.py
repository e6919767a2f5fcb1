"""Third-party models, all the way to files that answer as they do."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs the train extra")

import keras
import tensorflow as tf

from pocketlens.cli.main import run
from pocketlens.convert import FORMATS, Demands, convert
from pocketlens.convert.graphs import trace_function
from pocketlens.errors import ModelFileError, UsageError
from pocketlens.runtime import Classifier
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.photos import read_pixels

SIZE = 64
# Of scores: float formats add nothing but rounding, int8 half a step of 1/256 and what adds up.
TOLERANCES = {"float32": 1e-4, "float16": 5e-3, "dynamic": 0.03, "weights8": 0.03, "int8": 0.06}


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """A network for pixels in -1 to 1 whose scores differ from picture to picture."""
    keras.utils.set_random_seed(2)
    pixels = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(24, 3, strides=2, padding="same", activation="relu")(pixels)
    x = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    x = keras.layers.Conv2D(48, 1, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    sharp = keras.initializers.RandomNormal(stddev=8.0, seed=3)
    dense = keras.layers.Dense(3, activation="softmax", kernel_initializer=sharp)
    return keras.Model(pixels, dense(x))


@pytest.fixture(scope="module")
def models(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same network in every form that `convert` takes."""
    folder = tmp_path_factory.mktemp("third_party")
    (folder / "labels.txt").write_text("circle\ncross\nstripes\n")
    network.save(folder / "net.keras")
    network.export(folder / "exported", verbose=False)
    function = trace_function(network, (SIZE, SIZE), 1.0, 0.0).pixels
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    (folder / "net.tflite").write_bytes(converter.convert())
    return {
        "keras": folder / "net.keras",
        "SavedModel": folder / "exported",
        "tflite": folder / "net.tflite",
        "labels": folder / "labels.txt",
    }


@pytest.mark.parametrize("kind", ["keras", "SavedModel", "tflite"])
def test_five_formats(
    kind: str,
    models: dict[str, Path],
    network: keras.Model,
    tiny_photos: Path,
    tmp_path: Path,
) -> None:
    hints = ModelHints(models["labels"], 127.5, 127.5)
    files = convert(
        models[kind],
        tmp_path,
        name="net",
        hints=hints,
        data=tiny_photos,
        representative=tiny_photos,
        samples=12,
        # Nobody trained it, so its answers hang by a hair.
        demands=Demands(max_drop=100),
    )
    assert [file.format for file in files] == list(FORMATS)
    paths = sorted(tiny_photos.rglob("*.png"))[::6]
    pixels = np.stack(list(read_pixels(paths, (SIZE, SIZE), "stretch")))
    expected = network.predict(pixels / np.float32(127.5) - 1, verbose=0)
    assert np.ptp(expected, axis=0).max() > 0.1
    for file in files:
        with Classifier(file.path) as classifier:
            assert classifier.labels == ("circle", "cross", "stripes")
            assert classifier.model.card is not None
            scores = np.stack([classifier.scores(entry) for entry in pixels])
        np.testing.assert_allclose(scores, expected, atol=TOLERANCES[file.format])
        assert file.comparison.photos == 90
        assert file.operators.partitions == 1


def test_without_labelled_photos(
    models: dict[str, Path],
    tiny_photos: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    arguments = ["convert", str(models["keras"]), "--out", str(tmp_path), "--format", "weights8"]
    arguments += ["--labels", str(models["labels"]), "--mean", "127.5", "--std", "127.5"]
    given = ["--calibration-photos", str(tiny_photos), "--samples", "10", "--json", "-"]
    assert run([*arguments, *given]) == 0
    (file,) = json.loads(capfd.readouterr().out)
    assert file["photos"] == 80
    assert file["accuracy"] is None
    assert "--max-drop is not" in caplog.text
    assert run([*arguments, "--overwrite"]) == 2
    assert "Add --photos PHOTOS" in capfd.readouterr().err


def test_int8_needs_photos(models: dict[str, Path], tiny_photos: Path, tmp_path: Path) -> None:
    hints = ModelHints(models["labels"], 127.5, 127.5)
    with pytest.raises(UsageError, match="--calibration-photos"):
        convert(models["keras"], tmp_path, ["int8"], hints=hints, data=tiny_photos)


@pytest.mark.parametrize("chosen", [0, 1])
def test_one_of_two_outputs(chosen: int, tiny_photos: Path, tmp_path: Path) -> None:
    """What only the other output needs is left out: nothing can be measured on it."""
    keras.utils.set_random_seed(2)
    pixels = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(pixels)
    x = keras.layers.Conv2D(24, 3, strides=2, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    sharp = keras.initializers.RandomNormal(stddev=8.0, seed=3)
    heads = [
        keras.layers.Dense(3, activation="softmax", kernel_initializer=sharp)(x),
        keras.layers.Dense(4, activation="softmax", kernel_initializer=sharp)(
            keras.layers.Dense(20_000)(x)
        ),
    ]
    model = keras.Model(pixels, heads)
    path = tmp_path / "two.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    files = convert(
        path,
        tmp_path,
        hints=ModelHints(tuple("abcd")[: 3 + chosen], mean=0, std=1, output=f"output_{chosen}"),
        representative=tiny_photos,
        samples=60,
        demands=Demands(max_drop=100),
    )
    assert [file.format for file in files] == list(FORMATS)
    # The second head has 560,000 weights.
    assert (files[0].size_bytes > 1_000_000) == bool(chosen)
    photo = next(tiny_photos.rglob("*.png"))
    (values,) = read_pixels([photo], (SIZE, SIZE), "stretch")
    expected = model.predict(values[None].astype(np.float32), verbose=0)[chosen][0]
    for file in files:
        with Classifier(file.path) as classifier:
            scores = classifier.scores(values)
        assert scores == pytest.approx(expected, abs=TOLERANCES[file.format])
        assert file.comparison.agreement > 0.9


def test_model_without_finite_scores(
    network: keras.Model, models: dict[str, Path], tiny_photos: Path, tmp_path: Path
) -> None:
    """int8 has no NaN: its file would have some answer for every photo, and agree with itself."""
    broken = keras.models.clone_model(network)
    broken.set_weights([np.full_like(values, np.nan) for values in network.get_weights()])
    broken.save(tmp_path / "broken.keras")
    with pytest.raises(ModelFileError, match=r"NaN or infinite ones for 30 of 30 photos\."):
        convert(
            tmp_path / "broken.keras",
            tmp_path / "out",
            hints=ModelHints(models["labels"], mean=0, std=1),
            representative=tiny_photos,
            samples=60,
        )
    assert not (tmp_path / "out").exists()


def test_card_without_calibration_photos(
    models: dict[str, Path], tiny_photos: Path, tmp_path: Path
) -> None:
    (file,) = convert(
        models["keras"],
        tmp_path,
        ["dynamic"],
        hints=ModelHints(models["labels"], mean=127.5, std=127.5),
        data=tiny_photos,
        demands=Demands(max_drop=100),
    )
    with Classifier(file.path) as classifier:
        assert classifier.card.calibration == {}
