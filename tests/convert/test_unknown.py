"""Third-party models that get a label for unknown photos, and those that cannot."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs the train extra")

import keras
from keras import layers

from pocketlens.cli.main import run
from pocketlens.convert import FORMATS, Demands, convert
from pocketlens.convert.demands import known_pictures
from pocketlens.convert.origins import Origin, read_origin
from pocketlens.convert.unknown import add_unknown_label
from pocketlens.errors import DataError, ModelFileError, UsageError
from pocketlens.evaluation.unknown import without_unknown
from pocketlens.runtime import Classifier
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.photos import find_pictures, read_pixels

SIZE = 32
LABELS = ("circle", "cross", "stripes")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that nobody trained; its features tell shapes from soft spots all the same."""
    keras.utils.set_random_seed(1)
    pixels = keras.Input((SIZE, SIZE, 3))
    x = layers.Rescaling(1 / 127.5, -1.0)(pixels)
    x = layers.MaxPooling2D(3)(layers.Conv2D(64, 5, strides=3, activation="relu")(x))
    x = layers.Dense(3, activation="softmax")(layers.Flatten()(x))
    path = tmp_path_factory.mktemp("elsewhere") / "other.keras"
    keras.Model(pixels, x).save(path)
    return path


def pixels_of(folder: Path, step: int = 1) -> np.ndarray:
    paths = sorted(find_pictures(folder))[::step]
    return np.stack(list(read_pixels(paths, (SIZE, SIZE), "stretch")))


def strangers(count: int = 30) -> np.ndarray:
    rng = np.random.default_rng(2)
    coarse = rng.integers(0, 256, (count, 6, 6, 3)).astype(np.uint8)
    return np.stack([cv2.resize(one, (SIZE, SIZE)) for one in coarse])


def test_all_formats_have_the_label(other: Path, tiny_photos: Path, tmp_path: Path) -> None:
    plain = read_origin(other, ModelHints(LABELS))
    files = convert(
        other,
        tmp_path,
        hints=ModelHints(LABELS),
        data=tiny_photos,
        representative=tiny_photos,
        samples=20,
        unknown=tiny_photos,
        demands=Demands(max_drop=100),
    )
    assert [file.format for file in files] == list(FORMATS)
    known, others = pixels_of(tiny_photos, 2), strangers()
    for file in files:
        assert file.operators.partitions == 1, file.format
        assert file.shortfall is None
        with zipfile.ZipFile(file.path) as archive:
            assert archive.read("labels.txt").decode().splitlines() == [*LABELS, "unknown"]
        with Classifier(file.path) as classifier:
            assert classifier.card.unknown == classifier.labels[-1] == "unknown"
            scores, others_scores = (
                np.stack([classifier.scores(one) for one in pixels]) for pixels in (known, others)
            )
            assert classifier.best(others_scores[0]).unknown == len(LABELS)
        kept = (scores.argmax(axis=1) != len(LABELS)).mean()
        assert kept >= 0.85, file.format
        # Its classes are drawn by lot, so none is far ahead and few strangers are refused.
        unknown, unlike = scores[:, -1], others_scores[:, -1]
        assert np.median(unlike) > np.quantile(unknown, 0.9), file.format
        if file.format == "float32":
            expected = plain.scores(known)
            assert without_unknown(scores, len(LABELS)) == pytest.approx(expected, abs=1e-3)


def features(x: Any) -> Any:
    x = layers.Rescaling(1 / 127.5, -1.0)(x)
    return layers.GlobalAveragePooling2D()(layers.Conv2D(16, 3, strides=2, activation="relu")(x))


def softmax_inside() -> keras.Model:
    pixels = keras.Input((SIZE, SIZE, 3))
    return keras.Model(pixels, layers.Dense(3, activation="softmax")(features(pixels)))


def logits() -> keras.Model:
    pixels = keras.Input((SIZE, SIZE, 3))
    return keras.Model(pixels, layers.Dense(3, use_bias=False)(features(pixels)))


def activation_after() -> keras.Model:
    pixels = keras.Input((SIZE, SIZE, 3))
    x = layers.Dense(3)(layers.Dropout(0.3)(features(pixels)))
    return keras.Model(pixels, layers.Activation("softmax")(layers.Activation("linear")(x)))


def sequential() -> keras.Model:
    pixels = keras.Input((SIZE, SIZE, 3))
    return keras.Sequential(
        [keras.Model(pixels, features(pixels)), layers.Dense(3), layers.Softmax()]
    )


def nested() -> keras.Model:
    pixels = keras.Input((SIZE, SIZE, 3))
    tail = keras.Sequential([layers.Dense(8, activation="relu"), layers.Dense(3)])
    return keras.Model(pixels, keras.ops.softmax(tail(features(pixels))))


def opened(model: keras.Model, folder: Path, **hints: Any) -> tuple[Path, Origin]:
    path = folder / "model.keras"
    model.save(path)
    return path, read_origin(path, ModelHints(LABELS, **hints))


@pytest.mark.parametrize("build", [softmax_inside, logits, activation_after, sequential, nested])
def test_wherever_the_last_layer_is(
    build: Callable[[], keras.Model], tiny_photos: Path, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(3)
    model = build()
    path, origin = opened(model, tmp_path)
    added = add_unknown_label(path, origin, known_pictures(tiny_photos), 0.95)
    assert (added.card.labels, added.card.unknown) == ((*LABELS, "unknown"), "unknown")
    assert added.activation == "none"
    known = pixels_of(tiny_photos, 3)
    scores = added.scores(known)
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-5)
    expected = model.predict(known.astype(np.float32), verbose=0)
    if build is logits:
        expected = np.asarray(keras.ops.softmax(expected))
    assert without_unknown(scores, 3) == pytest.approx(expected, abs=1e-4)
    assert (scores.argmax(axis=1) != 3).mean() >= 0.85


def sigmoids(x: Any) -> Any:
    return layers.Dense(3, activation="sigmoid")(features(x))


def convolution(x: Any) -> Any:
    x = layers.Conv2D(3, 3, strides=2)(x)
    return layers.Softmax()(layers.GlobalAveragePooling2D()(x))


def two_softmaxes(x: Any) -> Any:
    return layers.Softmax()(layers.Dense(3, activation="softmax")(features(x)))


def joined(x: Any) -> Any:
    one, two = (layers.Dense(3)(features(x)) for _ in range(2))
    return layers.Softmax()(one + two)


@pytest.mark.parametrize(
    ("end", "received"),
    [
        (sigmoids, "the activation sigmoid after its last Dense layer"),
        (convolution, "GlobalAveragePooling2D"),
        (two_softmaxes, "the activation softmax after its last Dense layer"),
        (joined, "Add at its end"),
    ],
)
def test_features_that_cannot_be_found(
    end: Callable[[Any], Any], received: str, tiny_photos: Path, tmp_path: Path
) -> None:
    pixels = keras.Input((SIZE, SIZE, 3))
    path, origin = opened(keras.Model(pixels, end(pixels)), tmp_path, mean=0.0, std=1.0)
    with pytest.raises(ModelFileError, match=rf"Received: .*{received}.*Leave --unknown out"):
        add_unknown_label(path, origin, known_pictures(tiny_photos), 0.95)


def test_one_score(tiny_photos: Path, tmp_path: Path) -> None:
    pixels = keras.Input((SIZE, SIZE, 3))
    path = tmp_path / "model.keras"
    keras.Model(pixels, layers.Dense(1, activation="sigmoid")(features(pixels))).save(path)
    with pytest.raises(UsageError, match="Expected a multiclass model for --unknown"):
        convert(
            path,
            tmp_path / "out",
            ["float32"],
            hints=ModelHints(("no", "yes")),
            data=tiny_photos,
            unknown=tiny_photos,
        )


def test_what_is_said_of_the_output(tiny_photos: Path, tmp_path: Path) -> None:
    path, origin = opened(logits(), tmp_path)
    photos = known_pictures(tiny_photos)
    with pytest.raises(UsageError, match=r"--activation softmax for .*ends in logits"):
        add_unknown_label(path, origin, photos, 0.95, "none")
    assert add_unknown_label(path, origin, photos, 0.95, "softmax").card.unknown == "unknown"


def test_a_class_of_counter_examples_is_the_label(tiny_photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    softmax_inside().save(path)
    origin = read_origin(path, ModelHints(("Background", "cross", "stripes")))
    added = add_unknown_label(path, origin, known_pictures(tiny_photos), 0.95)
    assert (added.card.labels, added.card.unknown) == (origin.card.labels, "Background")
    assert added.scores(pixels_of(tiny_photos, 9)).shape[1] == 3


def test_photos_of_the_known(tiny_photos: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(tiny_photos, photos)
    every = known_pictures(photos)
    first = sorted(folder for folder in photos.iterdir() if folder.is_dir())[0]
    first.rename(photos / "None")
    assert len(known_pictures(photos)) == len(every) - len(list(find_pictures(photos / "None")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="Expected photos of what the model knows"):
        known_pictures(tmp_path / "empty")
    path, origin = opened(softmax_inside(), tmp_path)
    with pytest.raises(DataError, match=r"at least 20 .* Received: 3 photos"):
        add_unknown_label(path, origin, known_pictures(tiny_photos)[:3], 0.95)


def test_a_photo_more_moves_no_other(tiny_photos: Path, tmp_path: Path) -> None:
    path, origin = opened(softmax_inside(), tmp_path)
    photos = known_pictures(tiny_photos)
    counts = [
        add_unknown_label(path, origin, some, 0.95).card.metrics["unknown_photos"]
        for some in (photos[:-1], photos)
    ]
    assert sorted(after - before for before, after in zip(*counts, strict=True)) == [0, 1]


@pytest.mark.parametrize(
    ("kind", "received"),
    [
        ("run", "a training run. Train it with that label"),
        ("tflite", "a .tflite file, which does not show its layers"),
        ("SavedModel", "a SavedModel, which does not show its layers"),
    ],
)
def test_kinds_without_layers(
    kind: str,
    received: str,
    plain_run: Path,
    tiny_tflite: Path,
    tiny_photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "saved_model.pb").write_bytes(b"")
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    model = {"run": plain_run, "tflite": tiny_tflite, "SavedModel": saved}[kind]
    command = ["convert", str(model), "--out", str(tmp_path / "out")]
    command += ["--unknown", str(tiny_photos)]
    if kind != "run":
        command += ["--labels", str(tmp_path / "labels.txt")]
    assert run(command) == 2
    assert received in " ".join(capsys.readouterr().err.split())


def test_share_that_cannot_be(other: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--known-kept 1"):
        convert(other, tmp_path, ["float32"], hints=ModelHints(LABELS), known_kept=1.0)
