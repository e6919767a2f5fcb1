"""Every architecture goes the full pipeline: training on the grid, five files, the same answers."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras

from pocketlens.convert import FORMATS, Demands, convert
from pocketlens.convert.graphs import with_int8_layers
from pocketlens.int8_grid import LEVELS
from pocketlens.runtime import Classifier
from pocketlens.runtime.inspection import inspect
from pocketlens.runtime.pictures import decode, resize
from pocketlens.train import Settings, train
from pocketlens.train.architectures import ARCHITECTURES
from pocketlens.train.callbacks import BestWeights
from pocketlens.train.grid import kernel_of
from pocketlens.train.networks import (
    BASE_NAME,
    HEAD_NAME,
    NORMALISATION_NAME,
    batch_normalizations,
    build,
    flat_layers,
)

PHOTOS_PER_CLASS = 7


@dataclass(frozen=True)
class Road:
    """A trained architecture: the network that training began with, and its run."""

    start: keras.Model
    run: Path
    pixels: list[np.ndarray]


@pytest.fixture(scope="module")
def photos(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flowers")
    for source in sorted((shared / "data" / "flowers").iterdir()):
        (folder / source.name).mkdir()
        for path in sorted(source.iterdir())[:PHOTOS_PER_CLASS]:
            shutil.copy(path, folder / source.name / path.name)
    return folder


@pytest.fixture(
    scope="module",
    # Both tests of one in the same process, so that it is trained once.
    params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ARCHITECTURES],
)
def road(
    request: pytest.FixtureRequest, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Road]:
    """Train an architecture, as small as it goes, on the grid, from weights of an earlier run."""
    arch, home = request.param, tmp_path_factory.mktemp(request.param)
    size = ARCHITECTURES[arch].min_image_size
    alpha = 0.35 if arch == "mobilenet_v2" else 1.0
    paths = sorted(photos.glob("*/*"))
    pixels = [resize(decode(path), (size, size)) for path in paths]
    keras.utils.set_random_seed(3)
    start = build(5, Settings(arch=arch, alpha=alpha, image_size=size, weights="none"))
    _spread(start, np.stack(pixels).astype(np.float32))
    start.save(home / "start.keras")
    settings = Settings(
        arch=arch,
        alpha=alpha,
        image_size=size,
        weights=str(home / "start.keras"),
        batch_size=8,
        head_epochs=0,
        fine_tune_epochs=0,
        grid_epochs=1,
        # A few steps of the usual size would not reach the next level of the grid.
        grid_learning_rate=3e-3,
        unknown="off",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POCKETLENS_CACHE", str(home / "cache"))
        # What the epoch made is looked at, better than before it or not.
        patch.setattr(
            "pocketlens.train.phases.BestWeights", lambda patience, _before: BestWeights(patience)
        )
        train(photos, home / "run", settings)
    yield Road(start, home / "run", pixels)
    shutil.rmtree(home)


@pytest.mark.networks
def test_training_keeps_to_the_grid(road: Road) -> None:
    trained = keras.models.load_model(road.run / "model.keras", compile=False, safe_mode=True)
    moved = 0
    base = trained.get_layer(BASE_NAME)
    for layer, before in zip(
        flat_layers(base), flat_layers(road.start.get_layer(BASE_NAME)), strict=True
    ):
        found = kernel_of(layer)
        if found is None:
            continue
        kernel, axes = np.asarray(found[0]), found[1]
        scale = np.abs(kernel).max(axis=axes, keepdims=True) / LEVELS
        levels = kernel / np.where(scale == 0, 1, scale)
        assert np.abs(levels - np.rint(levels)).max() < 1e-3, layer.name
        # Further than rounding alone would bring it.
        moved += np.abs(kernel - np.asarray(kernel_of(before)[0])).max() > scale.max()  # type: ignore[index]
    assert moved, "training did not train"
    for layer, before in zip(
        batch_normalizations(trained), batch_normalizations(road.start), strict=True
    ):
        np.testing.assert_array_equal(layer.moving_mean, before.moving_mean)
        np.testing.assert_array_equal(layer.moving_variance, before.moving_variance)
    normalisation = trained.get_layer(NORMALISATION_NAME)
    for one, other in zip(
        normalisation.get_weights(),
        road.start.get_layer(NORMALISATION_NAME).get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.networks
def test_files_answer_like_keras(road: Road, tmp_path: Path) -> None:
    model_path = road.run / "model.keras"
    model = keras.models.load_model(model_path, compile=False)
    batch = np.stack(road.pixels).astype(np.float32)
    # The few steps leave scores that differ little; a normalisation that is wrong must show.
    _spread_head(model, batch)
    model.save(model_path)
    expected = model.predict(batch, verbose=0)
    assert expected.std(axis=0).max() > 0.02
    assert np.abs(model.predict(batch[..., ::-1], verbose=0) - expected).max() > 5e-3
    assert np.abs(model.predict(batch / 255, verbose=0) - expected).max() > 1e-2
    demands = Demands(max_drop=100)
    made = convert(road.run, tmp_path, samples=3, demands=demands)
    files = {file.format: file for file in made}
    assert tuple(files) == FORMATS
    assert {file.format: file.shortfall for file in made} == dict.fromkeys(FORMATS)
    with Classifier(files["float32"].path) as classifier:
        answers = np.stack([classifier.scores(pixels) for pixels in road.pixels])
    np.testing.assert_allclose(answers, expected, atol=1e-4)
    facts = inspect(files["int8"].path)
    one_factor = isinstance(model.get_layer(NORMALISATION_NAME), keras.layers.Rescaling)
    if not one_factor:
        assert (facts.input.scale, facts.input.zero_point) == (1.0, 0)


def test_int8_layers_change_no_answer() -> None:
    """But for the border of a pool, which is rounded."""
    pixels = keras.Input((9, 12, 4))
    x = keras.layers.Activation("hard_swish")(pixels)
    inner = keras.Model(pixels, keras.layers.AveragePooling2D(3, 1, "same")(x))
    outer = keras.Input((9, 12, 4))
    network = keras.Model(outer, keras.layers.AveragePooling2D((2, 3))(inner(outer)))
    other = with_int8_layers(network)
    assert other is not network
    values = np.random.default_rng(0).normal(size=(5, 9, 12, 4)).astype(np.float32) * 3
    expected, answers = network.predict(values, verbose=0), other.predict(values, verbose=0)
    np.testing.assert_allclose(answers, expected, rtol=0.01, atol=0.01)
    inside = (slice(None), slice(1, 3), slice(1, 3))
    np.testing.assert_allclose(answers[inside], expected[inside], atol=1e-5)


def test_networks_without_such_layers_stay_themselves() -> None:
    pixels = keras.Input((8, 8, 3))
    network = keras.Model(pixels, keras.layers.Conv2D(2, 3, activation="relu")(pixels))
    assert with_int8_layers(network) is network


def _spread(network: keras.Model, batch: np.ndarray) -> None:
    """Give a network without any training the statistics of real photos, and so scores that vary.

    Left at mean 0 and variance 1, a deep one answers the same whatever it is shown.
    """
    momenta = []
    for layer in batch_normalizations(network):
        momenta.append(layer.momentum)
        layer.momentum = 0.0
    network(batch, training=True)
    for layer, momentum in zip(batch_normalizations(network), momenta, strict=True):
        layer.momentum = momentum


def _spread_head(network: keras.Model, batch: np.ndarray) -> None:
    """Give the head weights under which each logit of the photos has a deviation of a half."""
    features = keras.Model(network.input, network.get_layer("pooling").output)
    values = features.predict(batch, verbose=0)
    head = network.get_layer(HEAD_NAME)
    kernel = np.random.default_rng(0).normal(size=head.kernel.shape)
    kernel *= 0.5 / (values @ kernel).std(axis=0)
    head.set_weights([kernel, -(values @ kernel).mean(axis=0)])
