"""The benchmark itself: every file, every number of threads, one machine."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from pocketlens.benchmarks.candidates import (
    Candidate,
    find_reference,
    load_candidates,
    read_candidates,
)
from pocketlens.benchmarks.evaluations import evaluate_files
from pocketlens.benchmarks.latency import Settings, round_progress
from pocketlens.benchmarks.machine import Watch, describe_machine
from pocketlens.benchmarks.memory import Footprint, measure_footprint
from pocketlens.benchmarks.processes import noise_frame, summarise, time_in_processes
from pocketlens.benchmarks.recommendation import choose
from pocketlens.benchmarks.results import Benchmark, FileResult
from pocketlens.benchmarks.stages import Stage, time_stages
from pocketlens.benchmarks.sustained import Sustained, sustain
from pocketlens.errors import PictureError, UsageError
from pocketlens.evaluation.agreement import AnswerPair
from pocketlens.evaluation.metrics import Accuracy
from pocketlens.evaluation.seen import warn_if_seen
from pocketlens.progress import track
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.interpreters import load_interpreter
from pocketlens.runtime.operators import list_operators
from pocketlens.runtime.photos import LabelledPhotos
from pocketlens.runtime.runs import evaluation_photos
from pocketlens.workers import count_cores

LOGGER = logging.getLogger("pocketlens")

MOST_THREADS = 256


def benchmark(
    models: Sequence[str | Path],
    *,
    data: str | Path | LabelledPhotos | None = None,
    threads: Sequence[int] = (1,),
    settings: Settings | None = None,
    profile: bool = False,
    hints: ModelHints | None = None,
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
        hints: what third-party files do not say of themselves, and the interpreter to take.

    Raises:
        UsageError: an argument cannot be.
        MissingDependencyError: the interpreter is not installed.
        ModelFileError: no file is an image classifier; one among others is left out.
        LabelsError: the pictures' classes are not the models' labels.
        DataError: no picture can be read.
    """
    settings = settings or Settings()
    threads = _check_threads(threads)
    readable, left_out = read_candidates(models, hints)
    photos = None if data is None else evaluation_photos(data)
    machine = describe_machine(hints.backend if hints else None)
    seen: tuple[str, ...] = ()
    with ExitStack() as stack:
        loaded, failed = load_candidates(readable, threads, stack)
        left_out += failed
        candidates = [candidate for candidate, _ in loaded]
        reference = find_reference(candidates)
        one_each = [own[0] for _, own in loaded]
        shapes = [(one.size_wh, one.resize_mode) for one in one_each]
        tasks = [one.task for one in one_each]
        plans = [list_operators(one.interpreter) for one in one_each]
        if photos is not None:
            for one in one_each:
                photos.with_labels(one.labels, one.task)
            # Files of one model have seen the same.
            distinct = {one.card.seen: one for one in reversed(one_each)}.values()
            seen = warn_if_seen(
                ((Path(one.model.path), one.card) for one in distinct), photos.photos
            )
    for warning in machine.warnings:
        LOGGER.warning("%s", warning)
    # Latency comes before accuracy, whose work on all cores heats a small board up.
    watch = Watch()
    latencies = summarise(time_in_processes(candidates, threads, settings), reference)
    machine = replace(machine, after=watch.read())
    footprints = [
        _footprint(candidate, threads[0])
        for candidate in track(candidates, "Loading each file", len(candidates))
    ]
    stages = [_stages(candidate, threads[0]) if profile else None for candidate in candidates]
    accuracies: list[Accuracy | None] = [None] * len(candidates)
    pairs: list[tuple[AnswerPair, ...] | None] = [None] * len(candidates)
    skipped: list[PictureError] = []
    if photos is not None:
        accuracies[:], pairs, skipped = evaluate_files(candidates, shapes, photos, reference)
    files = tuple(
        FileResult(
            name=candidate.name,
            path=Path(candidate.model.path),
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
    result = Benchmark(
        files,
        reference,
        machine,
        settings,
        len(skipped),
        tasks[reference],
        left_out,
        seen_photos=seen,
    )
    if not settings.sustained_mins:
        return result
    return replace(result, sustained=_sustained(result, candidates))


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
        lambda flatbuffer: load_interpreter(
            flatbuffer, threads=threads, backend=candidate.hints.backend
        ),
        track=lambda cuts: track(cuts, f"Operators of {candidate.name}", len(cuts)),
    )


def _footprint(candidate: Candidate, threads: int) -> Footprint:
    return measure_footprint(Path(candidate.model.path), threads=threads, hints=candidate.hints)
