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

from pocketlens.card import BINARY, MULTICLASS
from pocketlens.errors import LabelsError, ModelFileError, UsageError
from pocketlens.evaluation.answers import THRESHOLD
from pocketlens.keras_files import load_keras_model
from pocketlens.runtime.answers import MIN_CLASSES_FOR_TOP5, Answer, best_scores
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.model_files import SUFFIX, read_labels, read_model_file, with_labels
from pocketlens.runtime.pictures import Pixels
from pocketlens.runtime.runs import MODEL_NAME, is_run, read_run
from pocketlens.workers import count_cores

KERAS_SUFFIX = ".keras"


@dataclass(frozen=True)
class Elsewhere:
    """What has to be said about a model that pocketlens did not make.

    `labels` is a file with one label a line. The model gets (pixel - `mean`) / `std`; without them
    a Keras model is taken to have its normalisation inside.
    """

    labels: Path | None = None
    resize_mode: str | None = None
    mean: float | None = None
    std: float | None = None


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


def open_scorer(model: Path, elsewhere: Elsewhere | None = None) -> Scorer:
    """Load a model.

    Args:
        model: a run folder, the `model.keras` in one, another `.keras` file, or a `.tflite` file.
        elsewhere: what is said about a model that does not say it itself.

    Raises:
        UsageError: there is no such model, or too much or too little is said about it.
        LabelsError: there are more or fewer labels than scores.
        ModelFileError: it is no image classifier.
    """
    elsewhere = elsewhere or Elsewhere()
    if model.suffix == SUFFIX:
        return _open_tflite(model, elsewhere)
    in_run = model.name == MODEL_NAME and is_run(model.parent)
    if model.is_file() and model.suffix == KERAS_SUFFIX and not in_run:
        return _open_foreign_keras(model, elsewhere)
    if model.is_file() and not in_run:
        raise UsageError(
            f"Expected a run folder, a {KERAS_SUFFIX} or a {SUFFIX} file. Received: {model}. "
            "Check the path."
        )
    run = read_run(model.parent if in_run else model)
    _refuse(elsewhere, model)
    network = load_keras_model(run.model)
    card = run.card
    return Scorer(
        card.labels,
        card.task,
        card.input_size_wh,
        card.resize_mode,
        card.threshold or THRESHOLD,
        _temperature(card.metrics),
        _keras_score(network, Elsewhere()),
        network,
    )


def _open_tflite(model: Path, elsewhere: Elsewhere) -> Scorer:
    """Load a file once per core: an interpreter computes for one thread at a time."""
    model_file = with_labels(read_model_file(model), elsewhere.labels)
    card = model_file.card
    if card is not None and elsewhere.resize_mode is not None:
        _refuse(Elsewhere(resize_mode=elsewhere.resize_mode), model)
    cores = count_cores()
    free: SimpleQueue[Classifier] = SimpleQueue()
    for _ in range(cores):
        free.put(Classifier(model_file, mean=elsewhere.mean, std=elsewhere.std))
    first = free.get()
    free.put(first)
    task = card.task if card else _task_of(first.signature.classes)
    if task == BINARY and len(first.labels) != 2:
        raise LabelsError(
            f"Expected two labels for {model}, the negative and the positive class. "
            f"Received: {len(first.labels)}. Add --labels FILE, with one label a line."
        )
    pool = ThreadPoolExecutor(cores)

    def score_one(pixels: Pixels) -> NDArray[np.float32]:
        classifier = free.get()
        try:
            return classifier.scores(pixels)
        finally:
            free.put(classifier)

    return Scorer(
        first.labels,
        task,
        first.size_wh,
        elsewhere.resize_mode or first.resize_mode,
        (card.threshold if card else 0.0) or THRESHOLD,
        _temperature(card.metrics) if card else None,
        lambda batch: np.stack(list(pool.map(score_one, batch))),
    )


def _open_foreign_keras(model: Path, elsewhere: Elsewhere) -> Scorer:
    if (elsewhere.mean is None) != (elsewhere.std is None) or elsewhere.std == 0:
        raise UsageError(
            "Expected both --mean and --std, the latter not 0. "
            f"Received: mean={elsewhere.mean}, std={elsewhere.std}."
        )
    if elsewhere.labels is None:
        raise UsageError(
            f"Expected labels for {model}, which is in no run. Received: none. "
            "Add --labels FILE, with one label a line."
        )
    labels = read_labels(elsewhere.labels)
    network = load_keras_model(model)
    size_wh, outputs = _size_and_outputs(network, model)
    task = _task_of(outputs)
    wanted = 2 if task == BINARY else outputs
    if len(labels) != wanted:
        which = "the negative and the positive class" if task == BINARY else "one for each score"
        raise LabelsError(
            f"Expected {wanted} labels for {model}, {which}. Received: {len(labels)}."
        )
    return Scorer(
        labels,
        task,
        size_wh,
        elsewhere.resize_mode or "stretch",
        THRESHOLD,
        None,
        _keras_score(network, elsewhere),
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
    network: Any, elsewhere: Elsewhere
) -> Callable[[Sequence[Pixels]], NDArray[np.float32]]:
    mean, std = elsewhere.mean or 0.0, elsewhere.std or 1.0

    def score(batch: Sequence[Pixels]) -> NDArray[np.float32]:
        pixels = (np.stack(batch).astype(np.float32) - np.float32(mean)) / np.float32(std)
        return np.asarray(network.predict_on_batch(pixels), np.float32)

    return score


def _task_of(outputs: int) -> str:
    return BINARY if outputs == 1 else MULTICLASS


def _temperature(metrics: Any) -> float | None:
    value = metrics.get("temperature")
    return float(value) if isinstance(value, (int, float)) else None


def _refuse(elsewhere: Elsewhere, model: Path) -> None:
    given = [
        name
        for name, value in (
            ("--labels", elsewhere.labels),
            ("--resize", elsewhere.resize_mode),
            ("--mean", elsewhere.mean),
            ("--std", elsewhere.std),
        )
        if value is not None
    ]
    if given:
        raise UsageError(
            f"Expected no {' and '.join(given)} for {model}, whose card says it. "
            "Received: both. Leave it out."
        )


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
