"""Adapting: unlabelled photos bring a model onto the grid."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras

from pocketlens.card import ModelCard
from pocketlens.convert import Reference, adapt
from pocketlens.convert.adaptation import predict
from pocketlens.train.grid import kernel_of, round_kernels, rounded

LABELS = ("a", "b", "c")
CARD = ModelCard("x", LABELS, (32, 32))


@pytest.fixture
def network(request: pytest.FixtureRequest) -> Any:
    """A network off the grid with a batch normalisation, which must stay still."""
    activation = getattr(request, "param", "softmax")
    layers = keras.layers
    pixels = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 127.5, -1)(pixels)
    x = layers.Conv2D(6, 3, strides=2)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(pixels, layers.Dense(3, activation=activation)(x))
    rng = np.random.default_rng(5)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel = rng.uniform(0.0015, 0.0019, layer.kernel.shape)
            kernel[0, 0, 0] = 0.5
            layer.set_weights([kernel, np.zeros(6)])
    model.layers[-1].set_weights([rng.normal(size=(6, 3)) * 3, np.zeros(3)])
    return model


def told(model: Any, pixels: list[np.ndarray]) -> Reference:
    scores = predict(model, np.stack(pixels))
    return Reference(pixels, [(int(i),) for i in scores.argmax(axis=1)], scores, CARD)


@pytest.mark.parametrize("network", ["softmax", "sigmoid"], indirect=True)
def test_scores_come_back(network: Any, photos: list[np.ndarray]) -> None:
    reference = told(network, photos[16:])
    rounded_only = keras.models.clone_model(network)
    rounded_only.set_weights(network.get_weights())
    round_kernels(rounded_only.layers)
    plain = reference.compare(predict(rounded_only, np.stack(photos[16:])))
    normalisation = network.layers[3]
    statistics = [np.asarray(weight) for weight in normalisation.non_trainable_weights]
    result = adapt(network, photos[:16], reference, epochs=40, learning_rate=1e-3)
    assert result.kept
    assert result.after.distance < min(plain.distance, result.before.distance)
    after = reference.compare(predict(network, np.stack(photos[16:])))
    assert after == result.after
    for layer in network.layers:
        found = kernel_of(layer)
        if found:
            np.testing.assert_allclose(found[0], rounded(found[0].value, found[1]), atol=1e-6)
    for before, now in zip(statistics, normalisation.non_trainable_weights, strict=True):
        np.testing.assert_array_equal(before, now)


def test_what_does_not_help_is_undone(network: Any, photos: list[np.ndarray]) -> None:
    reference = told(network, photos[16:])
    weights = network.get_weights()
    result = adapt(network, photos[:16], reference, epochs=2, learning_rate=10.0)
    assert not result.kept
    assert result.after.distance > result.before.distance
    for before, now in zip(weights, network.get_weights(), strict=True):
        np.testing.assert_array_equal(before, now)


def test_frozen_layers_stay_frozen(network: Any, photos: list[np.ndarray]) -> None:
    network.layers[2].trainable = False
    adapt(network, photos[:4], told(network, photos[16:20]), epochs=1)
    assert [layer.trainable for layer in network.layers[1:4]] == [True, False, True]
