"""Kernels put on the grid: layers give what they gave, wherever they stand."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras

from pocketlens.convert.grid_fitting import fit_kernels
from pocketlens.train.grid import kernel_of, round_kernels, rounded

layers = keras.layers

PLACES = {
    "a convolution with a bias": [layers.Conv2D(4, 3, bias_initializer="ones")],
    "groups of channels": [layers.Conv2D(4, 1), layers.Conv2D(8, 3, groups=2)],
    "depthwise, two outputs each": [layers.DepthwiseConv2D(3, depth_multiplier=2)],
    "batch normalisation behind it": [
        layers.Conv2D(4, 3, use_bias=False),
        layers.BatchNormalization(gamma_initializer=keras.initializers.Constant(3)),
    ],
    "batch normalisation without a factor": [
        layers.Conv2D(4, 3, use_bias=False),
        layers.BatchNormalization(scale=False),
    ],
    "a dense layer": [layers.GlobalAveragePooling2D(), layers.Dense(5)],
}


def coarse(stack: list[Any]) -> Any:
    """Return a model of layers whose kernels rounding moves far, all in one direction."""
    pixels = keras.Input((16, 16, 3))
    values = pixels
    for layer in stack:
        values = layer.__class__.from_config(layer.get_config())(values)
    model = keras.Model(pixels, values)
    for layer in model.layers:
        found = kernel_of(layer)
        if found:
            kernel = np.random.default_rng(0).uniform(0.0055, 0.0075, found[0].shape)
            kernel[(0,) * (kernel.ndim - 1)] = 1.0
            found[0].assign(kernel)
    return model


def means(model: Any, photos: list[np.ndarray]) -> np.ndarray:
    values = np.asarray(model(np.stack(photos).astype(np.float32), training=False))
    return values.reshape(-1, values.shape[-1]).mean(axis=0)


@pytest.fixture
def small(photos: list[np.ndarray]) -> list[np.ndarray]:
    return [photo[:16, :16] for photo in photos]


@pytest.mark.parametrize("stack", PLACES.values(), ids=PLACES)
def test_the_mean_stays(stack: list[Any], small: list[np.ndarray]) -> None:
    model, only_rounded = coarse(stack), coarse(stack)
    before = means(model, small)
    round_kernels(only_rounded.layers)
    fit_kernels(model, small)
    moved = np.abs(means(only_rounded, small) - before)
    # At the edges a kernel does not meet the mean of the whole picture.
    assert np.abs(means(model, small) - before).max() < 0.1 * moved.max()
    for kernel, axes in filter(None, map(kernel_of, model.layers)):
        np.testing.assert_allclose(kernel, rounded(kernel.value, axes), atol=1e-6)


def test_layers_of_a_nested_model_are_found(small: list[np.ndarray]) -> None:
    pixels = keras.Input((16, 16, 3))
    inner = coarse(PLACES["batch normalisation behind it"])
    model = keras.Model(pixels, inner(layers.Rescaling(1 / 127.5, -1)(pixels)))
    before = means(model, small)
    fit_kernels(model, small)
    np.testing.assert_allclose(means(model, small), before, atol=1e-2 * np.abs(before).max())


def test_layers_that_give_no_place_are_put_on_the_grid_too(small: list[np.ndarray]) -> None:
    model = coarse([layers.Conv2D(4, 3, use_bias=False), layers.ReLU()])
    fit_kernels(model, small)
    (kernel,) = model.get_weights()
    np.testing.assert_allclose(kernel, rounded(kernel, (0, 1, 2)), atol=1e-6)


def test_kernels_are_fitted_to_the_photos(small: list[np.ndarray]) -> None:
    """Outputs move less, photo by photo, than those of nearest rounding without its mean shift."""
    stack = PLACES["a convolution with a bias"]
    model, only_rounded = coarse(stack), coarse(stack)
    batch = np.stack(small).astype(np.float32)
    before = np.asarray(model(batch))
    round_kernels(only_rounded.layers)
    fit_kernels(model, small)
    nearest = np.asarray(only_rounded(batch)) - before
    nearest -= nearest.mean(axis=(0, 1, 2))
    assert (np.asarray(model(batch)) - before).std() < 0.5 * nearest.std()
