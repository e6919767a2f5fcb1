"""The accuracy of several files on the same photos."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from pocketlens.benchmarks.candidates import Candidate
from pocketlens.errors import PictureError
from pocketlens.evaluation.agreement import AnswerPair, pair_answers
from pocketlens.evaluation.metrics import Accuracy, compare
from pocketlens.evaluation.scorers import PixelClassifier, Reply, predict
from pocketlens.progress import track
from pocketlens.runtime.answers import Answer
from pocketlens.runtime.photos import LabelledPhotos, read_labelled, report_skipped
from pocketlens.workers import count_cores


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
    truth: list[Answer] = []
    skipped: list[PictureError] = []
    for size_wh, resize_mode in dict.fromkeys(shapes):
        group = [i for i, shape in enumerate(shapes) if shape == (size_wh, resize_mode)]
        # Enough interpreters to keep every core busy, but not one of every file for each core:
        # on a server with many cores their weights alone would take gigabytes.
        copies = min(cores, -(-cores // len(group)) + 1)
        skipped = []
        with ExitStack() as stack:
            crews: list[list[PixelClassifier]] = []
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
    answers = [[reply.answer for reply in replies[index]] for index in indices]
    pairs = [
        None
        if index == reference
        else pair_answers(answers[reference], answers[index], labels[reference], labels[index])
        for index in indices
    ]
    return list(accuracies), pairs, skipped
