"""Label sets: the labels that together hold the right one in, say, 95 % of photos.

This is split conformal prediction (V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a
Random World, 2005) with the score 1 - p(true label), which gives the smallest sets on average (M.
Sadinle, J. Lei, L. Wasserman, Least ambiguous set-valued classifiers with bounded error levels,
JASA 114 (2019), 223-234). The promise is an average over photos, not over those of each class, and
holds for photos that could as well have been among those that the sets were fitted on; it needs
neither calibrated scores nor a good model. `runtime.answers` applies what is fitted here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.choices import SET_LEVELS
from pocketlens.evaluation.answers import Answers
from pocketlens.evaluation.intervals import Interval, wilson
from pocketlens.runtime.answers import in_label_set, photos_needed


def fit_sets(
    scores: NDArray[np.floating], truth: Sequence[int] | NDArray[np.int64]
) -> dict[str, float]:
    """Return by level the score from which a label is in the set, as a model card has it.

    A level for which there are too few photos (`photos_needed`) is left out.

    Args:
        scores: (N, labels) in 0-1, of photos that the model was not trained on.
        truth: the index of each photo's label, (N,).
    """
    of_truth = np.take_along_axis(scores, np.asarray(truth, np.int64)[:, None], axis=1).ravel()
    found = {f"{level:g}": lowest_score(of_truth, level) for level in SET_LEVELS}
    return {name: score for name, score in found.items() if score is not None}


def lowest_score(of_truth: NDArray[np.floating], level: float) -> float | None:
    """Return the score that the true label of the next photo reaches with a chance of `level`.

    That is 1 less the ceil((N + 1) * level)-th smallest of 1 - p(true label). Where N is smaller
    than that rank, which is for N < level / (1 - level), no score is low enough, and it is None.

    Args:
        of_truth: the score of the true label of each photo, (N,), in 0-1.
        level: in 0-1.
    """
    count = len(of_truth)
    # Rounded first: 100 * 0.07 is a little more than 7.
    rank = math.ceil(round((count + 1) * level, 6))
    if rank > count:
        return None
    return min(1.0, max(0.0, float(np.sort(of_truth)[count - rank])))


def sets_doubt(count: int) -> str:
    """Return in a sentence for which levels `count` photos are too few, "" if for none."""
    lacking = [level for level in SET_LEVELS if count < photos_needed(level)]
    if not lacking:
        return ""
    levels = ", ".join(f"{level:g} (needs {photos_needed(level)})" for level in lacking)
    return f"Too few validation photos ({count}) for label sets of --sets {levels}."


@dataclass(frozen=True)
class SetCoverage:
    """How the label sets of a level do on photos.

    `coverage`, with its 95 % interval, is the share in 0-1 of photos whose set holds the right
    label; the promise is `level`. `mean_size` is the mean number of labels in a set. `worst_class`
    is the class with the least coverage, `worst_coverage`, among those that have photos.
    """

    level: float
    coverage: float
    interval: Interval
    mean_size: float
    worst_class: str
    worst_coverage: float


def measure_sets(answers: Answers, sets: Mapping[str, float]) -> tuple[SetCoverage, ...]:
    """Measure a card's label sets on photos, level by level; none where it has none."""
    return tuple(_measured(answers, float(name), score) for name, score in sets.items())


def _measured(answers: Answers, level: float, score: float) -> SetCoverage:
    inside = in_label_set(answers.scores, score)
    # A photo has one label, so that a class's cells are its photos.
    held = (inside & answers.truth).sum(axis=0)
    photos = answers.truth.sum(axis=0)
    shares = np.where(photos > 0, held / np.maximum(photos, 1), np.inf)
    worst = int(shares.argmin())
    return SetCoverage(
        level,
        float(held.sum() / photos.sum()),
        wilson(int(held.sum()), int(photos.sum())),
        float(inside.sum(axis=1).mean()),
        answers.labels[worst],
        float(shares[worst]),
    )
