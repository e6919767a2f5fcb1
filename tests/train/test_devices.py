"""Half precision: where it is on, and that nothing is left of it."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras
import tensorflow as tf

from pocketlens.train.devices import computing_in, precision
from pocketlens.train.networks import BASE_NAME


@pytest.mark.parametrize(
    ("capabilities", "wanted", "expected"),
    [
        ([], None, "float32"),
        ([], True, "mixed_bfloat16"),
        ([(8, 0)], None, "mixed_float16"),
        ([(8, 0)], False, "float32"),
        ([(6, 1)], None, "float32"),
        ([(6, 1)], True, "mixed_float16"),
        ([(9, 0), (6, 1)], None, "float32"),
    ],
)
def test_half_precision_where_it_pays(
    capabilities: list[tuple[int, int]],
    wanted: bool | None,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind: capabilities)
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda gpu: {"compute_capability": gpu},
    )
    assert precision(wanted) == expected


def test_the_base_alone_computes_in_half_precision() -> None:
    keras.utils.set_random_seed(1)
    convolution = keras.layers.Conv2D(4, 3)
    base = keras.Sequential([keras.Input((8, 8, 3)), convolution], name=BASE_NAME)
    pixels = keras.Input((8, 8, 3))
    head = keras.layers.Dense(2, activation="softmax")
    network = keras.Model(pixels, head(keras.layers.Flatten()(base(pixels))))
    batch = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    exact = network.predict(batch, verbose=0)
    with computing_in("mixed_bfloat16", network):
        assert base(batch).dtype == tf.bfloat16
        half = network(batch)
        assert half.dtype == tf.float32
        assert {weight.dtype for weight in network.weights} == {"float32"}
    assert 1e-5 < np.abs(half - exact).max() < 0.05
    assert base(batch).dtype == tf.float32
    np.testing.assert_allclose(network(batch), exact, atol=1e-6)
