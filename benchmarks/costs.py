"""Two files side by side: the same photos through both, and what each costs on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pocketlens.benchmarks.candidates import read_candidates
from pocketlens.benchmarks.latency import Settings
from pocketlens.benchmarks.processes import summarise, time_in_processes
from pocketlens.errors import ModelFileError
from pocketlens.evaluation.comparing import open_pair
from pocketlens.evaluation.comparison import Costs, FileCost, ModelComparison
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.model_files import SUFFIX
from pocketlens.runtime.photos import LabelledPhotos

_THREADS = 1


def compare_with_costs(
    a: str | Path,
    b: str | Path,
    data: str | Path | LabelledPhotos | None = None,
    hints: ModelHints | None = None,
    settings: Settings | None = None,
) -> ModelComparison:
    """Compare two models on the same photos and, where both are files, their latency and size.

    Args:
        a: what there is; see `evaluation.compare_models` for this, `b`, `data` and `hints`.
        b: what might replace it.
        data: photos to choose from.
        hints: what a user says of a third-party model.
        settings: how long to time two `.tflite` files; runs are not timed.

    Raises:
        UsageError, ModelFileError, LabelsError, DataError, MissingDependencyError: see there.
    """
    pair = open_pair(a, b, data, hints)
    files = [Path(path) for path in (a, b)]
    if any(path.suffix != SUFFIX for path in files):
        return pair.compare()
    # Latency comes before accuracy, whose work on all cores heats a small board up.
    costs = measure_costs(files, hints, settings)
    return replace(pair.compare(), costs=costs)


def measure_costs(
    files: Sequence[Path], hints: ModelHints | None = None, settings: Settings | None = None
) -> Costs:
    """Time two `.tflite` files in turn, each with one thread, in fresh processes.

    Raises:
        ModelFileError: one cannot be used, or a process failed.
        UsageError: see `read_candidates`.
    """
    candidates, left_out = read_candidates(files, hints)
    for entry in left_out:
        raise ModelFileError(entry.reason)
    found = summarise(time_in_processes(candidates, (_THREADS,), settings or Settings()), 0)
    first, second = (found[index, _THREADS] for index in range(2))
    a, b = (
        FileCost(
            candidate.model.size_bytes, entry.classify.median_ms, entry.classify.median_interval_ms
        )
        for candidate, entry in zip(candidates, (first, second), strict=True)
    )
    return Costs(a, b, second.classify_ratio, second.classify_ratio_interval)
