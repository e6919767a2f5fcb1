"""The patches that a kernel meets, and their covariance."""

import numpy as np
import pytest

from pocketlens.convert.rounding import Covariance, Window

PLACES = [
    Window((3, 3)),
    Window((3, 3), same=True),
    Window((3, 3), strides=(2, 2), same=True),
    Window((3, 5), strides=(2, 1)),
    Window((3, 3), dilations=(2, 2), same=True),
    Window((1, 1), strides=(2, 2)),
]


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 7, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("window", PLACES, ids=str)
def test_patches_are_what_a_convolution_multiplies(window: Window, values: np.ndarray) -> None:
    """TensorFlow's own convolution, from the patches."""
    tf = pytest.importorskip("tensorflow", reason="conversion needs the train extra")
    kernel = np.random.default_rng(1).normal(size=(*window.kernel, 3, 4)).astype(np.float32)
    padding = "SAME" if window.same else "VALID"
    expected = tf.nn.convolution(
        values, kernel, strides=window.strides, padding=padding, dilations=window.dilations
    ).numpy()
    patches = window.patches(values, np.random.default_rng(0))
    found = patches.reshape(len(patches), -1) @ kernel.reshape(-1, 4)
    # As many places as there are here are all taken, in order.
    np.testing.assert_allclose(found, expected.reshape(-1, 4), atol=1e-5)


def test_large_pictures_are_looked_at_in_some_places() -> None:
    picture = np.arange(100 * 100, dtype=np.float32).reshape(1, 100, 100, 1)
    patches = Window().patches(picture, np.random.default_rng(0))
    assert len(patches) == 64
    assert len(np.unique(patches)) == 64


def test_the_covariance_is_numpys(values: np.ndarray) -> None:
    window = Window((3, 3))
    gathered, depthwise = (Covariance(window, depthwise=which) for which in (False, True))
    for photo in values:
        gathered.add(photo[None])
        depthwise.add(photo[None])
    patches = window.patches(values, np.random.default_rng(0))
    flat = patches.reshape(len(patches), -1)
    np.testing.assert_allclose(gathered.get()[0], np.cov(flat.T, bias=True), atol=1e-5)
    for channel, found in enumerate(depthwise.get()):
        own = np.cov(patches[:, :, channel].T, bias=True)
        np.testing.assert_allclose(found, own, atol=1e-5)


def test_dense_layers_have_one_place() -> None:
    rows = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    gathered = Covariance(Window(), depthwise=False)
    gathered.add(rows)
    np.testing.assert_allclose(gathered.get()[0], np.cov(rows.T, bias=True), atol=1e-5)
