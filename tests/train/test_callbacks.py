"""What is watched while training goes on: which epoch is kept, why a phase ended, the time left."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras

from pocketlens.train.callbacks import BestWeights, Epoch, Phase, outcome, seconds_left


def epochs(phase: str, *losses: float, seconds: float = 1.0) -> list[Epoch]:
    return [
        Epoch(phase, number, 1.0, 0.5, loss, 0.5, 1e-3, seconds)
        for number, loss in enumerate(losses, 1)
    ]


@pytest.mark.parametrize(
    ("phase", "losses", "text"),
    [
        (
            Phase("head", 3),
            (0.9, 0.7, 0.8),
            "head: epoch 2 of 3 kept (val_loss 0.700, val_accuracy 0.500); all epochs done.",
        ),
        (
            Phase("head", 30),
            (0.9, 0.7, 0.8),
            (
                "head: epoch 2 of 30 kept (val_loss 0.700, val_accuracy 0.500); ended after epoch "
                "3: no lower validation loss in 1 epoch."
            ),
        ),
        (
            Phase("fine-tune", 2, 0.71),
            (0.9, 0.7),
            "fine-tune: epoch 2 of 2 kept (val_loss 0.700, val_accuracy 0.500); all epochs done.",
        ),
        (
            Phase("fine-tune", 10, 0.7),
            (0.9, 0.7),
            (
                "fine-tune: none of 2 epochs improved validation (lowest val_loss 0.700); kept are "
                "the weights from before this phase (val_loss 0.700)."
            ),
        ),
        (
            Phase("grid", 4, 0.69),
            (0.9, 0.7),
            (
                "grid: none of 2 epochs improved validation (lowest val_loss 0.700); kept are the "
                "weights from before this phase, rounded to the int8 quantization grid (val_loss "
                "0.690)."
            ),
        ),
    ],
    ids=["whole", "early", "better", "no better", "rounding is better"],
)
def test_outcome_of_a_phase(phase: Phase, losses: tuple[float, ...], text: str) -> None:
    found = outcome(phase, epochs(phase.name, *losses))
    assert found.text == text
    assert (found.kept is None) == ("none of" in text)


@pytest.mark.parametrize("better", [True, False])
def test_weights_from_before_stay_unless_an_epoch_is_better(better: bool) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1 if better else 1.0), "mse")
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    y = (x @ np.array([[1.0], [2.0]])).astype(np.float32)
    # With a rate this high every step goes further astray.
    data = (x, y) if better else (10 * x, y)
    before, weights = float(model.evaluate(x, y, verbose=0)), model.get_weights()
    best = BestWeights(2, before)
    history = model.fit(*data, validation_data=(x, y), epochs=6, verbose=0, callbacks=[best])
    after = float(model.evaluate(x, y, verbose=0))
    if better:
        assert after == pytest.approx(min(history.history["val_loss"]))
        assert after < before
    else:
        assert len(history.epoch) == 2
        for one, other in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("before", [None, float("nan")])
def test_any_loss_is_better_than_nan(before: float | None) -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    best = BestWeights(2, before)
    best.set_model(model)
    best.on_train_begin()
    for epoch, loss in enumerate((float("nan"), 0.5, 0.7)):
        model.set_weights([np.full((1, 1), epoch), np.zeros(1)])
        best.on_epoch_end(epoch, {"val_loss": loss})
    best.on_train_end()
    assert model.get_weights()[0] == 1


PLANNED = {"head": 10, "fine-tune": 4, "grid": 2}


@pytest.mark.parametrize(
    ("done", "phase", "pass_s", "left"),
    [
        # 8 epochs of the head, and 6 of the network, three passes of 2 s each.
        (epochs("head", 1, 1), "head", 2.0, 8 + 6 * 6),
        # Measured is better than estimated.
        (epochs("head", *[1] * 10) + epochs("fine-tune", 1, seconds=9.0), "fine-tune", 2.0, 45),
        # After a resume the head was not computed again.
        (epochs("head", *[1] * 10) + epochs("fine-tune", 1, seconds=9.0), "grid", None, 18),
        ([], "head", 2.0, None),
        (epochs("head", 1), "head", None, None),
    ],
    ids=["head", "fine-tune", "grid", "first epoch", "unknown"],
)
def test_time_left(done: list[Epoch], phase: str, pass_s: float | None, left: float | None) -> None:
    assert seconds_left(PLANNED, done, phase, pass_s) == left
