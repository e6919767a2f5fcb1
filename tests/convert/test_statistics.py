"""Ranges and means as they are measured on photos."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs the train extra")

import keras
from tensorflow.lite.python import schema_py_generated as schema

from pocketlens.convert.encoders import Encoder
from pocketlens.convert.statistics import Statistics, measure


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
    found = statistics.ranges
    for operator, value in zip(convolutions, values, strict=True):
        column = found.indices.index(int(operator.outputs[0]))
        assert found.low[column] == pytest.approx(value.min(), abs=1e-4)
        assert found.high[column] == pytest.approx(value.max(), abs=1e-4)
    for operator, value in zip(convolutions[1:], values, strict=False):
        mean = statistics.means[int(operator.inputs[0])]
        np.testing.assert_allclose(mean, value.mean(axis=(0, 1, 2)), atol=1e-4)


def test_input_is_that_of_every_byte(rough_encoder: Encoder) -> None:
    grey = [np.full((32, 32, 3), 90, np.uint8)] * 2
    found = measure(rough_encoder.normalised, grey, normalise).ranges
    assert (found.low[0], found.high[0]) == (-1, 1)
