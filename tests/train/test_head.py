"""Features computed once: what they are, and what augmentation does to them."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras

from pocketlens.train.head import FeatureExtractor, feature_change, features_of, head_model, rounds
from pocketlens.train.networks import HEAD_NAME
from pocketlens.train.pixel_cache import SplitPixels

PIXELS = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), np.uint8)
PICTURES = SplitPixels(PIXELS, np.arange(10) % 2, ())


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    pixels = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(pixels)
    x = keras.layers.GlobalAveragePooling2D(name="pooling")(x)
    x = keras.layers.Dropout(0.2, name="dropout")(x)
    return keras.Model(pixels, keras.layers.Dense(2, activation="softmax", name=HEAD_NAME)(x))


def test_head_on_features_is_the_network_on_pixels(network: keras.Model, tmp_path: Path) -> None:
    features = features_of(FeatureExtractor(network), PICTURES, tmp_path / "features.npy")
    assert features.shape == (10, 4)
    assert isinstance(features.base, np.memmap) or isinstance(features, np.memmap)
    scores = head_model(network).predict(np.asarray(features), verbose=0)
    expected = network.predict(PIXELS.astype(np.float32), verbose=0)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert head_model(network).layers[-1] is network.get_layer(HEAD_NAME)


def test_change_is_what_augmentation_does_to_some_photo(
    network: keras.Model, tmp_path: Path
) -> None:
    extractor = FeatureExtractor(network)
    features = features_of(extractor, PICTURES, tmp_path / "features.npy")

    def negative(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        del rng
        return 255 - pixels

    change = feature_change(extractor, PICTURES, features, negative, seed=0)
    differences = np.concatenate(list(extractor.each([255 - PIXELS]))) - features
    zeros = np.zeros((64, 4), np.float32)
    drawn = change(zeros, np.random.default_rng(0))
    nearest = np.abs(drawn[:, None] - differences[None]).max(axis=2)
    assert nearest.min(axis=1).max() < 1e-3
    assert len(set(nearest.argmin(axis=1))) > 5
    again = change(zeros, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn, again)
    assert not np.array_equal(drawn, change(zeros, np.random.default_rng(1)))


@pytest.mark.parametrize(("count", "expected"), [(30, 20), (640, 1), (320, 2), (10_000, 1)])
def test_few_photos_go_round_more_often(count: int, expected: int) -> None:
    assert rounds(count, 32) == expected
