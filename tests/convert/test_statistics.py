"""Ranges and means as they are measured on photos."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs the train extra")

import keras
from tensorflow.lite.python import schema_py_generated as schema

from pocketlens.convert.encoders import Encoder
from pocketlens.convert.statistics import (
    LEAST_SQUARES,
    MIN_MAX,
    MOVING_AVERAGE,
    Statistics,
    measure,
)


def normalise(pixels: np.ndarray) -> np.ndarray:
    return pixels / 127.5 - 1


@pytest.fixture(scope="module")
def statistics(rough_encoder: Encoder, photos: list[np.ndarray]) -> Statistics:
    return measure(rough_encoder.normalised, photos, normalise)


def test_ranges_are_those_of_the_layers(
    statistics: Statistics, rough_encoder: Encoder, rough_network: Any, photos: list[np.ndarray]
) -> None:
    """Keras's own layers say what must be found."""
    model = schema.ModelT.InitFromPackedBuf(rough_encoder.normalised, 0)
    convolutions = [op for op in model.subgraphs[0].operators if len(op.inputs) == 3][:3]
    layers = [layer for layer in rough_network.layers if "conv" in layer.name]
    inner = keras.Model(rough_network.inputs, [layer.output for layer in layers])
    values = inner.predict(np.stack(photos).astype(np.float32), verbose=0)
    found = statistics.ranges(MIN_MAX, len(photos))
    for operator, value in zip(convolutions, values, strict=True):
        column = found.indices.index(int(operator.outputs[0]))
        assert found.low[column] == pytest.approx(value.min(), abs=1e-4)
        assert found.high[column] == pytest.approx(value.max(), abs=1e-4)
    for operator, value in zip(convolutions[1:], values, strict=False):
        mean = statistics.means[int(operator.inputs[0])]
        np.testing.assert_allclose(mean, value.mean(axis=(0, 1, 2)), atol=1e-4)


def test_input_is_that_of_every_byte(rough_encoder: Encoder) -> None:
    grey = [np.full((32, 32, 3), 90, np.uint8)] * 2
    found = measure(rough_encoder.normalised, grey, normalise).ranges(MIN_MAX, 2)
    assert (found.low[0], found.high[0]) == (-1, 1)


def test_rules(statistics: Statistics, photos: list[np.ndarray]) -> None:
    everything = statistics.ranges(MIN_MAX, len(photos))
    few = statistics.ranges(MIN_MAX, 5)
    moving = statistics.ranges(MOVING_AVERAGE, len(photos))
    for narrower in (few, moving):
        assert (narrower.low >= everything.low - 1e-6).all()
        assert (narrower.high <= everything.high + 1e-6).all()
        assert (narrower.high < everything.high).any()


def test_least_squares_clip_what_is_rare() -> None:
    """Of values that lie evenly the best range is all of it, also where they are few."""
    rng = np.random.default_rng(0)
    normal, even = rng.normal(size=(100, 256)), rng.uniform(-1, 3, (100, 256))
    values = np.stack([even, normal, even], axis=1).astype(np.float32)
    low, high = values.min(axis=2), values.max(axis=2)
    # Once in all photos there was something far away, which is not among the values that were kept.
    high[7, 1] = 12.0
    statistics = Statistics((0, 1, 2), low, high, values, {}, {})
    whole, found = (statistics.ranges(rule, 100) for rule in (MIN_MAX, LEAST_SQUARES))
    assert (found.low[0], found.high[0]) == (whole.low[0], whole.high[0])
    # With 256 steps about 4 standard deviations are best (R. Banner et al., "Post training 4-bit
    # quantization of convolutional networks for rapid-deployment", NeurIPS 2019, section 3).
    assert 3.5 < found.high[1] < 5
    np.testing.assert_allclose([found.low[2], found.high[2]], [-1, 3], atol=0.05)


def test_a_tensor_of_zeros_has_a_range(photos: list[np.ndarray]) -> None:
    zeros = np.zeros((5, 2, 256), np.float32)
    statistics = Statistics((0, 1), zeros[:, :, 0], zeros[:, :, 0], zeros, {}, {})
    found = statistics.ranges(LEAST_SQUARES, 5)
    assert found.low[1] == found.high[1] == 0
