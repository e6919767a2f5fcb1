"""Giving the same photos to two models; `comparison` has what comes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import ModelCard
from pocketlens.choices import BINARY, MULTILABEL, RANDOM
from pocketlens.errors import LabelsError, UsageError
from pocketlens.evaluation.agreement import find_flips
from pocketlens.evaluation.answers import graded
from pocketlens.evaluation.common_photos import (
    CommonPhotos,
    Learner,
    LeftOut,
    common_photos,
    find_run,
    run_folder,
)
from pocketlens.evaluation.comparison import (
    CHANGES,
    LOST,
    OTHER,
    WON,
    ChangedPhoto,
    ClassTally,
    ComparedModel,
    ModelComparison,
    OnlyKnown,
    Refusing,
    Tally,
    few,
)
from pocketlens.evaluation.models import join_same_labels, score_photos
from pocketlens.evaluation.scorers import Scorer, open_scorer
from pocketlens.evaluation.unknown import without_unknown
from pocketlens.names import distinct_names, shown, to_label
from pocketlens.runtime.answers import Answer, answer_of
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.inbox import read_info
from pocketlens.runtime.model_files import SUFFIX, read_model_file
from pocketlens.runtime.photos import LabelledPhotos, Photo, check_label_counts
from pocketlens.runtime.runs import read_run

# From this novelty on, a photo counts as refused.
_NOVEL = 0.5


def compare_models(
    a: str | Path,
    b: str | Path,
    data: str | Path | LabelledPhotos | None = None,
    hints: ModelHints | None = None,
) -> ModelComparison:
    """Measure two models on the same photos, those that neither was trained or chosen on.

    Args:
        a: a run folder, a `.keras` or a `.tflite` file: what there is.
        b: another one: what might replace it.
        data: photos to choose from: a folder per class, a table, or a run folder, of which the
            held-back test photos are taken. None takes the test photos of both models' runs.
        hints: what a user says of a third-party model.

    Raises:
        UsageError: an argument cannot be, the models have different kinds of tasks, or nothing
            says where test photos are.
        ModelFileError: a model cannot be used.
        LabelsError: the models and the photos have no labels in common.
        DataError: the models have seen all photos, or none can be read.
        MissingDependencyError: one is a Keras model, and Keras is not installed.
    """
    return open_pair(a, b, data, hints).compare()


@dataclass(frozen=True)
class Pair:
    """Two models and the photos to compare them on, found and looked at."""

    names: tuple[str, str]
    scorers: tuple[Scorer, Scorer]
    photos: CommonPhotos
    hints: tuple[ModelHints, ModelHints]

    def compare(self) -> ModelComparison:
        """Give all photos to both models."""
        return _compare(self)


def open_pair(
    a: str | Path,
    b: str | Path,
    data: str | Path | LabelledPhotos | None = None,
    hints: ModelHints | None = None,
) -> Pair:
    """Load two models and find their photos; see `compare_models`, which also runs them."""
    paths = (Path(a), Path(b))
    names = distinct_names(paths)
    own_hints = _hints_for(paths, hints or ModelHints())
    runs = [run_folder(path) for path in paths]
    # That of a run takes TensorFlow, which takes seconds: it comes when all else is well.
    opened = [
        open_scorer(path, own) if run is None else None
        for path, run, own in zip(paths, runs, own_hints, strict=True)
    ]
    cards = [
        scorer.card if scorer else read_run(run or path).card
        for scorer, run, path in zip(opened, runs, paths, strict=True)
    ]
    if len({card.task == MULTILABEL for card in cards}) > 1:
        raise UsageError(
            "Expected two models that give a photo one label, or two multilabel ones. Received: "
            f"{shown(names[0])} ({cards[0].task}) and {shown(names[1])} ({cards[1].task}). "
            "Compare each with one of its kind."
        )
    learners = [
        Learner(name, path, card, find_run(path, card))
        for name, path, card in zip(names, paths, cards, strict=True)
    ]
    photos = common_photos(learners, data)
    check_label_counts(photos.photos.photos, photos.photos.labels, cards[0].task)
    first, second = (
        scorer or open_scorer(path, own)
        for scorer, path, own in zip(opened, paths, own_hints, strict=True)
    )
    return Pair((names[0], names[1]), (first, second), photos, own_hints)


def _hints_for(paths: Sequence[Path], hints: ModelHints) -> tuple[ModelHints, ModelHints]:
    """Return what is passed on to each model: what only a third-party one may be told, to it."""
    has_card = [
        read_model_file(path).card is not None
        if path.suffix == SUFFIX
        else run_folder(path) is not None
        for path in paths
    ]
    of_both = ModelHints(backend=hints.backend)
    first, second = (of_both if known and not all(has_card) else hints for known in has_card)
    return first, second


@dataclass(frozen=True)
class _Reply:
    """What a model says of a photo: its answer by names, the score, and whether it is refused."""

    answer: frozenset[str]
    score: float
    refused: bool


class _Sorted:
    """Photos of labels that both models know, of strangers, of labels that one knows, of others."""

    def __init__(self, pair: Pair) -> None:
        cards = [scorer.card for scorer in pair.scorers]
        self.labels = [tuple(map(to_label, card.labels)) for card in cards]
        self.strange = {to_label(card.unknown) for card in cards if card.unknown}
        first, second = ([n for n in own if n not in self.strange] for own in self.labels)
        self.common = tuple(label for label in second if label in first)
        self.single = {label: "a" for label in first if label not in second}
        self.single |= {label: "b" for label in second if label not in first}
        self.is_multilabel = cards[0].task == MULTILABEL
        self.kept: list[Photo] = []
        self.nowhere = 0
        names = pair.photos.photos.labels
        known = {*self.common, *self.single, *self.strange}
        for photo in pair.photos.photos.photos:
            own = [names[index] for index in photo.label_indices]
            if self.is_multilabel or known.issuperset(own):
                self.kept.append(photo)
            else:
                self.nowhere += 1

    def counts(self, truth: frozenset[str]) -> bool:
        """Tell whether a photo is among those that both models are measured on."""
        return self.is_multilabel or truth <= set(self.common)

    def counted(self, labels: frozenset[str]) -> frozenset[str]:
        """Return the labels that count: of several in a photo those that both models know."""
        return labels & set(self.common) if self.is_multilabel else labels


def _compare(pair: Pair) -> ModelComparison:
    parts = _Sorted(pair)
    labels = pair.photos.photos.labels
    if not parts.common or not parts.kept:
        raise LabelsError(
            f"Expected two models and photos with labels in common. Received: "
            f"{few(parts.labels[0])}; {few(parts.labels[1])}; photos of {few(labels)}. "
            "Compare models of the same photos, or give photos of labels that both have."
        )
    photos = LabelledPhotos(labels, tuple(parts.kept))
    replies: list[list[_Reply]] = []
    skipped = 0
    for scorer, own, hints in zip(pair.scorers, parts.labels, pair.hints, strict=True):
        readable, scores, novelty, unreadable = score_photos(scorer, photos, hints)
        # What the first cannot read the second is not asked.
        photos, skipped = LabelledPhotos(labels, tuple(readable)), skipped + unreadable
        join_same_labels(scores, scorer.card, set(labels))
        replies.append(_replies(scorer.card, own, scores, novelty))
    truth = [frozenset(labels[i] for i in photo.label_indices) for photo in photos.photos]
    rows = [row for row, names in enumerate(truth) if parts.counts(names)]
    if not rows:
        raise LabelsError(
            f"Expected photos of labels that both models have ({few(parts.common)}). Received: "
            f"only of {few(labels)}. Give others with --data PHOTOS."
        )
    files = [photo.path for photo in photos.photos]
    in_field = {row for row in rows if is_field_sample(files[row])}
    field = [row for row in rows if row in in_field]
    left_out = pair.photos.left_out
    if parts.nowhere:
        left_out += (LeftOut(parts.nowhere, "neither model has their labels"),)
    strangers = [row for row, names in enumerate(truth) if names and names <= parts.strange]
    models = [
        ComparedModel(
            name,
            str(scorer.path),
            scorer.card.task,
            own,
            _refusing(scorer.card, given, rows, strangers),
        )
        for name, scorer, own, given in zip(
            pair.names, pair.scorers, parts.labels, replies, strict=True
        )
    ]
    return ModelComparison(
        models[0],
        models[1],
        _tally(rows, truth, replies, parts),
        _tally(field, truth, replies, parts) if field else None,
        _only_known(parts, truth, replies),
        _changed(rows, files, truth, replies, parts, in_field),
        left_out,
        skipped,
        pair.photos.warnings,
    )


def _replies(
    card: ModelCard,
    labels: Sequence[str],
    scores: NDArray[np.float32],
    novelty: NDArray[np.float32] | None,
) -> list[_Reply]:
    index = card.unknown_index
    # Scores of a graded answer are those that `evaluate` shows: as if it had to be one of them.
    rest = scores if index is None else np.insert(without_unknown(scores, index), index, 0, axis=1)
    found = []
    for number, row in enumerate(scores):
        raw = answer_of(row, card.task, card.threshold)
        answer = graded(row, card)
        refused = raw == (index,)
        if novelty is not None:
            refused = bool(novelty[number] > _NOVEL)
        found.append(
            _Reply(
                frozenset(labels[i] for i in answer),
                _score(rest[number], answer, card.task),
                refused,
            )
        )
    return found


def _score(row: NDArray[np.float32], answer: Answer, task: str) -> float:
    """Return the score of an answer, of several labels that of the least sure one."""
    if task == BINARY:
        value = float(row[0])
        return value if answer == (1,) else 1 - value
    if task != MULTILABEL:
        return float(row[answer[0]])
    given = np.zeros(len(row), bool)
    given[list(answer)] = True
    return float(np.where(given, row, 1 - row).min())


def _tally(
    rows: Sequence[int],
    truth: Sequence[frozenset[str]],
    replies: Sequence[Sequence[_Reply]],
    parts: _Sorted,
) -> Tally:
    others = {name for given in replies for row in rows for name in given[row].answer}
    names = (*parts.common, *sorted(others - set(parts.common)))
    index = {name: number for number, name in enumerate(names)}

    def numbers(answer: Iterable[str]) -> Answer:
        return tuple(sorted(index[name] for name in answer))

    right = [numbers(parts.counted(truth[row])) for row in rows]
    first, second = (
        [numbers(parts.counted(given[row].answer)) for row in rows] for given in replies
    )
    flips = find_flips(second, first, right, names)
    by_class = {entry.label: entry for entry in flips.classes}
    counts: list[Counter[str]] = [Counter(), Counter(), Counter()]
    for one, other, true in zip(first, second, right, strict=True):
        for number in true:
            counts[0][names[number]] += 1
            counts[1][names[number]] += one == true
            counts[2][names[number]] += other == true
    classes = [
        ClassTally(
            label,
            counts[0][label],
            counts[1][label],
            counts[2][label],
            by_class[label].lost if label in by_class else 0,
            by_class[label].won if label in by_class else 0,
        )
        for label in parts.common
        if counts[0][label]
    ]
    return Tally(
        len(rows),
        sum(one == true for one, true in zip(first, right, strict=True)),
        sum(other == true for other, true in zip(second, right, strict=True)),
        flips,
        tuple(sorted(classes, key=lambda entry: (entry.won - entry.lost) / entry.photos)),
    )


def _only_known(
    parts: _Sorted, truth: Sequence[frozenset[str]], replies: Sequence[Sequence[_Reply]]
) -> tuple[OnlyKnown, ...]:
    found = []
    for label, model in parts.single.items():
        rows = [row for row, names in enumerate(truth) if label in names]
        given = replies["ab".index(model)]
        if rows:
            right = sum(label in given[row].answer for row in rows)
            found.append(OnlyKnown(label, model, len(rows), right))
    return tuple(found)


def _changed(
    rows: Sequence[int],
    files: Sequence[Path],
    truth: Sequence[frozenset[str]],
    replies: Sequence[Sequence[_Reply]],
    parts: _Sorted,
    in_field: Collection[int],
) -> tuple[ChangedPhoto, ...]:
    found = []
    for row in rows:
        true = parts.counted(truth[row])
        one, other = (given[row] for given in replies)
        answers = [parts.counted(reply.answer) for reply in (one, other)]
        if answers[0] == answers[1]:
            continue
        change = LOST if answers[0] == true else WON if answers[1] == true else OTHER
        found.append(
            ChangedPhoto(
                str(files[row]),
                tuple(sorted(truth[row])),
                tuple(sorted(one.answer)),
                tuple(sorted(other.answer)),
                round(one.score, 6),
                round(other.score, 6),
                change,
                row in in_field,
            )
        )

    def order(entry: ChangedPhoto) -> tuple[int, float]:
        wrong = {LOST: entry.b_score, WON: entry.a_score}
        return CHANGES.index(entry.change), -wrong.get(
            entry.change, max(entry.a_score, entry.b_score)
        )

    return tuple(sorted(found, key=order))


def _refusing(
    card: ModelCard, replies: Sequence[_Reply], known: Sequence[int], strangers: Sequence[int]
) -> Refusing | None:
    if card.unknown_index is None and card.novelty is None:
        return None
    return Refusing(
        to_label(card.unknown) if card.unknown else "novel",
        len(known),
        sum(not replies[row].refused for row in known),
        len(strangers),
        sum(replies[row].refused for row in strangers),
    )


def is_field_sample(photo: Path) -> bool:
    """Tell whether a photo is of the uniform random sample of what a camera saw (`live --keep`).

    The .json beside it says so.
    """
    info = read_info(photo)
    return info is not None and info.reason == RANDOM
