"""Files beside their Keras model: what is counted and when a limit is broken."""

import dataclasses

import numpy as np
import pytest

from pocketlens.card import ModelCard
from pocketlens.evaluation.agreement import ClassFlips, Flips, Reference

LABELS = ("a", "b", "c")


def one_hot(answers: list[int]) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[answers]


def reference(truth: list[int], answers: list[int]) -> Reference:
    pixels = [np.zeros((1, 1, 3), np.uint8)] * len(truth)
    card = ModelCard("x", LABELS, (1, 1))
    return Reference(pixels, [(index,) for index in truth], one_hot(answers), card)


def test_what_is_counted() -> None:
    truth = [0, 0, 0, 1, 1, 2]
    result = reference(truth, [0, 0, 0, 1, 0, 1]).compare(one_hot([1, 1, 0, 1, 1, 0]))
    assert result.photos == 6
    assert result.agreement == pytest.approx(2 / 6)
    assert result.original_accuracy == pytest.approx(4 / 6)
    assert result.accuracy == pytest.approx(3 / 6)
    assert (result.flips.lost, result.flips.won) == (2, 1)
    assert result.drop_points == pytest.approx(100 / 6)
    assert result.hardest == (ClassFlips("a", 3, 2, 0),)
    # Each of the four other answers moves one from one class to another.
    assert result.distance == pytest.approx(4 * 2 / 6)


def test_the_same_scores_lose_nothing() -> None:
    told = reference([0, 1, 2, 2], [0, 1, 1, 2])
    result = told.compare(told.scores)
    assert (result.agreement, result.distance) == (1.0, 0.0)
    assert result.flips == Flips(0, 0, 1.0)
    assert result.hardest == ()
    assert result.keeps(0.0)


@pytest.mark.parametrize(
    ("photos", "lost", "won", "limit", "kept"),
    [
        (1000, 10, 0, 1.0, True),
        (1000, 11, 0, 1.0, False),
        (1000, 30, 20, 1.0, True),
        (30, 1, 0, 1.0, True),
        (30, 2, 0, 1.0, False),
        (30, 5, 4, 1.0, True),
        (1000, 1, 0, 0.0, False),
        (1000, 7, 0, 0.7, True),
        (30, 0, 9, 0.0, True),
    ],
    ids=[
        "at the limit",
        "a photo beyond",
        "net counts",
        "one photo of few",
        "two photos of few",
        "one net photo of few",
        "no loss allowed",
        "a limit that binary fractions miss",
        "better than Keras",
    ],
)
def test_limit(photos: int, lost: int, won: int, limit: float, kept: bool) -> None:
    same = reference([0], [0]).compare(one_hot([0]))
    result = dataclasses.replace(same, photos=photos, flips=Flips(lost, won, 1.0))
    assert result.keeps(limit) is kept


def test_all_labels_of_a_photo_have_to_be_right() -> None:
    card = ModelCard("x", LABELS, (1, 1), task="multilabel", threshold=0.5)
    pixels = [np.zeros((1, 1, 3), np.uint8)] * 3
    scores = np.array([[0.9, 0.8, 0.1], [0.9, 0.1, 0.1], [0.2, 0.3, 0.1]], np.float32)
    told = Reference(pixels, [(0, 1), (0,), ()], scores, card)
    result = told.compare(scores - np.array([0, 0.4, 0], np.float32))
    assert result.original_accuracy == 1
    assert (result.flips.lost, result.flips.won) == (1, 0)
    assert result.hardest == (ClassFlips("b", 1, 1, 0), ClassFlips("a", 2, 1, 0))


def test_one_output_is_a_yes_or_no() -> None:
    card = ModelCard("x", ("no", "yes"), (1, 1), task="binary", threshold=0.5)
    scores = np.array([[0.2], [0.7]], np.float32)
    told = Reference([np.zeros((1, 1, 3), np.uint8)] * 2, [(0,), (1,)], scores, card)
    assert told.compare(np.array([[0.6], [0.6]], np.float32)).agreement == 0.5


def test_thinned_keeps_rows_together() -> None:
    told = reference([0, 1, 2, 0, 1, 2, 0], [0, 1, 2, 0, 1, 2, 0])
    few = told.thinned(3)
    assert list(few.truth) == [(0,), (0,), (0,)]
    assert len(few.pixels) == len(few.scores) == 3
    assert list(told.thinned(100).truth) == list(told.truth)
