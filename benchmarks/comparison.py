"""The benchmark itself: every file, every number of threads, one machine, one run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.benchmarks.accuracy import Accuracy, compare
from pocketlens.benchmarks.candidates import (
    Candidate,
    find_reference,
    load_candidates,
    read_candidates,
)
from pocketlens.benchmarks.energy import Energy, find_meter, measure_energy
from pocketlens.benchmarks.latency import Settings, round_progress, time_interleaved
from pocketlens.benchmarks.machine import Watch, describe_machine
from pocketlens.benchmarks.memory import Footprint, measure_footprint
from pocketlens.benchmarks.predictions import Reply, Scorer, predict
from pocketlens.benchmarks.results import Benchmark, FileResult, Latency, Yardstick
from pocketlens.benchmarks.spread import Spread, ratio_interval
from pocketlens.errors import PictureError, UsageError
from pocketlens.progress import track
from pocketlens.runtime.answers import Answer
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.interpreters import describe_operators
from pocketlens.runtime.machine import count_cores
from pocketlens.runtime.photos import LabelledPhotos, read_labelled, report_skipped
from pocketlens.runtime.runs import evaluation_photos

LOGGER = logging.getLogger("pocketlens")

# What common cameras deliver; `classify` is timed from such a frame.
FRAME_WH = (1280, 720)
MOST_THREADS = 256

_Row = tuple[int, int]  # index of the file, threads
_CALLS = ("invoke", "classify")
_YARDSTICK = ((-1, 0), "yardstick")


def benchmark(
    models: Sequence[str | Path],
    *,
    data: str | Path | LabelledPhotos | None = None,
    threads: Sequence[int] = (1,),
    settings: Settings | None = None,
    labels_file: Path | None = None,
    mean: float | None = None,
    std: float | None = None,
    backend: str | None = None,
) -> Benchmark:
    """Measure `.tflite` files against each other on this machine.

    Args:
        models: paths of the files. The first whose card says float32 is the reference; without
            one it is the first of all.
        data: photos to measure accuracy on: a folder per class, a table, or a run folder, of which
            the held-back test photos are taken. None leaves accuracy out.
        threads: numbers of threads to time each file with.
        settings: how long to measure.
        labels_file: labels for files from elsewhere, one a line.
        mean: for float files from elsewhere, which get (pixel - mean) / std.
        std: see `mean`.
        backend: name of an interpreter; None takes the first that is installed.

    Raises:
        UsageError: an argument cannot be.
        MissingDependencyError: the interpreter is not installed.
        ModelFileError: no file is an image classifier; one among others is left out.
        LabelsError: the pictures' classes are not the models' labels.
        DataError: no picture can be read.
    """
    settings = settings or Settings()
    threads = _check_threads(threads)
    readable, left_out = read_candidates(
        models, labels_file=labels_file, mean=mean, std=std, backend=backend
    )
    photos = None if data is None else evaluation_photos(data)
    machine = describe_machine(backend)
    for warning in machine.warnings:
        LOGGER.warning("%s", warning)
    with ExitStack() as stack:
        loaded, failed = load_candidates(readable, threads, stack)
        left_out += failed
        candidates = [candidate for candidate, _ in loaded]
        reference = find_reference(candidates)
        classifiers = {
            (index, count): classifier
            for index, (_, own) in enumerate(loaded)
            for count, classifier in zip(threads, own, strict=True)
        }
        one_each = [own[0] for _, own in loaded]
        shapes = [(one.size_wh, one.resize_mode) for one in one_each]
        tasks = [one.task for one in one_each]
        partitions = [describe_operators(one.interpreter).partitions for one in one_each]
        if photos is not None:
            for one in one_each:
                photos.with_labels(one.labels, one.task)
        # Latency comes before accuracy, whose work on all cores heats a small board up.
        watch = Watch()
        latencies = _time(classifiers, reference, settings)
        machine = replace(machine, after=watch.read())
        energies = _energies(classifiers)
    footprints = [
        _footprint(candidate, threads[0])
        for candidate in track(candidates, "Loading each file", len(candidates))
    ]
    accuracies: list[Accuracy | None] = [None] * len(candidates)
    skipped: list[PictureError] = []
    if photos is not None:
        accuracies[:], skipped = _accuracies(candidates, shapes, photos, reference)
    files = tuple(
        FileResult(
            name=candidate.name,
            path=candidate.model.path,
            format=candidate.format,
            size_bytes=candidate.model.size_bytes,
            input_size_wh=shapes[index][0],
            partitions=partitions[index],
            footprint=footprints[index],
            accuracy=accuracies[index],
            latencies=tuple(
                replace(latencies[index, count], energy=energies.get((index, count)))
                for count in threads
            ),
        )
        for index, candidate in enumerate(candidates)
    )
    return Benchmark(files, reference, machine, settings, len(skipped), tasks[reference], left_out)


def _check_threads(threads: Sequence[int]) -> tuple[int, ...]:
    if not threads or any(not 1 <= count <= MOST_THREADS for count in threads):
        raise UsageError(
            f"Expected numbers of threads between 1 and {MOST_THREADS}, for example 1,2. "
            f"Received: {','.join(map(str, threads)) or 'none'}."
        )
    if max(threads) > count_cores():
        LOGGER.warning(
            "%d threads share %d cores: they can only be slower.", max(threads), count_cores()
        )
    return tuple(sorted(set(threads)))


def _time(
    classifiers: dict[_Row, Classifier], reference: int, settings: Settings
) -> dict[_Row, Latency]:
    # Noise, since a flat frame might be easier on caches and branches than a scene.
    frame_bgr = np.random.default_rng(settings.seed).integers(
        0, 256, (FRAME_WH[1], FRAME_WH[0], 3), np.uint8
    )
    calls: dict[tuple[_Row, str], Callable[[], object]] = {}
    for row, classifier in classifiers.items():
        calls[row, "invoke"] = classifier.interpreter.invoke
        calls[row, "classify"] = lambda classifier=classifier: classifier.classify(frame_bgr)  # type: ignore[misc]
    calls[_YARDSTICK] = _yardstick()
    # The first frame also puts pixels into the input for the bare `invoke` to work on.
    firsts_ns = {key: _first(call) for key, call in calls.items()}
    with round_progress("Timing all files in turn") as on_round:
        durations = time_interleaved(calls, settings, accompanying=(_YARDSTICK,), on_round=on_round)
    spreads = {
        key: Spread.of(entry, first_ns=firsts_ns[key], per_round=settings.per_round)
        for key, entry in durations.items()
    }
    return {row: _latency(row, reference, spreads, durations, settings) for row in classifiers}


def _yardstick() -> Callable[[], object]:
    """Return a fixed calculation of a fraction of a millisecond, in the caches of one core."""
    # Products of this size are what OpenBLAS still leaves to one thread.
    matrix = np.full((64, 64), 1 / 64, np.float32)

    def multiply() -> None:
        for _ in range(20):
            np.matmul(matrix, matrix)

    return multiply


def _first(call: Callable[[], object]) -> int:
    start = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - start


def _latency(
    row: _Row,
    reference: int,
    spreads: dict[tuple[_Row, str], Spread],
    durations: dict[tuple[_Row, str], NDArray[np.int64]],
    settings: Settings,
) -> Latency:
    other = (reference, row[1])
    invoke, classify = (spreads[row, c].median_ms / spreads[other, c].median_ms for c in _CALLS)
    invoke_interval, classify_interval = (
        ratio_interval(durations[row, c], durations[other, c], settings.per_round) for c in _CALLS
    )
    return Latency(
        row[1],
        spreads[row, "invoke"],
        spreads[row, "classify"],
        invoke,
        classify,
        invoke_interval,
        classify_interval,
        Yardstick(
            spreads[row, "invoke"].median_ms / spreads[_YARDSTICK].median_ms,
            ratio_interval(durations[row, "invoke"], durations[_YARDSTICK], settings.per_round),
            spreads[row, "invoke"].min_ms / spreads[_YARDSTICK].min_ms,
        ),
    )


def _energies(classifiers: dict[_Row, Classifier]) -> dict[_Row, Energy]:
    meter = find_meter()
    if meter is None:
        return {}
    calls = {row: classifier.interpreter.invoke for row, classifier in classifiers.items()}
    return measure_energy(calls, meter)


def _footprint(candidate: Candidate, threads: int) -> Footprint:
    return measure_footprint(
        candidate.model.path,
        threads=threads,
        labels_file=candidate.labels_file,
        mean=candidate.mean,
        std=candidate.std,
        backend=candidate.backend,
    )


def _accuracies(
    candidates: Sequence[Candidate],
    shapes: Sequence[tuple[tuple[int, int], str]],
    photos: LabelledPhotos,
    reference: int,
) -> tuple[list[Accuracy], list[PictureError]]:
    """Run all files that want the same pixels together, so that each photo is decoded once."""
    cores = count_cores()
    replies: dict[int, list[Reply]] = {}
    labels: dict[int, tuple[str, ...]] = {}
    truth: list[Answer] = []
    skipped: list[PictureError] = []
    for size_wh, resize_mode in dict.fromkeys(shapes):
        group = [i for i, shape in enumerate(shapes) if shape == (size_wh, resize_mode)]
        # Enough interpreters to keep every core busy, but not one of every file for each core:
        # on a server with many cores their weights alone would take gigabytes.
        copies = min(cores, -(-cores // len(group)) + 1)
        skipped = []
        with ExitStack() as stack:
            crews: list[list[Scorer]] = []
            for index in group:
                crew = [stack.enter_context(candidates[index].load()) for _ in range(copies)]
                labels[index] = crew[0].labels
                crews.append(list(crew))
            samples = read_labelled(photos, size_wh, resize_mode, skipped)
            truth, found = predict(crews, track(samples, "Measuring accuracy", len(photos.photos)))
        replies.update(zip(group, found, strict=True))
    report_skipped(skipped, len(photos.photos))
    indices = range(len(candidates))
    # The reference's labels, so that files with the same ones are compared by index.
    known = [labels[reference].index(label) for label in photos.labels]
    accuracies = compare(
        [tuple(sorted(known[index] for index in entry)) for entry in truth],
        [replies[index] for index in indices],
        [labels[index] for index in indices],
        labels[reference],
        reference,
    )
    return list(accuracies), skipped
