"""Weights rounded one after the other, each making up for those before it."""

import numpy as np
import pytest

from pocketlens.convert.rounding import is_on_grid, round_to_nearest, round_weights, steps_of


def added(rounded: np.ndarray, weights: np.ndarray, covariances: np.ndarray) -> float:
    """Return the mean square that rounding adds to the outputs."""
    error = rounded - weights
    return float(np.einsum("goi,gij,goj->", error, covariances, error))


@pytest.fixture
def weights() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 5, 150))


@pytest.fixture
def covariances() -> np.ndarray:
    """Of inputs that move together, as neighbouring channels do."""
    rng = np.random.default_rng(1)
    common = rng.normal(size=(2, 150, 20))
    return common @ common.transpose(0, 2, 1) / 20 + 0.1 * np.eye(150)


def test_outputs_change_less_than_by_rounding_to_the_nearest(
    weights: np.ndarray, covariances: np.ndarray
) -> None:
    rounded = round_weights(weights, covariances)
    assert added(rounded, weights, covariances) < 0.5 * added(
        round_to_nearest(weights), weights, covariances
    )


def test_quantizers_find_the_same_steps(weights: np.ndarray, covariances: np.ndarray) -> None:
    rounded = round_weights(weights, covariances)
    np.testing.assert_allclose(steps_of(rounded), steps_of(weights), rtol=1e-6)
    assert is_on_grid(rounded)
    assert not is_on_grid(weights)
    assert np.abs(rounded / steps_of(weights)).max() < 127.001


def test_the_nearest_is_at_most_half_a_step_away(weights: np.ndarray) -> None:
    rounded = round_to_nearest(weights)
    assert is_on_grid(rounded)
    assert np.abs((rounded - weights) / steps_of(weights)).max() < 0.5001


def test_weights_on_the_grid_stay(weights: np.ndarray, covariances: np.ndarray) -> None:
    there = round_to_nearest(weights)
    np.testing.assert_allclose(round_weights(there, covariances), there, atol=1e-6)


def test_inputs_without_connection_are_rounded_to_the_nearest(weights: np.ndarray) -> None:
    alone = np.stack([np.diag(np.linspace(0.1, 3, 150))] * 2)
    constant = np.full_like(alone, -1e-12)
    for covariances in (alone, constant):
        rounded = round_weights(weights, covariances)
        np.testing.assert_allclose(rounded, round_to_nearest(weights), atol=1e-6)


def test_blocks_do_what_the_formula_says(weights: np.ndarray, covariances: np.ndarray) -> None:
    """GPTQ without blocks: each weight's error is divided by the inverse, which then shrinks."""
    steps = steps_of(weights)
    for group, (own, covariance) in enumerate(zip(weights, covariances, strict=True)):
        damped = covariance + 0.01 * np.trace(covariance) / len(covariance) * np.eye(150)
        inverse, free = np.linalg.inv(damped), own.copy()
        expected = np.empty_like(own)
        for index in range(150):
            whole = np.clip(np.rint(free[:, index] / steps[group, :, 0]), -127, 127)
            fixed = np.abs(own).argmax(axis=1) == index
            whole = np.where(fixed, 127 * np.sign(own[:, index]), whole)
            expected[:, index] = whole * steps[group, :, 0]
            error = (free[:, index] - expected[:, index]) / inverse[index, index]
            free -= np.outer(error, inverse[index])
            inverse = inverse - (
                np.outer(inverse[:, index], inverse[index]) / inverse[index, index]
            )
        found = round_weights(weights[group : group + 1], covariance[None])[0]
        # Values on the border between two steps may fall to either side.
        assert (np.abs(found - expected) > steps[group] / 2).mean() < 0.01


def test_a_channel_of_zeros_stays(covariances: np.ndarray) -> None:
    zeros = np.zeros((2, 3, 150), np.float32)
    np.testing.assert_array_equal(round_weights(zeros, covariances), zeros)
