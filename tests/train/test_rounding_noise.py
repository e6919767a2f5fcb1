"""Noise where int8 rounds: in training only, the same at the same step."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras

from pocketlens.train.rounding_noise import rounding_noise


@pytest.fixture
def model() -> Any:
    entry = keras.Input((8, 8, 2))
    normalised = keras.layers.BatchNormalization(name="normalised")(entry)
    model = keras.Model(entry, normalised)
    model.compile(optimizer="adam", loss="mse")
    return model


@pytest.fixture
def values() -> Any:
    return np.random.default_rng(0).normal(size=(4, 8, 8, 2)).astype(np.float32)


def test_it_is_as_wide_as_a_coarse_step(model: Any, values: Any) -> None:
    plain = np.asarray(model(values, training=True))
    with rounding_noise(model, seed=1):
        noise = np.asarray(model(values, training=True)) - plain
    step = (plain.max() - plain.min()) / 32
    assert np.abs(noise).max() <= 0.5 * step * 1.001
    assert noise.std() == pytest.approx(step / np.sqrt(12), rel=0.1)
    assert abs(noise.mean()) < 0.1 * step


def test_there_is_none_without_training(model: Any, values: Any) -> None:
    plain = np.asarray(model(values, training=False))
    with rounding_noise(model, seed=1):
        np.testing.assert_array_equal(np.asarray(model(values, training=False)), plain)


def test_a_resumed_run_meets_the_noise_of_its_step(model: Any, values: Any) -> None:
    seen = []
    for step in (3, 4, 3):
        model.optimizer.iterations.assign(step)
        with rounding_noise(model, seed=1):
            seen.append(np.asarray(model(values, training=True)))
    np.testing.assert_array_equal(seen[0], seen[2])
    assert not np.array_equal(seen[0], seen[1])


def test_nothing_of_it_stays(model: Any, values: Any) -> None:
    layer = model.get_layer("normalised")
    with pytest.raises(KeyboardInterrupt), rounding_noise(model, seed=1):
        raise KeyboardInterrupt
    assert "call" not in vars(layer)
    np.testing.assert_array_equal(model(values, training=True), model(values, training=True))
