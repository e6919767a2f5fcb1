"""Choosing the int8 file: the best of several candidates, with layers left in float if need be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pocketlens.convert.comparison import Comparison, Reference
from pocketlens.convert.encoders import Candidate, Encoder
from pocketlens.convert.float_layers import Sensitivity, measure_sensitivity, time_files
from pocketlens.progress import track

# Enough photos to tell distances of scores apart; agreement needs thousands for that.
_MAX_PHOTOS = 300

# How many standard errors nearer the nearest of eight others must be to be so with 95 %, not by
# chance (Bonferroni: the 0.6th percentile, two-sided).
_SURE = 2.73

# Runs a flatbuffer on the pixels of a reference: scores float32 (photos, outputs).
Runner = Callable[[bytes, Reference], NDArray[np.float32]]


@dataclass(frozen=True)
class Trial:
    """A candidate and how it did on photos that its calibration did not see.

    `distances`, float32 (photos,), are those that `comparison.distance` is the mean of.
    """

    candidate: Candidate
    comparison: Comparison
    distances: NDArray[np.float32]

    def is_nearer_than(self, other: Trial) -> bool:
        """Tell whether the scores are nearer by more than these photos' chance (paired z-test)."""
        won = other.distances - self.distances
        return bool(won.mean() > _SURE * won.std() / np.sqrt(len(won)))


@dataclass(frozen=True)
class Choice:
    """The int8 file that was chosen, and why.

    `trials` has every candidate that was tried, the chosen one first, then the nearest.
    `float_layers` names the layers that stay in float; they cost `float_cost_ms` of an inference
    with one thread.
    """

    flatbuffer: bytes
    candidate: Candidate
    trials: tuple[Trial, ...] = ()
    sensitivity: tuple[Sensitivity, ...] = ()
    float_layers: tuple[str, ...] = ()
    float_cost_ms: float = 0.0


def choose_int8(
    encoder: Encoder,
    reference: Reference,
    run: Runner,
    *,
    max_drop: float,
    search: bool = True,
    sensitivity: bool = False,
) -> Choice:
    """Make the int8 file that is nearest to the Keras model.

    Candidates whose agreement is below the 95 % interval of the best one's are out; of the rest
    the one with the smallest distance of scores is taken, since a few hundred photos tell
    distances apart long before they tell agreements apart. It has to be surely nearer than the
    first candidate, which is usually best. Where the file loses more than `max_drop` points, the
    layers that add most error stay in float, first one, then two, then four, …, until it does not,
    or none is left to try.

    Args:
        encoder: makes the candidates.
        reference: photos that calibration did not see.
        run: runs a file on them.
        max_drop: net accuracy in points that may be lost.
        search: compare candidates; else the first is taken and no layer stays in float.
        sensitivity: measure what each layer adds and saves, also where no layer stays in float.
    """
    candidates = encoder.candidates()
    if not search:
        return Choice(encoder.int8(candidates[0]), candidates[0])
    few = reference.thinned(_MAX_PHOTOS)
    made = {
        candidate: encoder.int8(candidate) for candidate in track(candidates, "Making int8 files")
    }
    trials = [
        _try(candidate, run(flatbuffer, few), few)
        for candidate, flatbuffer in track(made.items(), "Trying int8 files", len(made))
    ]
    usual = trials[0]
    trials.sort(key=lambda trial: trial.comparison.distance)
    most = max(trials, key=lambda trial: trial.comparison.agreement).comparison
    floor = most.agreement_interval[0]
    trials.sort(key=lambda trial: trial.comparison.agreement < floor)
    if usual.comparison.agreement >= floor and not trials[0].is_nearer_than(usual):
        trials.sort(key=lambda trial: trial is not usual)
    best = trials[0].candidate
    choice = Choice(made[best], best, tuple(trials))
    kept = reference.compare(run(choice.flatbuffer, reference)).keeps(max_drop)
    if not kept or sensitivity:
        table = measure_sensitivity(encoder, best, few, run)
        choice = replace(choice, sensitivity=table)
    return choice if kept else _leave_in_float(choice, encoder, reference, run, max_drop)


def _try(candidate: Candidate, scores: NDArray[np.float32], photos: Reference) -> Trial:
    return Trial(candidate, photos.compare(scores), photos.distances(scores))


def _leave_in_float(
    choice: Choice, encoder: Encoder, reference: Reference, run: Runner, max_drop: float
) -> Choice:
    """Return the choice with the fewest layers in float, doubling, that keeps the limit.

    Where none does, that is the one that loses least.
    """
    layers = [entry.layer for entry in choice.sensitivity]
    best, least = choice, float("inf")
    count = 1
    while True:
        mixed = encoder.int8(choice.candidate, layers[:count])
        comparison = reference.compare(run(mixed, reference))
        if comparison.drop_points < least:
            least = comparison.drop_points
            best = replace(choice, flatbuffer=mixed, float_layers=tuple(layers[:count]))
        if comparison.keeps(max_drop) or count >= len(layers):
            break
        count = min(2 * count, len(layers))
    before, after = time_files([choice.flatbuffer, best.flatbuffer])
    return replace(best, float_cost_ms=float(after - before))
