"""The accuracy of several files on the same photos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from pocketlens.benchmarks.candidates import Candidate
from pocketlens.choices import MULTILABEL
from pocketlens.errors import DataError, PictureError
from pocketlens.evaluation.agreement import AnswerPair, pair_answers
from pocketlens.evaluation.answers import best_five, graded, same_labels, share_of_equal
from pocketlens.evaluation.metrics import Accuracy, compare_answers
from pocketlens.evaluation.scorers import Worker, one_by_one, run_models
from pocketlens.progress import track
from pocketlens.runtime.answers import Answer
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.photos import LabelledPhotos, read_labelled, report_skipped
from pocketlens.runtime.pictures import Pixels
from pocketlens.workers import count_cores


class Reply(NamedTuple):
    """What a model says of a picture: its answer, and its best five labels (see `best_five`).

    `known` is the answer by which the picture counts as right, if it is of a label that the model
    knows (see `graded`).
    """

    answer: Answer
    known: Answer
    best: Answer


def evaluate_files(
    candidates: Sequence[Candidate],
    shapes: Sequence[tuple[tuple[int, int], str]],
    photos: LabelledPhotos,
    reference: int,
) -> tuple[list[Accuracy], list[tuple[AnswerPair, ...] | None], list[PictureError]]:
    """Measure the accuracy of files; those that want the same pixels share each decoded photo.

    Args:
        candidates: the files.
        shapes: what pixels each wants: (width, height) and the resize mode.
        photos: what to measure on.
        reference: index of the file that the others are compared with.

    Returns:
        for each file its accuracy, and its answers beside the reference's (None for that itself);
        and the photos that could not be read.

    Raises:
        DataError: no photo can be read.
    """
    cores = count_cores()
    replies: dict[int, list[Reply]] = {}
    labels: dict[int, tuple[str, ...]] = {}
    tasks: dict[int, str] = {}
    truth: list[Answer] = []
    skipped: list[PictureError] = []
    for size_wh, resize_mode in dict.fromkeys(shapes):
        group = [i for i, shape in enumerate(shapes) if shape == (size_wh, resize_mode)]
        # Enough interpreters to keep every core busy, but not one of every file for each core:
        # on a server with many cores their weights alone would take gigabytes.
        copies = min(cores, -(-cores // len(group)) + 1)
        skipped = []
        with ExitStack() as stack:
            crews: list[list[Worker[Reply]]] = []
            for index in group:
                crew = [stack.enter_context(candidates[index].load()) for _ in range(copies)]
                labels[index], tasks[index] = crew[0].labels, crew[0].task
                crews.append([_worker(classifier) for classifier in crew])
            samples = read_labelled(photos, size_wh, resize_mode, skipped)
            read, found = run_models(
                crews, track(samples, "Measuring accuracy", len(photos.photos))
            )
        truth = [photo.label_indices for photo in read]
        for index, own in zip(group, found, strict=True):
            card = candidates[index].model.card
            # Nobody's own photos named the classes of a third-party model.
            is_own = card is not None and card.data_hash
            has_none = is_own or tasks[index] == MULTILABEL
            same = {} if has_none else same_labels(labels[index], photos.labels)
            replies[index] = [_renamed(reply, same) for reply in own] if same else own
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
    answers = [[reply.answer for reply in replies[index]] for index in indices]
    pairs = [
        None
        if index == reference
        else pair_answers(answers[reference], answers[index], labels[reference], labels[index])
        for index in indices
    ]
    return list(accuracies), pairs, skipped


def _renamed(reply: Reply, same: Mapping[int, int]) -> Reply:
    answer, known, best = ([same.get(index, index) for index in entry] for entry in reply)
    return Reply(tuple(sorted(set(answer))), tuple(sorted(set(known))), tuple(dict.fromkeys(best)))


def measure_accuracy(
    classifiers: Sequence[Classifier],
    samples: Iterable[tuple[Pixels, Answer]],
    *,
    labels: Sequence[str] | None = None,
    reference: int = 0,
) -> tuple[Accuracy, ...]:
    """Give every picture to every classifier, each in a thread of its own.

    Args:
        classifiers: loaded models of one input size.
        samples: pixels uint8 (height, width, 3) in RGB of that size, and the indices of their
            labels.
        labels: what the samples' indices stand for; the reference's own labels by default.
        reference: index of the classifier that agreement is measured against.

    Returns:
        one result for each classifier, in their order.

    Raises:
        DataError: there are no samples.
    """
    truth, replies = run_models([[_worker(classifier)] for classifier in classifiers], samples)
    own = [classifier.labels for classifier in classifiers]
    return compare(truth, replies, own, labels or own[reference], reference)


def compare(
    truth: Sequence[Answer],
    replies: Sequence[Sequence[Reply]],
    own_labels: Sequence[Sequence[str]],
    labels: Sequence[str],
    reference: int = 0,
) -> tuple[Accuracy, ...]:
    """Count right answers, agreements and flips.

    Models whose labels are `labels` are compared by index, since names may stand twice (ImageNet
    has two cranes); others by name.

    Args:
        truth: the label indices of each picture in `labels`.
        replies: of each model for each picture, in its own labels.
        own_labels: the labels of each model.
        labels: the labels that `truth` counts in.
        reference: index of the model that the others are compared with.

    Raises:
        DataError: there are no pictures.
    """
    if not truth:
        raise DataError(
            "Expected at least one readable photo to measure accuracy on. Received: none. "
            "Choose another folder or leave --photos out."
        )
    numbers = _common_numbers(own_labels, labels)
    answers = [
        [tuple(sorted(number[index] for index in reply.answer)) for reply in given]
        for given, number in zip(replies, numbers, strict=True)
    ]
    # A photo of a known label that a model refuses is right if the best of the known ones is.
    by_label = [
        [
            answer if answer == true else tuple(sorted(number[index] for index in reply.known))
            for answer, reply, true in zip(given, own, truth, strict=True)
        ]
        for given, own, number in zip(answers, replies, numbers, strict=True)
    ]
    best = [
        [tuple(number[index] for index in reply.best) for reply in given]
        for given, number in zip(replies, numbers, strict=True)
    ]
    return tuple(
        compare_answers(
            by_label[model],
            truth,
            None if model == reference else by_label[reference],
            labels,
            best[model],
            share_of_equal(answers[model], answers[reference]),
        )
        for model in range(len(replies))
    )


def _worker(classifier: Classifier) -> Worker[Reply]:
    def reply(pixels: Pixels) -> Reply:
        scores = classifier.scores(pixels)
        known = graded(scores, classifier.card)
        return Reply(classifier.answer(scores), known, best_five(scores, classifier.task))

    return one_by_one(reply)


def _common_numbers(
    own_labels: Sequence[Sequence[str]], labels: Sequence[str]
) -> list[Sequence[int]]:
    """Return for each model the number of each of its labels among all."""
    known: dict[str, int] = {}
    for index, label in enumerate(labels):
        known.setdefault(label, index)
    numbers: list[Sequence[int]] = []
    for own in own_labels:
        if tuple(own) == tuple(labels):
            numbers.append(range(len(labels)))
            continue
        for label in own:
            # Labels that no picture has get numbers behind the others.
            known.setdefault(label, len(labels) + len(known))
        numbers.append([known[label] for label in own])
    return numbers
