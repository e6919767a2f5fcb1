"""Optimizers and schedules: where the learning rate starts and ends, and that all of them learn."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras

from pocketlens.choices import OPTIMIZERS
from pocketlens.train.optimization import Plateau, optimizer, rate_callbacks
from pocketlens.train.settings import Settings

STEPS = 100


def rates(schedule: str) -> list[float]:
    chosen = optimizer(Settings(schedule=schedule), 0.5, STEPS, scaled=False)
    variable = keras.Variable([1.0])
    seen = []
    for _ in range(STEPS + 1):
        seen.append(float(chosen.learning_rate))
        chosen.apply([np.array([1.0], np.float32)], [variable])
    return seen


@pytest.mark.parametrize(
    ("schedule", "middle", "end"),
    [("constant", 0.5, 0.5), ("cosine", 0.25, 0.0), ("exponential", 0.05, 0.005)],
)
def test_schedules(schedule: str, middle: float, end: float) -> None:
    seen = rates(schedule)
    assert seen[0] == pytest.approx(0.5)
    assert seen[STEPS // 2] == pytest.approx(middle, abs=1e-6)
    assert seen[STEPS] == pytest.approx(end, abs=1e-6)


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns(name: str, scaled: bool) -> None:
    """Steps of every optimizer lead downhill, whatever the scale of the loss."""
    # Plain gradients want a higher rate than Adam, as in the settings.
    rate = 0.025 if name == "sgd" else 0.005
    chosen = optimizer(Settings(optimizer=name), rate, STEPS, scaled=scaled)
    variable = keras.Variable([1.0])
    chosen.build([variable])
    for _ in range(30):
        factor = float(chosen.scale_loss(1.0)) if scaled else 1.0
        # The gradient of x² / 2, small as those of a network are.
        chosen.apply([variable.numpy() * 0.1 * factor], [variable])
    assert abs(float(variable.numpy()[0])) < 0.9


def test_weight_decay_leaves_offsets_alone() -> None:
    dense = keras.layers.Dense(1, bias_initializer="ones")
    dense.build((None, 1))
    before = [value.numpy() for value in dense.weights]
    chosen = optimizer(Settings(optimizer="adamw", schedule="constant"), 0.1, STEPS, scaled=False)
    chosen.build(dense.trainable_variables)
    chosen.apply([np.zeros_like(value) for value in before], dense.trainable_variables)
    kernel, bias = (value.numpy() for value in dense.weights)
    assert np.abs(kernel) < np.abs(before[0])
    np.testing.assert_array_equal(bias, before[1])


def test_plateau_goes_on_where_it_was() -> None:
    """Two epochs without a better loss lower the rate, also with a break in between."""
    assert rate_callbacks(Settings()) == {}
    first = rate_callbacks(Settings(schedule="plateau"))["plateau"]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    for callback in (first, Plateau()):
        callback.set_model(model)
        callback.on_train_begin()
        if callback is not first:
            callback.restore(first.state())
        else:
            callback.on_epoch_end(0, {"val_loss": 1.0})
        callback.on_epoch_end(1, {"val_loss": 1.5})
    assert float(model.optimizer.learning_rate) == pytest.approx(0.3)
