"""`convert`: a run's model as `.tflite` files, each loaded again, checked and described."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import ModelCard, pack
from pocketlens.convert.encoders import encoders
from pocketlens.convert.formats import FORMATS, INT8, check_promise
from pocketlens.convert.graphs import Graphs, trace
from pocketlens.convert.metadata import standard_metadata
from pocketlens.convert.samples import (
    DEFAULT_SAMPLES,
    check_count,
    choose_from_folder,
    choose_stratified,
    load_pixels,
)
from pocketlens.convert.slimming import slim
from pocketlens.errors import UsageError
from pocketlens.files import refuse_files, write_bytes
from pocketlens.keras_files import load_keras_model
from pocketlens.progress import track
from pocketlens.quiet import quiet
from pocketlens.runtime.answers import Answer, answer_of, share_of_equal
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.interpreters import Operators, describe_operators
from pocketlens.runtime.metadata import METADATA_NAME
from pocketlens.runtime.model_files import SUFFIX, ModelFile
from pocketlens.runtime.runs import Run, read_run

LOGGER = logging.getLogger("pocketlens")

# Enough validation photos to see a difference of a point, few enough to take seconds.
MAX_CHECK_PHOTOS = 1000

_CHECK_THREADS = 2


@dataclass(frozen=True)
class ConvertedFile:
    """One file that `convert` wrote.

    `agreement` is the share, 0-1, of `photos` validation photos on which its answer is that of the
    Keras model; `accuracy` the share on which it is right. An answer is one label or, of a
    multilabel model, all labels of a photo.
    """

    path: Path
    format: str
    size_bytes: int
    agreement: float
    accuracy: float
    photos: int
    operators: Operators
    seconds: float


@dataclass(frozen=True)
class _Reference:
    """The validation photos and what the Keras model says of them."""

    pixels: list[NDArray[np.uint8]]
    truth: list[Answer]
    predicted: list[Answer]


def convert(
    run_folder: Path,
    out: Path,
    formats: Sequence[str] = FORMATS,
    *,
    name: str | None = None,
    representative: Path | None = None,
    samples: int = DEFAULT_SAMPLES,
    overwrite: bool = False,
) -> list[ConvertedFile]:
    """Write a run's model in some formats as `NAME_FORMAT.tflite`.

    All files appear together when all have been checked, or none does.

    Args:
        run_folder: what `train` made.
        out: the folder for the files.
        formats: some of `FORMATS`.
        name: how the files are named; the run's name if None.
        representative: photos for int8's ranges; the run's training photos if None.
        samples: how many of them.
        overwrite: replace files that are there.

    Raises:
        UsageError, OutputExistsError: an argument cannot be.
        DataError: the photos are gone or unreadable.
        ModelFileError: the run's model cannot be loaded.
        ConversionError: a file is not what its format promises.
    """
    unknown = [entry for entry in formats if entry not in FORMATS]
    if unknown or not formats:
        raise UsageError(f"Expected formats among {', '.join(FORMATS)}. Received: {formats}.")
    check_count(samples)
    formats = [entry for entry in FORMATS if entry in formats]
    run = read_run(run_folder)
    stem = name or run.card.name
    if Path(stem).name != stem:
        raise UsageError(f"Expected a plain file name for --name. Received: {stem!r}.")
    targets = {entry: out / f"{stem}_{entry}{SUFFIX}" for entry in formats}
    refuse_files([out] if out.is_file() else [], overwrite=False)
    refuse_files(targets.values(), overwrite=overwrite)
    calibration: list[NDArray[np.uint8]] = []
    if INT8 in formats:
        calibration = _representative_pixels(run, representative, samples)
    model = load_keras_model(run.model)
    reference = _reference(run, model)
    with quiet():
        graphs = trace(model)
    encode = encoders(graphs, calibration)
    contents: dict[str, bytes] = {}
    results = []
    for entry in track(formats, "Converting"):
        card = _card(run.card, entry, stem, len(calibration), representative is not None)
        started = time.perf_counter()
        with quiet():
            flatbuffer = encode[entry]()
            flatbuffer = slim(flatbuffer, {METADATA_NAME: standard_metadata(flatbuffer, card)})
        seconds = time.perf_counter() - started
        operators, predicted = _run_again(targets[entry], flatbuffer, card, graphs, reference)
        agreement = share_of_equal(predicted, reference.predicted)
        accuracy = share_of_equal(predicted, reference.truth)
        card = _with_figures(card, operators, agreement, accuracy, len(predicted))
        contents[entry] = pack(flatbuffer, card)
        results.append(
            ConvertedFile(
                targets[entry],
                entry,
                len(contents[entry]),
                agreement,
                accuracy,
                len(predicted),
                operators,
                seconds,
            )
        )
    for entry, data in contents.items():
        write_bytes(targets[entry], data)
    return results


def _representative_pixels(
    run: Run, representative: Path | None, samples: int
) -> list[NDArray[np.uint8]]:
    seed = int(run.card.training.get("seed", 0))
    if representative is None:
        paths = choose_stratified(run.photos("train").photos, samples, seed)
    else:
        paths = choose_from_folder(representative, samples, seed)
    return load_pixels(paths, run.card.input_size_wh, run.card.resize_mode)


def _reference(run: Run, model: Any) -> _Reference:
    photos = run.photos("val").photos
    step = -(-len(photos) // MAX_CHECK_PHOTOS)
    chosen = photos[::step]
    pixels = load_pixels(
        [photo.path for photo in chosen], run.card.input_size_wh, run.card.resize_mode
    )
    scores = model.predict(np.stack(pixels).astype(np.float32), batch_size=32, verbose=0)
    predicted = [answer_of(row, run.card.task, run.card.threshold) for row in scores]
    return _Reference(pixels, [photo.label_indices for photo in chosen], predicted)


def _run_again(
    path: Path, flatbuffer: bytes, card: ModelCard, graphs: Graphs, reference: _Reference
) -> tuple[Operators, list[Answer]]:
    """Load a file as the device will, check it, and return its answers for the reference."""
    model = ModelFile(path, flatbuffer, len(flatbuffer), card, card.labels)
    with Classifier(model, threads=_CHECK_THREADS) as classifier:
        operators = describe_operators(classifier.interpreter)
        check_promise(card.format, classifier.signature, operators, graphs.normalise)
        answers = [classifier.answer(classifier.scores(pixels)) for pixels in reference.pixels]
    return operators, answers


def _card(card: ModelCard, entry: str, name: str, photos: int, chosen: bool) -> ModelCard:
    calibration = {}
    if entry == INT8:
        source = "a folder that was given" if chosen else "training part, stratified"
        calibration = {"photos": photos, "source": source}
    packages = ("tensorflow", "keras", "ai-edge-quantizer", "ai-edge-litert")
    return dataclasses.replace(
        card,
        name=name,
        format=entry,
        calibration=calibration,
        versions={**card.versions, **{package: version(package) for package in packages}},
    )


def _with_figures(
    card: ModelCard, operators: Operators, agreement: float, accuracy: float, photos: int
) -> ModelCard:
    return dataclasses.replace(
        card,
        metrics={
            **card.metrics,
            "agreement_with_keras": round(agreement, 4),
            "converted_val_accuracy": round(accuracy, 4),
            "converted_val_photos": photos,
            "operators": operators.counts,
            "partitions": operators.partitions,
        },
    )
