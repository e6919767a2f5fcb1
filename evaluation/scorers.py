"""A run, a `.keras` or a `.tflite` file as one thing: pixels in, scores out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import MULTICLASS
from pocketlens.errors import ModelFileError, UsageError
from pocketlens.keras_files import load_keras_model
from pocketlens.runtime.answers import (
    MIN_CLASSES_FOR_TOP5,
    Answer,
    best_scores,
    describe,
    require_labels,
)
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.model_files import SUFFIX, read_model_file
from pocketlens.runtime.pictures import Pixels
from pocketlens.runtime.runs import MODEL_NAME, is_run, read_run
from pocketlens.workers import count_cores

KERAS_SUFFIX = ".keras"


@dataclass(frozen=True)
class Scorer:
    """A model, ready. `score` takes pixels uint8 (height, width, 3) in RGB at `size_wh`.

    It gives float32 (N, classes), or (N, 1) for binary, as they come out of the model. `network`
    is the Keras model, None for a `.tflite` file. `temperature` is None where it is not known.
    """

    labels: tuple[str, ...]
    task: str
    size_wh: tuple[int, int]
    resize_mode: str
    threshold: float
    temperature: float | None
    score: Callable[[Sequence[Pixels]], NDArray[np.float32]]
    network: Any = None


def open_scorer(model: Path, hints: ModelHints | None = None) -> Scorer:
    """Load a model.

    Args:
        model: a run folder, the `model.keras` in one, another `.keras` file, or a `.tflite` file.
        hints: what a third-party model does not say of itself. Without a mean a `.keras` file is
            taken to have its normalisation inside.

    Raises:
        UsageError: there is no such model, or too much or too little is said about it.
        LabelsError: there are more or fewer labels than scores.
        ModelFileError: it is no image classifier.
    """
    hints = hints or ModelHints()
    if model.suffix == SUFFIX:
        return _open_tflite(model, hints)
    in_run = model.name == MODEL_NAME and is_run(model.parent)
    if model.is_file() and model.suffix == KERAS_SUFFIX and not in_run:
        return _open_third_party_keras(model, hints)
    if model.is_file() and not in_run:
        raise UsageError(
            f"Expected a run folder, a {KERAS_SUFFIX} or a {SUFFIX} file. Received: {model}. "
            "Check the path."
        )
    run = read_run(model.parent if in_run else model)
    hints.refuse_beside_card(model, but=("backend",))
    network = load_keras_model(run.model)
    card = run.card
    return Scorer(
        card.labels,
        card.task,
        card.input_size_wh,
        card.resize_mode,
        card.threshold,
        _temperature(card.metrics),
        _keras_score(network, ModelHints()),
        network,
    )


def _open_tflite(model: Path, hints: ModelHints) -> Scorer:
    """Load a file once per core: an interpreter computes for one thread at a time."""
    model_file = read_model_file(model)
    card = model_file.card
    cores = count_cores()
    free: SimpleQueue[Classifier] = SimpleQueue()
    for _ in range(cores):
        free.put(Classifier(model_file, hints=hints))
    first = free.get()
    free.put(first)
    pool = ThreadPoolExecutor(cores)

    def score_one(pixels: Pixels) -> NDArray[np.float32]:
        classifier = free.get()
        try:
            return classifier.scores(pixels)
        finally:
            free.put(classifier)

    return Scorer(
        first.labels,
        first.task,
        first.size_wh,
        first.resize_mode,
        first.threshold,
        _temperature(card.metrics) if card else None,
        lambda batch: np.stack(list(pool.map(score_one, batch))),
    )


def _open_third_party_keras(model: Path, hints: ModelHints) -> Scorer:
    labels = require_labels(model, hints.read_labels())
    network = load_keras_model(model)
    size_wh, outputs = _size_and_outputs(network, model)
    card = describe(model, size_wh, outputs, labels=labels, hints=hints)
    return Scorer(
        card.labels,
        card.task,
        size_wh,
        card.resize_mode,
        card.threshold,
        None,
        _keras_score(network, hints),
        network,
    )


def _size_and_outputs(network: Any, model: Path) -> tuple[tuple[int, int], int]:
    shapes = getattr(network, "input_shape", None), getattr(network, "output_shape", None)
    taken, given = (shape if isinstance(shape, tuple) else () for shape in shapes)
    if (
        len(taken) != 4
        or taken[3] != 3
        or not all(isinstance(side, int) for side in taken[1:])
        or len(given) != 2
        or not isinstance(given[1], int)
    ):
        raise ModelFileError(
            "Expected an image classifier with an input (batch, height, width, 3) of a fixed size "
            f"and an output (batch, classes). Received: {model} with {shapes[0]} and {shapes[1]}."
        )
    return (taken[2], taken[1]), given[1]


def _keras_score(
    network: Any, hints: ModelHints
) -> Callable[[Sequence[Pixels]], NDArray[np.float32]]:
    mean, std = hints.mean or 0.0, hints.std or 1.0

    def score(batch: Sequence[Pixels]) -> NDArray[np.float32]:
        pixels = (np.stack(batch).astype(np.float32) - np.float32(mean)) / np.float32(std)
        return np.asarray(network.predict_on_batch(pixels), np.float32)

    return score


def _temperature(metrics: Any) -> float | None:
    value = metrics.get("temperature")
    return float(value) if isinstance(value, (int, float)) else None


T = TypeVar("T")

# A model answers so many pictures in a row: its weights come into the caches once for all of them.
_PER_BLOCK = 16
_TOP = 5


class PixelClassifier(Protocol):
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
    crews: Sequence[Sequence[PixelClassifier]], samples: Iterable[tuple[Pixels, Answer]]
) -> tuple[list[Answer], list[list[Reply]]]:
    """Run several models over a stream of pictures, on all cores, holding few pictures at once.

    Args:
        crews: for each model one or more classifiers that are the same; more than one works on
            several pictures at a time.
        samples: as in `measure_accuracy`.

    Returns:
        the label indices of each sample, and for each model its replies.
    """
    free: list[SimpleQueue[PixelClassifier]] = []
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


def _reply(scorer: PixelClassifier, pixels: Pixels) -> Reply:
    scores = scorer.scores(pixels)
    if scorer.task != MULTICLASS or len(scores) < MIN_CLASSES_FOR_TOP5:
        return Reply(scorer.answer(scores))
    best = best_scores(scores, _TOP)
    return Reply(scorer.answer(scores), tuple(index for index, _ in best))


def _blocks(items: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(items)
    while block := list(islice(remaining, _PER_BLOCK)):
        yield block
