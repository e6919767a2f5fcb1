"""What several models say of the same pictures, worked out on all cores."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import MULTICLASS
from pocketlens.runtime.answers import MIN_CLASSES_FOR_TOP5, Answer, best_scores
from pocketlens.runtime.pictures import Pixels
from pocketlens.workers import count_cores

T = TypeVar("T")

# A model answers so many pictures in a row: its weights come into the caches once for all of them.
_PER_BLOCK = 16
_TOP = 5


class Scorer(Protocol):
    """What gives answers for pixels: a `Classifier`, or anything with these four."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the scores."""

    @property
    def task(self) -> str:
        """What the scores are for: multiclass, binary or multilabel."""

    def scores(self, pixels_rgb: Pixels, /) -> NDArray[np.float32]:
        """Return scores (outputs,) for pixels (height, width, 3) of the model's size."""

    def answer(self, scores: NDArray[np.float32], /) -> Answer:
        """Return the indices of the labels that scores stand for."""


class Reply(NamedTuple):
    """What a model says of a picture: its answer, and its best five labels, best first.

    `best` is empty where being among five means nothing: of fewer than ten labels, and where the
    model is not multiclass.
    """

    answer: Answer
    best: Answer = ()


def predict(
    crews: Sequence[Sequence[Scorer]], samples: Iterable[tuple[Pixels, Answer]]
) -> tuple[list[Answer], list[list[Reply]]]:
    """Run several models over a stream of pictures, on all cores, holding few pictures at once.

    Args:
        crews: for each model one or more classifiers that are the same; more than one works on
            several pictures at a time.
        samples: as in `measure_accuracy`.

    Returns:
        the label indices of each sample, and for each model its replies.
    """
    free: list[SimpleQueue[Scorer]] = []
    for crew in crews:
        free.append(SimpleQueue())
        for scorer in crew:
            free[-1].put(scorer)

    def work(model: int, pixels: Sequence[Pixels]) -> list[Reply]:
        scorer = free[model].get()
        try:
            return [_reply(scorer, entry) for entry in pixels]
        finally:
            free[model].put(scorer)

    truth: list[Answer] = []
    replies: list[list[Reply]] = [[] for _ in crews]
    pending: deque[list[Future[list[Reply]]]] = deque()

    def collect() -> None:
        for own, future in zip(replies, pending.popleft(), strict=True):
            own += future.result()

    cores = min(sum(map(len, crews)), count_cores())
    with ThreadPoolExecutor(cores) as pool:
        for block in _blocks(samples):
            truth += [labels for _, labels in block]
            pixels = [entry for entry, _ in block]
            pending.append([pool.submit(work, model, pixels) for model in range(len(crews))])
            # Enough for every core and no more; bounds memory whatever the number of pictures.
            if len(pending) > 1 + cores // len(crews):
                collect()
        while pending:
            collect()
    return truth, replies


def _reply(scorer: Scorer, pixels: Pixels) -> Reply:
    scores = scorer.scores(pixels)
    if scorer.task != MULTICLASS or len(scores) < MIN_CLASSES_FOR_TOP5:
        return Reply(scorer.answer(scores))
    best = best_scores(scores, _TOP)
    return Reply(scorer.answer(scores), tuple(index for index, _ in best))


def _blocks(items: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(items)
    while block := list(islice(remaining, _PER_BLOCK)):
        yield block
