"""The network: its normalisation, its weights, its still statistics."""

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras

from pocketlens.errors import UsageError, WeightsError
from pocketlens.train.networks import BASE_NAME, batch_normalizations, build, freeze
from pocketlens.train.settings import Settings

SMALL = Settings(alpha=0.35, image_size=96, weights="none")


def test_normalisation_is_inside() -> None:
    network = build(3, SMALL)
    assert network.input_shape == (None, 96, 96, 3)
    inner = keras.Model(network.input, network.get_layer("normalisation").output)
    ends = np.stack([np.zeros((96, 96, 3)), np.full((96, 96, 3), 255.0)])
    values = inner.predict(ends, verbose=0)
    np.testing.assert_allclose(values.min(axis=(1, 2, 3)), [-1, 1], atol=1e-6)


def test_scores_are_shares() -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (4, 96, 96, 3))
    scores = build(5, SMALL).predict(pixels, verbose=0)
    assert scores.shape == (4, 5)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)


def test_training_moves_no_statistic() -> None:
    network = build(2, SMALL)
    freeze(network, 100)
    before = {layer.name: layer.get_weights() for layer in batch_normalizations(network)}
    assert len(before) == 52
    kernels = network.get_layer(BASE_NAME).get_weights()
    network.compile("adam", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    network.fit(rng.uniform(0, 255, (32, 96, 96, 3)), rng.integers(0, 2, 32), verbose=0)
    for layer in batch_normalizations(network):
        for one, other in zip(before[layer.name], layer.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=layer.name)
    moved = [
        not np.array_equal(one, other)
        for one, other in zip(kernels, network.get_layer(BASE_NAME).get_weights(), strict=True)
    ]
    assert any(moved), "training did not train"


def test_frozen_layers_stay() -> None:
    network = build(2, SMALL)
    freeze(network, 20)
    base = network.get_layer(BASE_NAME)
    assert not any(layer.trainable for layer in base.layers[:-20])
    assert any(layer.trainable for layer in base.layers[-20:])
    assert network.get_layer("scores").trainable


def test_weights_of_an_earlier_run(tiny_run: Path) -> None:
    network = build(7, Settings(alpha=0.35, image_size=96, weights=str(tiny_run)))
    donor = keras.models.load_model(tiny_run / "model.keras", compile=False)
    for one, other in zip(
        donor.get_layer(BASE_NAME).get_weights(),
        network.get_layer(BASE_NAME).get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_imagenet_weights_without_a_network(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        print("Downloading data from somewhere")
        raise OSError("name resolution failed")

    monkeypatch.setattr(keras.applications, "MobileNetV2", unreachable)
    with pytest.raises(WeightsError) as caught:
        build(2, Settings())
    assert "--weights none" in str(caught.value)
    assert "--weights FILE" in str(caught.value)
    assert capfd.readouterr().out == ""


def test_imagenet_file_at_another_size(shared: Path) -> None:
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    path = shared / "weights" / "keras" / "models" / name
    network = build(2, Settings(image_size=160, weights=str(path)))
    assert network.input_shape == (None, 160, 160, 3)


def test_weights_that_do_not_fit(tiny_run: Path) -> None:
    settings = Settings(alpha=0.5, image_size=96, weights=str(tiny_run / "model.keras"))
    with pytest.raises(WeightsError, match=r"Received: .*[^.]\. Choose the file"):
        build(2, settings)


def test_a_model_that_others_trained_has_no_weights_for_ours(tmp_path: Path) -> None:
    inputs = keras.Input((96, 96, 3))
    outputs = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(inputs))
    keras.Model(inputs, outputs).save(tmp_path / "other.keras")
    settings = Settings(alpha=0.35, image_size=96, weights=str(tmp_path / "other.keras"))
    with pytest.raises(
        WeightsError, match="a model with other layers than those pocketlens trains"
    ):
        build(2, settings)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("weights.h5", "whose content is not HDF5"),
        ("model.keras", "whose content is not a Keras model"),
        ("labels.txt", "a file of another kind"),
        ("model.tflite", "a file of another kind"),
        ("", "a folder that is not a run"),
    ],
)
def test_what_is_no_weights_file_is_said_without_keras(
    name: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if name:
        path.write_text("these are no weights")
    with pytest.raises(UsageError, match=rf"Received: --weights {re.escape(str(path))}, {said}\."):
        Settings(weights=str(path))


def test_weights_that_are_not_there() -> None:
    with pytest.raises(UsageError, match=r"nowhere\.h5, which is not there"):
        Settings(weights="nowhere.h5")


def test_alpha_without_published_weights() -> None:
    with pytest.raises(UsageError, match=r"0\.35, 0\.5"):
        Settings(alpha=0.6)


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 8},
        {"image_size": 5000},
        {"alpha": 0.0},
        {"batch_size": 0},
        {"head_epochs": -1},
        {"fine_tune_epochs": -1},
        {"head_epochs": 0, "fine_tune_epochs": 0, "grid_epochs": 0},
        {"weights": "none", "fine_tune_epochs": 0, "grid_epochs": 0},
        {"resize_mode": "bend"},
    ],
    ids=str,
)
def test_settings_that_cannot_be(change: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="Received"):
        Settings(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "photos", "epochs"),
    [
        ({}, 650, 10),
        ({"weights": "none"}, 100_000, 40),
        ({"weights": "none"}, 650, 153),
        ({"weights": "none", "batch_size": 64}, 650, 200),
        ({"weights": "none"}, 10, 200),
        ({"weights": "none", "fine_tune_epochs": 7}, 10, 7),
        ({"fine_tune_epochs": 0}, 10, 0),
    ],
)
def test_a_network_from_scratch_gets_enough_steps(
    change: dict[str, object], photos: int, epochs: int
) -> None:
    assert Settings(**change).main_epochs(photos) == epochs  # type: ignore[arg-type]


def test_the_second_phase_alone_is_enough() -> None:
    assert Settings(head_epochs=0, grid_epochs=0).main_epochs(650) == 10
