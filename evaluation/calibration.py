"""Whether scores are probabilities: expected calibration error, log loss, and the temperature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.choices import BINARY, MULTICLASS
from pocketlens.evaluation.answers import Answers

# As many as Guo et al. used.
BINS = 15
# Beyond these, a few wrong photos cannot tell one temperature from another.
COLDEST, HOTTEST = 0.1, 10.0
# What is this close to a limit, as a ratio, has been stopped by it.
_NEAR = 1.001

# The smallest score whose logarithm is taken, and how close to 1 a float32 sigmoid can tell.
_SMALLEST = 1e-38
_SIGMOID_MARGIN = 1e-7
# What a score of 0 for the truth counts as, in scikit-learn too.
_LEAST = float(np.finfo(np.float32).eps)
_HALVINGS = 40


@dataclass(frozen=True)
class Bin:
    """Scores in (low, high]: how many, their mean, and the share of them that were right."""

    low: float
    high: float
    count: int
    score: float
    share: float


@dataclass(frozen=True)
class Reliability:
    """How well scores are calibrated: the expected calibration error `ece` in 0-1, over `bins`.

    `log_loss` is the mean negative natural logarithm of the score of what is true, which a
    temperature is fitted to; confident mistakes cost most.
    """

    ece: float
    log_loss: float
    bins: tuple[Bin, ...]


def reliability(answers: Answers) -> Reliability:
    """Compare scores with the share of them that were right, in bins of equal width.

    The expected calibration error is sum over bins of count / N * |share - mean score| (Guo et al.
    2017, arXiv:1706.04599, equation 3). For multiclass the score of the answer is compared with
    whether it was right; for binary the score of the positive class, and for multilabel that of
    every label, with whether it was there.
    """
    if answers.task == MULTICLASS:
        scores, right = answers.scores.max(axis=1), ~answers.wrong
        of_truth = answers.scores[answers.truth]
    else:
        # The two scores of a binary task say the same, so one is enough.
        first = 1 if answers.task == BINARY else 0
        scores, right = answers.scores[:, first:].ravel(), answers.truth[:, first:].ravel()
        of_truth = np.where(right, scores, 1 - scores)
    # Rounded first, so that 0.2 in float32 is no more than 0.2.
    place = np.ceil(np.round(scores, 6) * BINS).astype(np.int64) - 1
    place = place.clip(0, BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    mean_scores, shares = (
        np.bincount(place, values, BINS) / np.maximum(counts, 1) for values in (scores, right)
    )
    ece = float((counts * np.abs(shares - mean_scores)).sum() / max(counts.sum(), 1))
    log_loss = float(-np.log(np.maximum(of_truth, _LEAST)).mean())
    edges = np.arange(BINS + 1) / BINS
    columns = edges[:-1], edges[1:], counts, mean_scores, shares
    return Reliability(ece, log_loss, tuple(map(Bin, *(column.tolist() for column in columns))))


def fit_temperature(scores: NDArray[np.float32], truth: NDArray[Any], task: str) -> float:
    """Return the temperature to divide logits by, with which the truth is most likely.

    It minimises the mean negative log-likelihood of softmax(z / T), or sigmoid(z / T), over T
    alone (Guo et al. 2017, section 4.2). That is convex in 1 / T, so halving an interval finds it.
    Logits are taken from the scores: softmax(log p / T) is softmax(z / T). Above 1, the network is
    overconfident. Where no answer is wrong, nothing can be fitted and T is 1.

    Args:
        scores: float32 in 0-1, (N, classes), or (N, 1) for binary.
        truth: int64 (N,), or 0/1 (N, classes) for multilabel.
        task: one of the tasks of the model card.
    """
    if task == MULTICLASS:
        logits = np.log(np.maximum(scores.astype(np.float64), _SMALLEST))
        index = truth
    else:
        # A sigmoid is a softmax between its logit and 0.
        logit = _logit(scores).ravel()
        logits, index = np.stack([np.zeros_like(logit), logit], axis=1), truth.ravel()
    index = index.astype(np.int64)
    if (logits.argmax(axis=1) == index).all():
        return 1.0
    wanted = np.take_along_axis(logits, index[:, None], axis=1).mean()

    def slope(inverse: float) -> float:
        weights = _softmax(logits * inverse)
        return float((weights * logits).sum(axis=1).mean() - wanted)

    low, high = np.log(1 / HOTTEST), np.log(1 / COLDEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(np.exp(middle)) > 0 else (middle, high)
    return float(np.exp(-(low + high) / 2))


def temperature_doubt(temperature: float | None) -> str:
    """Return in a sentence that a temperature was stopped by its limit, "" where it was not."""
    if temperature is None or COLDEST * _NEAR < temperature < HOTTEST / _NEAR:
        return ""
    limit = COLDEST if temperature < 1 else HOTTEST
    return (
        f"The calibration temperature ended at its limit of {limit:g}, since the validation photos "
        "are too few or too much alike to fit it: do not take scores as probabilities."
    )


def tempered(scores: NDArray[np.float32], temperature: float, task: str) -> NDArray[np.float32]:
    """Return what scores become when their logits are divided by `temperature`."""
    if task == MULTICLASS:
        logits = np.log(np.maximum(scores.astype(np.float64), _SMALLEST))
        return _softmax(logits / temperature).astype(np.float32)
    return (1 / (1 + np.exp(-_logit(scores) / temperature))).astype(np.float32)


def divide_logits(head: Any, temperature: float) -> None:
    """Divide a dense layer's kernel and bias, so that every file made of it has the temperature.

    Order is unchanged, no operation is added, and a kernel on its int8 grid stays there: only the
    scale changes.
    """
    head.set_weights([weights / np.float32(temperature) for weights in head.get_weights()])


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers: NDArray[np.float64] = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _logit(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    inside = scores.astype(np.float64).clip(_SIGMOID_MARGIN, 1 - _SIGMOID_MARGIN)
    return np.asarray(np.log(inside / (1 - inside)))
