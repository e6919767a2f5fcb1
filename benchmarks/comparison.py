"""The benchmark itself: every file, every number of threads, one machine, one run."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from pocketlens.benchmarks.accuracy import Accuracy, Scorer, compare, predict
from pocketlens.benchmarks.answer_pairs import AnswerPair, pair_answers
from pocketlens.benchmarks.candidates import (
    Candidate,
    find_reference,
    read_candidates,
)
from pocketlens.benchmarks.latency import Settings, round_progress
from pocketlens.benchmarks.machine import describe_machine
from pocketlens.benchmarks.memory import Footprint, measure_footprint
from pocketlens.benchmarks.results import Benchmark, FileResult
from pocketlens.benchmarks.stages import Stage, time_stages
from pocketlens.benchmarks.sustained import Sustained, sustain
from pocketlens.benchmarks.timings import noise_frame, time_files
from pocketlens.benchmarks.verdict import choose
from pocketlens.errors import PictureError, UsageError
from pocketlens.progress import track
from pocketlens.runtime.answers import Answer
from pocketlens.runtime.interpreters import load_interpreter
from pocketlens.runtime.machine import count_cores
from pocketlens.runtime.operators import list_operators
from pocketlens.runtime.photos import LabelledPhotos, read_labelled, report_skipped
from pocketlens.runtime.runs import evaluation_photos

LOGGER = logging.getLogger("pocketlens")

MOST_THREADS = 256


def benchmark(
    models: Sequence[str | Path],
    *,
    data: str | Path | LabelledPhotos | None = None,
    threads: Sequence[int] = (1,),
    settings: Settings | None = None,
    profile: bool = False,
    labels_file: Path | None = None,
    mean: float | None = None,
    std: float | None = None,
) -> Benchmark:
    """Measure `.tflite` files against each other on this machine.

    Args:
        models: paths of the files. The first whose card says float32 is the reference; without
            one it is the first of all.
        data: photos to measure accuracy on: a folder per class, a table, or a run folder, of which
            the held-back test photos are taken. None leaves accuracy out.
        threads: numbers of threads to time each file with.
        settings: how long to measure.
        profile: measure what each operator of each file takes, with the fewest of the threads.
        labels_file: labels for files from elsewhere, one a line.
        mean: for float files from elsewhere, which get (pixel - mean) / std.
        std: see `mean`.

    Raises:
        UsageError: an argument cannot be.
        ModelFileError: a file is no image classifier.
        LabelsError: the pictures' classes are not the models' labels.
        DataError: no picture can be read.
    """
    settings = settings or Settings()
    threads = _check_threads(threads)
    candidates = read_candidates(models, labels_file=labels_file, mean=mean, std=std)
    reference = find_reference(candidates)
    photos = None if data is None else evaluation_photos(data)
    machine = describe_machine()
    if machine.is_busy:
        LOGGER.warning(
            "Other programs keep %.1f of %d cores busy: the times will be too long.",
            machine.busy_cores,
            machine.cores,
        )
    with ExitStack() as stack:
        classifiers = {
            (index, count): stack.enter_context(candidate.load(count))
            for index, candidate in enumerate(candidates)
            for count in threads
        }
        one_each = [classifiers[index, threads[0]] for index in range(len(candidates))]
        shapes = [(one.size_wh, one.resize_mode) for one in one_each]
        tasks = [one.task for one in one_each]
        plans = [list_operators(one.interpreter) for one in one_each]
        if photos is not None:
            for one in one_each:
                photos.with_labels(one.labels, one.task)
        # Latency comes before accuracy, whose work on all cores heats a small board up.
        latencies = time_files(classifiers, reference, settings)
    footprints = [
        _footprint(candidate, threads[0])
        for candidate in track(candidates, "Loading each file", len(candidates))
    ]
    stages = [_stages(candidate, threads[0]) if profile else None for candidate in candidates]
    accuracies: list[Accuracy | None] = [None] * len(candidates)
    pairs: list[tuple[AnswerPair, ...] | None] = [None] * len(candidates)
    skipped: list[PictureError] = []
    if photos is not None:
        accuracies[:], pairs, skipped = _accuracies(candidates, shapes, photos, reference)
    files = tuple(
        FileResult(
            name=candidate.name,
            path=candidate.model.path,
            format=candidate.format,
            size_bytes=candidate.model.size_bytes,
            input_size_wh=shapes[index][0],
            partitions=plans[index][1],
            macs=sum(operator.macs for operator in plans[index][0]),
            parameters=sum(operator.parameters for operator in plans[index][0]),
            footprint=footprints[index],
            accuracy=accuracies[index],
            latencies=tuple(latencies[index, count] for count in threads),
            answer_pairs=pairs[index],
            stages=stages[index],
        )
        for index, candidate in enumerate(candidates)
    )
    result = Benchmark(files, reference, machine, settings, len(skipped), tasks[reference])
    if not settings.sustained_mins:
        return result
    return dataclasses.replace(result, sustained=_sustained(result, candidates))


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


def _sustained(result: Benchmark, candidates: Sequence[Candidate]) -> Sustained:
    """Run the file to take on and on."""
    file, latency = choose(result)
    candidate = candidates[result.files.index(file)]
    frame_bgr = noise_frame(result.settings.seed)
    with (
        candidate.load(latency.threads) as classifier,
        round_progress(f"{file.name} without a pause") as on_moment,
    ):
        moments = sustain(
            lambda: classifier.classify(frame_bgr),
            result.settings.sustained_mins,
            on_moment=on_moment,
        )
    return Sustained(file.name, latency.threads, moments)


def _stages(candidate: Candidate, threads: int) -> tuple[Stage, ...]:
    return time_stages(
        candidate.model.flatbuffer,
        lambda flatbuffer: load_interpreter(flatbuffer, threads=threads),
        track=lambda cuts: track(cuts, f"Operators of {candidate.name}", len(cuts)),
    )


def _footprint(candidate: Candidate, threads: int) -> Footprint:
    return measure_footprint(
        candidate.model.path,
        threads=threads,
        labels_file=candidate.labels_file,
        mean=candidate.mean,
        std=candidate.std,
    )


def _accuracies(
    candidates: Sequence[Candidate],
    shapes: Sequence[tuple[tuple[int, int], str]],
    photos: LabelledPhotos,
    reference: int,
) -> tuple[list[Accuracy], list[tuple[AnswerPair, ...] | None], list[PictureError]]:
    """Run all files that want the same pixels together, so that each photo is decoded once."""
    cores = count_cores()
    answers: dict[int, list[Answer]] = {}
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
        answers.update(zip(group, found, strict=True))
    report_skipped(skipped, len(photos.photos))
    indices = range(len(candidates))
    # The reference's labels, so that files with the same ones are compared by index.
    known = [labels[reference].index(label) for label in photos.labels]
    accuracies = compare(
        [tuple(sorted(known[index] for index in entry)) for entry in truth],
        [answers[index] for index in indices],
        [labels[index] for index in indices],
        labels[reference],
        reference,
    )
    pairs = [
        None
        if index == reference
        else pair_answers(answers[reference], answers[index], labels[reference], labels[index])
        for index in indices
    ]
    return list(accuracies), pairs, skipped
