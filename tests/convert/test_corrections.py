"""Weights and biases that take back what rounding adds."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs the train extra")

import keras
from ai_edge_quantizer import recipe
from tensorflow.lite.python import schema_py_generated as schema

from pocketlens.convert.corrections import correct, find_corrections
from pocketlens.convert.encoders import Encoder, quantize
from pocketlens.convert.graphs import trace
from pocketlens.convert.rounding import round_to_nearest
from pocketlens.convert.statistics import measure
from pocketlens.runtime.interpreters import load_interpreter
from pocketlens.train.grid import round_kernels


def outputs(flatbuffer: bytes, photos: list[np.ndarray]) -> np.ndarray:
    interpreter = load_interpreter(flatbuffer)
    entry, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for photo in photos:
        interpreter.set_tensor(entry["index"], photo[None].astype(np.float32))
        interpreter.invoke()
        rows.append(interpreter.get_tensor(answer["index"])[0])
    return np.array(rows)


def test_nothing_is_left_of_the_mean_shift(photos: list[np.ndarray]) -> None:
    """In a linear network the mean over the photos of calibration comes out as it was."""
    rng = np.random.default_rng(0)
    pixels = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, 0)(pixels)
    x = keras.layers.Conv2D(16, 1)(x)
    x = keras.layers.DepthwiseConv2D(1)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    network = keras.Model(pixels, keras.layers.Dense(3)(x))
    network.set_weights([rng.normal(size=weight.shape) for weight in network.get_weights()])
    graphs = trace(network)
    start = Encoder(graphs, photos).normalised
    corrections = find_corrections(start, measure(start, photos, graphs.normalise))
    values = [graphs.normalise(photo.astype(np.float32)) for photo in photos]
    exact, plain, corrected = (
        outputs(flatbuffer, values).mean(axis=0)
        for flatbuffer in (
            start,
            quantize(start, recipe.weight_only_wi8_afp32()),
            quantize(correct(start, corrections), recipe.weight_only_wi8_afp32()),
        )
    )
    assert np.abs(corrected - exact).max() < np.abs(plain - exact).max() / 100


def test_weights_on_the_grid_need_nothing(rough_network: Any, photos: list[np.ndarray]) -> None:
    network = keras.models.clone_model(rough_network)
    network.set_weights(rough_network.get_weights())
    round_kernels(network.layers)
    graphs = trace(network)
    encoder = Encoder(graphs, photos)
    statistics = measure(encoder.normalised, photos, graphs.normalise)
    assert not statistics.covariances
    assert not find_corrections(encoder.normalised, statistics)


def test_quantizers_find_weights_on_their_grid(
    rough_encoder: Encoder, rough_network: Any, photos: list[np.ndarray]
) -> None:
    """What is left to them changes nothing, and the scores are nearer than rounded ones."""
    start = rough_encoder.normalised
    corrections = find_corrections(start, measure(start, photos, lambda pixels: pixels / 127.5 - 1))
    corrected = correct(start, corrections)
    for found in corrections.values():
        assert np.abs(found.weights).max() > 0
    values = [photo / np.float32(127.5) - 1 for photo in photos]
    exact, before, after, plain = (
        outputs(flatbuffer, values)
        for flatbuffer in (
            start,
            corrected,
            quantize(corrected, recipe.weight_only_wi8_afp32()),
            quantize(start, recipe.weight_only_wi8_afp32()),
        )
    )
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert np.abs(after - exact).mean() < np.abs(plain - exact).mean() / 4


def test_large_layers_are_rounded_to_the_nearest(photos: list[np.ndarray]) -> None:
    """Their biases are corrected anyway."""
    pixels = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, 0)(pixels)
    x = keras.layers.Conv2D(160, 1)(x)
    network = keras.Model(pixels, keras.layers.Conv2D(2, 3)(x))
    graphs = trace(network)
    start = Encoder(graphs, photos).normalised
    statistics = measure(start, photos, graphs.normalise)
    assert len(statistics.covariances) == 1
    small, large = find_corrections(start, statistics).items()
    weights = np.frombuffer(large[0][1], "<f4").reshape(1, 2, -1)
    np.testing.assert_allclose(
        large[1].weights.reshape(1, 2, -1), round_to_nearest(weights), atol=1e-7
    )
    assert np.abs(large[1].shift).max() > 0
    assert small[1].weights.shape == (160, 1, 1, 3)


def test_files_do_not_grow(rough_encoder: Encoder, photos: list[np.ndarray]) -> None:
    """No kernel stays behind beside the one that takes its place."""
    start = rough_encoder.normalised
    corrections = find_corrections(start, measure(start, photos, lambda pixels: pixels / 127.5 - 1))
    assert len(correct(start, corrections)) < len(correct(start, {})) + 1000


def test_layers_that_stay_in_float_keep_their_weights(
    rough_encoder: Encoder, photos: list[np.ndarray]
) -> None:
    start = rough_encoder.normalised
    tensors = schema.ModelT.InitFromPackedBuf(start, 0).subgraphs[0].tensors
    names = [tensor.name.decode() for tensor in tensors]
    statistics = measure(start, photos, lambda pixels: pixels / 127.5 - 1)
    corrections = find_corrections(start, statistics)
    assert len(corrections) == 4
    assert correct(start, corrections, except_layers=names) == correct(start, {})
    assert correct(start, corrections) != correct(start, {})
