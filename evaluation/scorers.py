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

from pocketlens.card import BINARY, DEFAULT_THRESHOLDS, MULTICLASS
from pocketlens.errors import LabelsError, ModelFileError, UsageError
from pocketlens.extras import require_train
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.machine import count_cores
from pocketlens.runtime.model_files import SUFFIX, read_labels, read_model_file, with_labels
from pocketlens.runtime.pictures import Pixels
from pocketlens.runtime.runs import MODEL_NAME, is_run, read_run

KERAS_SUFFIX = ".keras"

T = TypeVar("T")
R = TypeVar("R")

Worker = Callable[[Sequence[Pixels]], Sequence[R]]
"""What gives a result for each of some pictures; for one thread at a time."""

# A model answers so many pictures in a row: its weights come into the caches once for all of them.
_PER_BLOCK = 16


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
    """A model, ready for photos of `size_wh`.

    Each worker of the `crew` is the whole model. It takes pixels uint8 (height, width, 3) in RGB
    and gives scores float32 (classes,), or (1,) for binary, as they come out of the model.
    `network` is the Keras model, None for a `.tflite` file. `temperature` is None where it is not
    known.
    """

    path: Path
    labels: tuple[str, ...]
    task: str
    size_wh: tuple[int, int]
    resize_mode: str
    threshold: float
    temperature: float | None
    crew: tuple[Worker[NDArray[np.float32]], ...]
    network: Any = None


def open_scorer(model: Path, elsewhere: Elsewhere | None = None) -> Scorer:
    """Load a model. Only one that Keras made needs the `train` extra.

    Args:
        model: a run folder, the `model.keras` in one, another `.keras` file, or a `.tflite` file.
        elsewhere: what is said about a model that does not say it itself.

    Raises:
        UsageError: there is no such model, or too much or too little is said about it.
        LabelsError: there are more or fewer labels than scores.
        ModelFileError: it is not an image classifier.
        MissingDependencyError: it is a Keras model, and Keras is not installed.
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
    network = _load_network(run.model)
    card = run.card
    return Scorer(
        model,
        card.labels,
        card.task,
        card.input_size_wh,
        card.resize_mode,
        card.threshold,
        _temperature(card.metrics),
        (_keras_worker(network, Elsewhere()),),
        network,
    )


def _open_tflite(model: Path, elsewhere: Elsewhere) -> Scorer:
    """Load a file once per core: an interpreter computes for one thread at a time."""
    model_file = with_labels(read_model_file(model), elsewhere.labels)
    card = model_file.card
    if card is not None and elsewhere.resize_mode is not None:
        _refuse(Elsewhere(resize_mode=elsewhere.resize_mode), model)
    crew = [
        Classifier(model_file, mean=elsewhere.mean, std=elsewhere.std) for _ in range(count_cores())
    ]
    first = crew[0]
    if first.signature.classes == 1 and len(first.labels) != 2:
        raise LabelsError(
            f"Expected two labels for {model}, the negative and the positive class. "
            f"Received: {len(first.labels)}. Add --labels FILE, with one label a line."
        )
    return Scorer(
        model,
        first.labels,
        first.task,
        first.size_wh,
        elsewhere.resize_mode or first.resize_mode,
        first.threshold,
        _temperature(card.metrics) if card else None,
        tuple(one_by_one(classifier.scores) for classifier in crew),
    )


def _open_foreign_keras(model: Path, elsewhere: Elsewhere) -> Scorer:
    if (elsewhere.mean is None) != (elsewhere.std is None) or elsewhere.std == 0:
        raise UsageError(
            "Expected both --mean and --std, the latter not 0. "
            f"Received: mean={elsewhere.mean}, std={elsewhere.std}."
        )
    if elsewhere.labels is None:
        raise UsageError(
            f"Expected labels for {model}, which is not in a run. Received: none. "
            "Add --labels FILE, with one label a line."
        )
    labels = read_labels(elsewhere.labels)
    network = _load_network(model)
    size_wh, outputs = _size_and_outputs(network, model)
    task = BINARY if outputs == 1 else MULTICLASS
    wanted = 2 if task == BINARY else outputs
    if len(labels) != wanted:
        which = "the negative and the positive class" if task == BINARY else "one for each score"
        raise LabelsError(
            f"Expected {wanted} labels for {model}, {which}. Received: {len(labels)}."
        )
    return Scorer(
        model,
        labels,
        task,
        size_wh,
        elsewhere.resize_mode or "stretch",
        DEFAULT_THRESHOLDS[task],
        None,
        (_keras_worker(network, elsewhere),),
        network,
    )


def _load_network(path: Path) -> Any:
    require_train()
    from pocketlens.keras_files import load_keras_model

    return load_keras_model(path)


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


def _keras_worker(network: Any, elsewhere: Elsewhere) -> Worker[NDArray[np.float32]]:
    mean, std = elsewhere.mean or 0.0, elsewhere.std or 1.0

    def score(pictures: Sequence[Pixels]) -> Sequence[NDArray[np.float32]]:
        pixels = (np.stack(pictures).astype(np.float32) - np.float32(mean)) / np.float32(std)
        return list(np.asarray(network.predict_on_batch(pixels), np.float32))

    return score


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
