"""The loss of each task against figures worked out by hand."""

import math

import numpy as np
import pytest

from pocketlens.train.optimization import accuracy, loss, outputs


@pytest.mark.parametrize(
    ("task", "expected"),
    [("multiclass", (3, "softmax")), ("binary", (1, "sigmoid")), ("multilabel", (3, "sigmoid"))],
)
def test_outputs(task: str, expected: tuple[int, str]) -> None:
    assert outputs(task, 3) == expected


@pytest.mark.parametrize(
    ("task", "smoothing", "truth", "scores", "expected"),
    [
        ("multiclass", 0.0, [1], [[0.2, 0.5, 0.3]], -math.log(0.5)),
        (
            "multiclass",
            0.3,
            [1],
            [[0.2, 0.5, 0.3]],
            -0.1 * math.log(0.2) - 0.8 * math.log(0.5) - 0.1 * math.log(0.3),
        ),
        ("binary", 0.0, [1, 0], [[0.8], [0.4]], -(math.log(0.8) + math.log(0.6)) / 2),
        ("multilabel", 0.0, [[1.0, 0.0]], [[0.8, 0.4]], -(math.log(0.8) + math.log(0.6)) / 2),
    ],
    ids=["multiclass", "smoothed", "binary", "multilabel"],
)
def test_loss(task: str, smoothing: float, truth: list, scores: list, expected: float) -> None:
    classes = len(scores[0])
    value = loss(task, classes, smoothing)(np.array(truth), np.array(scores, np.float32))
    assert float(value) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("task", "truth", "scores"),
    [
        ("multiclass", [0, 1], [[0.9, 0.1], [0.8, 0.2]]),
        ("binary", [1, 1], [[0.9], [0.1]]),
        ("multilabel", [[1.0, 1.0]], [[0.9, 0.1]]),
    ],
    ids=["multiclass", "binary", "multilabel"],
)
def test_accuracy_of_one_in_two(task: str, truth: list, scores: list) -> None:
    metric = accuracy(task)
    metric.update_state(np.array(truth), np.array(scores, np.float32))
    assert float(metric.result()) == 0.5
