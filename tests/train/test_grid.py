"""The int8 grid: what rounding does, and that training on it follows the gradient."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras
import tensorflow as tf

from pocketlens.int8_grid import LEVELS
from pocketlens.train.grid import GridTraining, kernel_of, round_kernels, rounded
from pocketlens.train.networks import flat_layers


def on_grid(kernel: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return how far each weight is from the nearest whole multiple of its channel's scale."""
    scale = np.abs(kernel).max(axis=axes, keepdims=True) / LEVELS
    levels = kernel / np.where(scale == 0, 1, scale)
    return np.abs(levels - np.rint(levels))


def small_network() -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.DepthwiseConv2D(3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )


def test_rounding_uses_all_levels_of_each_channel() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 3, 5, 7)).astype(np.float32)
    result = np.asarray(rounded(tf.constant(kernel), (0, 1, 2)))
    assert on_grid(result, (0, 1, 2)).max() < 1e-4
    np.testing.assert_allclose(
        np.abs(result).max(axis=(0, 1, 2)), np.abs(kernel).max(axis=(0, 1, 2)), rtol=1e-6
    )
    step = np.abs(kernel).max(axis=(0, 1, 2)) / LEVELS
    assert (np.abs(result - kernel) <= step / 2 + 1e-7).all()


def test_rounding_twice_is_rounding_once() -> None:
    kernel = tf.random.stateless_normal((3, 3, 8, 1), seed=(1, 2))
    once = rounded(kernel, (0, 1))
    np.testing.assert_allclose(rounded(once, (0, 1)), once, rtol=1e-6, atol=1e-9)


def test_empty_channel_stays_empty() -> None:
    assert not np.asarray(rounded(tf.zeros((3, 3, 2, 2)), (0, 1, 2))).any()


def test_factor_per_channel_keeps_a_kernel_on_its_grid() -> None:
    """Folding batch normalisation multiplies each output channel by one factor."""
    rng = np.random.default_rng(3)
    kernel = np.asarray(rounded(tf.constant(rng.normal(size=(3, 3, 5, 7)), tf.float32), (0, 1, 2)))
    folded = kernel * rng.uniform(-3, 3, 7).astype(np.float32)
    assert on_grid(folded, (0, 1, 2)).max() < 1e-3


@pytest.mark.parametrize(
    ("layer", "axes"),
    [
        (keras.layers.Conv2D(4, 3), (0, 1, 2)),
        (keras.layers.DepthwiseConv2D(3), (0, 1)),
        (keras.layers.Dense(4), (0,)),
        (keras.layers.BatchNormalization(), None),
        (keras.layers.ReLU(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_kernels_and_their_axes(layer: keras.layers.Layer, axes: tuple[int, ...] | None) -> None:
    layer.build((None, 3) if isinstance(layer, keras.layers.Dense) else (None, 8, 8, 3))
    found = kernel_of(layer)
    assert (found and found[1]) == axes


def test_kernels_are_on_the_grid_after_training() -> None:
    network = small_network()
    network.compile("adam", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    pictures, labels = rng.normal(size=(64, 8, 8, 3)), rng.integers(0, 2, 64)
    network.fit(pictures, labels, verbose=0, callbacks=[GridTraining(network.layers)], epochs=2)
    for layer in flat_layers(network):
        found = kernel_of(layer)
        if found:
            assert on_grid(np.asarray(found[0]), found[1]).max() < 1e-3, layer.name


def test_steps_smaller_than_the_grid_add_up() -> None:
    """The float copy collects what rounding would have lost at every step."""
    pair = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    pair.layers[0].kernel.assign([[1.0], [0.0]])
    pair.compile(keras.optimizers.SGD(1e-3), "mse")
    inputs, targets = np.tile([[0.0, 1.0]], (400, 1)), np.full((400, 1), 0.5)
    pair.fit(inputs, targets, batch_size=1, verbose=0, callbacks=[GridTraining(pair.layers)])
    # Plain SGD comes to 0.5 * (1 - (1 - 2 * 1e-3) ** 400); a step is 1e-3, a level 1/127.
    expected = 0.5 * (1 - (1 - 2e-3) ** 400)
    assert float(np.asarray(pair.layers[0].kernel)[1, 0]) == pytest.approx(expected, abs=1 / 127)


def test_round_kernels_touches_only_what_it_is_given() -> None:
    network = small_network()
    before = [np.asarray(weight) for weight in network.get_weights()]
    round_kernels(network.layers[:1])
    after = network.get_weights()
    assert on_grid(after[0], (0, 1, 2)).max() < 1e-4
    assert not np.array_equal(before[0], after[0])
    for one, other in zip(before[1:], after[1:], strict=True):
        np.testing.assert_array_equal(one, other)
