"""Models that give scores for photos: a run, a `.keras` or a `.tflite` file, and many at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import ModelCard
from pocketlens.choices import NO_ACTIVATION
from pocketlens.errors import ModelFileError, UsageError
from pocketlens.imports import require_train
from pocketlens.runtime.answers import ACTIVATE, describe, require_labels
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.model_files import SUFFIX, read_model_file
from pocketlens.runtime.pictures import Pixels
from pocketlens.runtime.runs import MODEL_NAME, is_run, read_run
from pocketlens.workers import count_cores

KERAS_SUFFIX = ".keras"

T = TypeVar("T")
R = TypeVar("R")

Worker = Callable[[Sequence[Pixels]], Sequence[R]]
"""What gives a result for each of some pictures; for one thread at a time."""

# A model answers so many pictures in a row: its weights come into the caches once for all of them.
_PER_BLOCK = 16


@dataclass(frozen=True)
class Scorer:
    """A model, ready for photos; `card` says what it takes and what its scores mean.

    Each worker of the `crew` is the whole model. It takes pixels uint8 (height, width, 3) in RGB
    of the card's size and gives scores float32 (classes,), or (1,) for binary, as they come out of
    the model; one with a novelty (`ModelCard.novelty`) gives that behind them. `network` is the
    Keras model, None for a `.tflite` file.
    """

    path: Path
    card: ModelCard
    crew: tuple[Worker[NDArray[np.float32]], ...]
    network: Any = None

    @property
    def temperature(self) -> float | None:
        """What the model's logits are divided by, None where it is not known."""
        value = self.card.metrics.get("temperature")
        return float(value) if isinstance(value, (int, float)) else None


def open_scorer(model: Path, hints: ModelHints | None = None) -> Scorer:
    """Load a model. Only one that Keras made needs the `train` extra.

    Args:
        model: a run folder, the `model.keras` in one, another `.keras` file, or a `.tflite` file.
        hints: what a user says of a third-party model.

    Raises:
        UsageError: there is no such model, or too much or too little is said about it.
        LabelsError: there are more or fewer labels than scores.
        ModelFileError: it is not an image classifier.
        MissingDependencyError: it is a Keras model, and Keras is not installed.
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
    network = _load_network(run.model)
    return Scorer(model, run.card, (_keras_worker(network, ModelHints()),), network)


def _open_tflite(model: Path, hints: ModelHints) -> Scorer:
    """Load a file once per core: an interpreter computes for one thread at a time."""
    model_file = read_model_file(model)
    crew = [Classifier(model_file, hints=hints) for _ in range(count_cores())]
    workers = tuple(one_by_one(_reader(classifier)) for classifier in crew)
    return Scorer(model, crew[0].card, workers)


def _reader(classifier: Classifier) -> Callable[[Pixels], NDArray[np.float32]]:
    if classifier.card.novelty is None:
        return classifier.scores

    def read(pixels: Pixels) -> NDArray[np.float32]:
        scores = classifier.scores(pixels)
        return np.append(scores, np.float32(classifier.novelty()))

    return read


def _open_third_party_keras(model: Path, hints: ModelHints) -> Scorer:
    labels = require_labels(model, hints.read_labels())
    network = _load_network(model)
    size_wh, outputs = _size_and_outputs(network, model, hints.image_size)
    card = describe(model, size_wh, outputs, labels=labels, hints=hints)
    return Scorer(model, card, (_keras_worker(network, hints),), network)


def _load_network(path: Path) -> Any:
    require_train()
    from pocketlens.keras_files import load_keras_model

    return load_keras_model(path)


def _size_and_outputs(
    network: Any, model: Path, image_size: int | None
) -> tuple[tuple[int, int], int]:
    shapes = getattr(network, "input_shape", None), getattr(network, "output_shape", None)
    taken, given = (shape if isinstance(shape, tuple) else () for shape in shapes)
    if len(taken) == 4:
        taken = (taken[0], *(side or image_size for side in taken[1:3]), taken[3])
    if (
        len(taken) != 4
        or taken[3] != 3
        or not all(isinstance(side, int) for side in taken[1:])
        or len(given) != 2
        or not isinstance(given[1], int)
    ):
        raise ModelFileError(
            "Expected an image classifier with an input (batch, height, width, 3) of a fixed size "
            f"or with --image-size, and an output (batch, classes). Received: {model} with "
            f"{shapes[0]} and {shapes[1]}."
        )
    if image_size not in (None, *taken[1:3]):
        raise UsageError(
            f"Expected no --image-size for {model}, whose input is {taken[2]}x{taken[1]}. "
            f"Received: {image_size}."
        )
    return (taken[2], taken[1]), given[1]


def _keras_worker(network: Any, hints: ModelHints) -> Worker[NDArray[np.float32]]:
    mean, std = hints.mean or 0.0, hints.std or 1.0
    activate = ACTIVATE.get(hints.activation or NO_ACTIVATION)

    def score(pictures: Sequence[Pixels]) -> Sequence[NDArray[np.float32]]:
        pixels = (np.stack(pictures).astype(np.float32) - np.float32(mean)) / np.float32(std)
        given = network.predict_on_batch(pixels)
        if isinstance(given, list):
            given = np.hstack(given)
        outputs = list(np.asarray(given, np.float32))
        return [activate(row) for row in outputs] if activate else outputs

    return score


def one_by_one(work: Callable[[Pixels], R]) -> Worker[R]:
    """Return the worker that gives one picture after the other to a function."""
    return lambda pictures: [work(pixels) for pixels in pictures]


def run_models(
    crews: Sequence[Sequence[Worker[R]]], samples: Iterable[tuple[Pixels, T]]
) -> tuple[list[T], list[list[R]]]:
    """Give a stream of pictures to several models, on all cores, holding few pictures at once.

    Args:
        crews: for each model one or more workers that are the same; more than one works on several
            pictures at a time.
        samples: pixels uint8 (height, width, 3) in RGB of the models' size, each with something
            that says what it is: a photo, its labels.

    Returns:
        what the samples are, and for each model what it gave for each of them, in their order.
    """
    free: list[SimpleQueue[Worker[R]]] = []
    for crew in crews:
        free.append(SimpleQueue())
        for worker in crew:
            free[-1].put(worker)

    def work(model: int, pictures: Sequence[Pixels]) -> Sequence[R]:
        worker = free[model].get()
        try:
            return worker(pictures)
        finally:
            free[model].put(worker)

    tags: list[T] = []
    results: list[list[R]] = [[] for _ in crews]
    pending: deque[list[Future[Sequence[R]]]] = deque()

    def collect() -> None:
        for own, future in zip(results, pending.popleft(), strict=True):
            own += future.result()

    cores = min(sum(map(len, crews)), count_cores())
    with ThreadPoolExecutor(cores) as pool:
        for block in _blocks(samples):
            tags += [tag for _, tag in block]
            pictures = [pixels for pixels, _ in block]
            pending.append([pool.submit(work, model, pictures) for model in range(len(crews))])
            # Enough for every core and no more; bounds memory whatever the number of pictures.
            if len(pending) > 1 + cores // len(crews):
                collect()
        while pending:
            collect()
    return tags, results


def _blocks(items: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(items)
    while block := list(islice(remaining, _PER_BLOCK)):
        yield block
