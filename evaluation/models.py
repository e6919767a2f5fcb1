"""A model measured on labelled photos, whatever kind of file it is in."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import ModelCard
from pocketlens.choices import MULTICLASS, NO_ACTIVATION, SIGMOID, SOFTMAX
from pocketlens.errors import DataError, ModelFileError, PictureError, UsageError
from pocketlens.evaluation.answers import Answers, same_labels, to_answers, truth
from pocketlens.evaluation.calibration import Reliability
from pocketlens.evaluation.metrics import Evaluation, evaluate
from pocketlens.evaluation.mistakes import confusions, mistakes, with_photos
from pocketlens.evaluation.scorers import Scorer, open_scorer, run_models
from pocketlens.evaluation.seen import warn_if_seen
from pocketlens.evaluation.sets import SetCoverage, measure_sets
from pocketlens.evaluation.unknown import (
    SYNTHETIC_COUNT,
    Refusals,
    Strangers,
    count_novel,
    known_part,
    lacks_strangers,
    synthetic_strangers,
)
from pocketlens.progress import track
from pocketlens.runtime.answers import ACTIVATE
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.photos import (
    LabelledPhotos,
    Photo,
    existing_folder,
    find_pictures,
    read_labelled,
    report_skipped,
)
from pocketlens.runtime.pictures import Pixels
from pocketlens.runtime.runs import evaluation_photos, is_run, read_run

LOGGER = logging.getLogger("pocketlens")

T = TypeVar("T")

# Rounding of an 8-bit output may take a score a little beyond 0-1.
_MARGIN = 0.01


@dataclass(frozen=True)
class ModelEvaluation:
    """How good a model is on photos.

    `photos` are those that could be read, in the order of `answers`; `skipped` counts the others.
    `temperature` is the one inside the model, None where it is not known; `before` is the
    reliability without it. `model` is the file, None for a network that is still being trained.
    `warnings` say why the figures may be too good. `refusals` are there for a model with a label
    for unknown photos, of which `answers`, `result` and `photos` have the known ones only. `sets`
    are the label sets of each level that the model's card has.
    """

    answers: Answers
    result: Evaluation
    photos: tuple[Photo, ...]
    temperature: float | None = None
    before: Reliability | None = None
    skipped: int = 0
    model: Path | None = None
    warnings: tuple[str, ...] = ()
    refusals: Refusals | None = None
    sets: tuple[SetCoverage, ...] = ()

    @property
    def paths(self) -> list[Path]:
        """The files of the photos."""
        return [photo.path for photo in self.photos]


def evaluate_model(
    model: str | Path | Scorer,
    data: str | Path | LabelledPhotos,
    hints: ModelHints | None = None,
    *,
    strangers: Path | None = None,
) -> ModelEvaluation:
    """Measure a model on labelled photos.

    Args:
        model: a run folder, a `.keras` file, a `.tflite` file, or one that `open_scorer` opened.
        data: a folder per class, a table, or a run folder, of which the held-back test photos are
            taken.
        hints: what a user says of a third-party model.
        strangers: a folder with photos of anything else, for a model with a label for unknown ones
            or a novelty. Without it and without counter-examples among `data`, synthetic images
            serve.

    Raises:
        UsageError: an argument cannot be.
        ModelFileError: the model cannot be used.
        LabelsError: a class of the photos is none of the model's.
        DataError: no photo can be read.
        MissingDependencyError: it is a Keras model, and Keras is not installed.
    """
    if isinstance(model, Scorer):
        scorer, photos = model, evaluation_photos(data)
    else:
        photos = photos_for(Path(model), data)
        scorer = open_scorer(Path(model), hints)
    card = scorer.card
    foreign = None if strangers is None else _find_strangers(strangers, scorer)
    photos = photos.with_labels(card.labels, card.task)
    warnings = warn_if_seen([(scorer.path, card)], photos.photos)
    readable, shares, novelty, skipped = score_photos(scorer, photos, hints)
    known = {card.labels[index] for photo in readable for index in photo.label_indices}
    join_same_labels(shares, card, known)
    right = truth([photo.label_indices for photo in readable], len(card.labels), card.task)
    others = _strangers(scorer, foreign, right, hints)
    paths = [photo.path for photo in readable]
    part = known_part(shares, right, card, paths, others)
    refusals = part.refusals if novelty is None else count_novel(novelty, paths, others)
    whole = to_answers(shares[part.rows], right[part.rows], card.labels, card.task, card.threshold)
    answers = to_answers(part.scores, part.truth, part.labels, card.task, card.threshold)
    return ModelEvaluation(
        answers,
        evaluate(answers),
        tuple(readable[row] for row in part.rows),
        scorer.temperature,
        skipped=skipped,
        model=scorer.path,
        warnings=warnings,
        refusals=refusals,
        sets=measure_sets(whole, card.sets),
    )


def photos_for(model: Path, data: str | Path | LabelledPhotos) -> LabelledPhotos:
    """Return what `evaluation_photos` does, looked at before a run's model is loaded.

    That takes TensorFlow, which takes seconds.

    Raises:
        UsageError, DataError: there are no such photos.
        LabelsError: a class of the photos is none of the run's.
    """
    photos = evaluation_photos(data)
    if is_run(model):
        card = read_run(model).card
        photos.with_labels(card.labels, card.task)
    return photos


def to_payload(evaluation: ModelEvaluation) -> dict[str, Any]:
    """Return an evaluation as plain JSON values.

    These are `model`, `skipped_photos` and `warnings` where it is of a file; `refusals` where the
    model has a label for unknown photos or a novelty; those of `Evaluation`;
    `labels`, `ece`, `temperature` (null where none is known), `ece_before_temperature`,
    `log_loss_before_temperature`, `sets` (label sets, an entry for each level that the card has),
    `confused` (pairs with the number of photos, the most frequent first) and `mistakes` (every
    wrong answer with its photo, the surest first).
    """
    answers, result, before = evaluation.answers, evaluation.result, evaluation.before
    every = mistakes(answers)
    of_file = {
        "model": str(evaluation.model),
        "skipped_photos": evaluation.skipped,
        "warnings": list(evaluation.warnings),
    }
    refusals = evaluation.refusals
    return {
        **(of_file if evaluation.model else {}),
        **({"refusals": refusals.to_json()} if refusals else {}),
        **asdict(result),
        "labels": list(answers.labels),
        "ece": result.ece,
        "temperature": evaluation.temperature,
        "ece_before_temperature": before.ece if before else None,
        "log_loss_before_temperature": before.log_loss if before else None,
        "sets": [asdict(entry) for entry in evaluation.sets],
        "confused": [
            {"truth": pair.truth, "answer": pair.answer, "photos": len(pair.mistakes)}
            for pair in confusions(every)
        ],
        "mistakes": [asdict(entry) for entry in with_photos(every, evaluation.paths)],
    }


def score_photos(
    scorer: Scorer, photos: LabelledPhotos, hints: ModelHints | None = None
) -> tuple[list[Photo], NDArray[np.float32], NDArray[np.float32] | None, int]:
    """Return what a model says of photos.

    Returns:
        the photos that can be read, their scores (photos, outputs) in 0-1, their novelty (photos,)
        where the model has one, and how many photos cannot be read, which is logged.

    Raises:
        DataError: none can be read.
        ModelFileError: scores are not finite.
    """
    card = scorer.card
    skipped: list[PictureError] = []
    samples = read_labelled(photos, card.input_size_wh, card.resize_mode, skipped)
    readable, scores, novelty = _run(scorer, samples, len(photos.photos), hints)
    report_skipped(skipped, len(photos.photos))
    if not readable:
        raise DataError(f"Expected readable photos. Received: none among {len(photos.photos)}.")
    return readable, scores, novelty, len(skipped)


def join_same_labels(scores: NDArray[np.float32], card: ModelCard, known: Collection[str]) -> None:
    """Give labels of a third-party model that are another one (`same_labels`) that one's score.

    Args:
        scores: (photos, outputs) in 0-1, which are changed.
        card: the model's.
        known: the labels that photos have.
    """
    if card.data_hash or card.task != MULTICLASS:
        # Somebody's own photos named its classes.
        return
    for index, first in same_labels(card.labels, known).items():
        # The greater one and no sum, which might beat what `classify` answers.
        scores[:, first] = np.maximum(scores[:, first], scores[:, index])
        scores[:, index] = 0


def _run(
    scorer: Scorer, samples: Iterable[tuple[Pixels, T]], total: int, hints: ModelHints | None
) -> tuple[list[T], NDArray[np.float32], NDArray[np.float32] | None]:
    """Return what the samples are, their scores in 0-1, and their novelty where there is one."""
    tags, (rows,) = run_models([scorer.crew], track(samples, "Evaluating", total))
    if not tags:
        return tags, np.empty((0, 0), np.float32), None
    scores, novelty = np.stack(rows), None
    if scorer.card.novelty is not None:
        scores, novelty = scores[:, :-1], scores[:, -1]
    return tags, _as_shares(scores, scorer.card.task, scorer.path, hints), novelty


def _strangers(
    scorer: Scorer, given: LabelledPhotos | None, truth: NDArray[Any], hints: ModelHints | None
) -> Strangers | None:
    """Return what is measured as strangers beside counter-examples, which may be enough."""
    if given is not None:
        photos, scores, novelty, _ = score_photos(scorer, given, hints)
        return Strangers(scores, tuple(photo.path for photo in photos), novelty=novelty)
    if not lacks_strangers(truth, scorer.card):
        return None
    samples = synthetic_strangers(scorer.card)
    names, scores, novelty = _run(scorer, samples, SYNTHETIC_COUNT, hints)
    return Strangers(scores, tuple(names), synthetic=True, novelty=novelty)


def _find_strangers(folder: Path, scorer: Scorer) -> LabelledPhotos:
    if not scorer.card.unknown and scorer.card.novelty is None:
        raise UsageError(
            f"Expected --strangers with a model that has a label for unknown photos, or a novelty. "
            f"Received: {scorer.path}, which has none. Train it with --unknown auto."
        )
    paths = sorted(find_pictures(existing_folder(folder)))
    if not paths:
        raise DataError(f"Expected photos in {folder}. Received: none. Choose another folder.")
    return LabelledPhotos((), tuple(Photo(path, ()) for path in paths))


def _as_shares(
    scores: NDArray[np.float32], task: str, model: Path, hints: ModelHints | None
) -> NDArray[np.float32]:
    """Return scores in 0-1; those of a model that ends in logits get their softmax or sigmoid."""
    if not np.isfinite(scores).all():
        raise ModelFileError(
            f"Expected finite scores. Received: NaN or infinity from {model}. "
            "Check its normalization (--mean, --std) or train it again."
        )
    if scores.min() >= -_MARGIN and scores.max() <= 1 + _MARGIN:
        return scores.clip(0, 1)
    if hints is not None and hints.activation == NO_ACTIVATION:
        raise UsageError(
            f"Expected scores in 0-1 from {model}, since --activation is none. Received: "
            f"{scores.min():.3g} to {scores.max():.3g}. Leave the option out."
        )
    LOGGER.warning("The scores of %s are not in 0-1: taken as logits.", model)
    activate = ACTIVATE[SOFTMAX if task == MULTICLASS else SIGMOID]
    return np.stack([activate(row) for row in scores])
