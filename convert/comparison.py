"""What a converted file answers, set against what its Keras model answers on the same photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import ModelCard
from pocketlens.evaluation.intervals import wilson
from pocketlens.runtime.answers import Answer, answer_of, share_of_equal
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.model_files import ModelFile, Signature
from pocketlens.runtime.operators import Operators, describe_operators

# How many of the classes that lose most are named.
HARDEST_CLASSES = 3

_THREADS = 2


@dataclass(frozen=True)
class ClassLoss:
    """A class of which a file gets `lost` photos of `photos` less right than the Keras model."""

    label: str
    lost: int
    photos: int


@dataclass(frozen=True)
class Comparison:
    """A file beside the model that it was made from, on `photos` photos.

    `agreement` is the share, 0-1, of photos with the same answer (one label or, of a multilabel
    model, all labels of a photo), `accuracy` and `original_accuracy` the shares of right answers.
    `lost` photos were right in the original and are wrong in the file, `won` photos the other way
    round. `distance` is the mean over photos of the sum of the scores' differences (0-2 for scores
    that add up to 1). `hardest` are the classes that lose most. On photos without labels the
    original is taken to be right: then the accuracies are None.
    """

    photos: int
    agreement: float
    accuracy: float | None
    original_accuracy: float | None
    lost: int
    won: int
    distance: float
    hardest: tuple[ClassLoss, ...]

    @property
    def drop_points(self) -> float:
        """Net accuracy lost, in points of 100; below 0 if the file is the better one."""
        return 100 * (self.lost - self.won) / self.photos

    @property
    def agreement_interval(self) -> tuple[float, float]:
        """The 95 % Wilson score interval of `agreement`."""
        return wilson(round(self.agreement * self.photos), self.photos)

    def keeps(self, max_drop: float) -> bool:
        """Tell whether the net loss is within `max_drop` points.

        One photo alone never breaks a limit: among fewer than 100 / `max_drop` photos it weighs
        more than the limit, and says nothing yet. Without labels nothing is known of a loss.
        """
        if self.accuracy is None:
            return True
        net = self.lost - self.won
        return net <= max(1.0, max_drop * self.photos / 100)


@dataclass(frozen=True)
class Reference:
    """Photos and what the original model answers on them.

    `pixels` are uint8 (height, width, 3) RGB, `truth` the photos' labels or None where they are
    not known, `scores` float32 (photos, outputs); `card` says what scores mean.
    """

    pixels: Sequence[NDArray[np.uint8]]
    truth: Sequence[Answer] | None
    scores: NDArray[np.float32]
    card: ModelCard

    def compare(self, scores: NDArray[np.float32]) -> Comparison:
        """Compare scores (photos, outputs) with the original's."""
        answers, expected = self._answers(scores), self._answers(self.scores)
        truth = expected if self.truth is None else self.truth
        right = np.array([a == b for a, b in zip(answers, truth, strict=True)])
        was_right = np.array([a == b for a, b in zip(expected, truth, strict=True)])
        lost, won = was_right & ~right, right & ~was_right
        net = Counter(_labels_where(lost, truth))
        net.subtract(_labels_where(won, truth))
        each = Counter(_labels_where(np.ones_like(lost), truth))
        return Comparison(
            photos=len(truth),
            agreement=share_of_equal(answers, expected),
            accuracy=None if self.truth is None else float(right.mean()),
            original_accuracy=None if self.truth is None else float(was_right.mean()),
            lost=int(lost.sum()),
            won=int(won.sum()),
            distance=float(self.distances(scores).mean()),
            hardest=tuple(
                ClassLoss(self.card.labels[index], count, each[index])
                for index, count in net.most_common(HARDEST_CLASSES)
                if count > 0
            ),
        )

    def distances(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return each photo's sum of the differences of scores (photos, outputs)."""
        distances: NDArray[np.float32] = np.abs(scores - self.scores).sum(axis=1)
        return distances

    def thinned(self, most: int) -> Reference:
        """Return at most about `most` of the photos, evenly taken."""
        step = -(-len(self.pixels) // most)
        truth = None if self.truth is None else self.truth[::step]
        return Reference(self.pixels[::step], truth, self.scores[::step], self.card)

    def _answers(self, scores: NDArray[np.float32]) -> list[Answer]:
        return [answer_of(row, self.card.task, self.card.threshold) for row in scores]


@dataclass(frozen=True)
class Rerun:
    """A file, loaded again as the device will: what it consists of and what it answers."""

    signature: Signature
    operators: Operators
    scores: NDArray[np.float32]


def rerun(
    flatbuffer: bytes, card: ModelCard, pixels: Sequence[NDArray[np.uint8]], path: Path
) -> Rerun:
    """Load a model and run it on photos.

    Args:
        flatbuffer: the model.
        card: what it means.
        pixels: uint8 (height, width, 3) RGB each.
        path: what it is called in errors.
    """
    model = ModelFile(str(path), flatbuffer, len(flatbuffer), card, card.labels)
    with Classifier(model, threads=_THREADS) as classifier:
        scores = np.stack([classifier.scores(entry) for entry in pixels])
        return Rerun(classifier.signature, describe_operators(classifier.interpreter), scores)


def _labels_where(chosen: NDArray[np.bool_], truth: Sequence[Answer]) -> Iterator[int]:
    return (index for row in np.flatnonzero(chosen) for index in truth[int(row)])
