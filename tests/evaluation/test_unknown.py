"""What a label for unknown photos refuses and accepts, in figures."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from pocketlens.card import ModelCard
from pocketlens.errors import DataError, ModelFileError
from pocketlens.evaluation.agreement import Reference
from pocketlens.evaluation.answers import graded
from pocketlens.evaluation.unknown import (
    SYNTHETIC_COUNT,
    Strangers,
    count_refusals,
    draw_synthetic,
    known_part,
    lacks_strangers,
    synthetic_strangers,
    without_unknown,
)

CARD = ModelCard("m", ("cat", "dog", "unknown"), (8, 8), unknown="unknown")
CAT, DOG, UNKNOWN, UNSURE = (
    np.array(row, np.float32)
    for row in ((0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.2, 0.7), (0.4, 0.1, 0.5))
)
PATHS = [Path(f"{number}.jpg") for number in range(6)]


def test_counts_and_rates_by_hand():
    known = np.stack([CAT, DOG, UNSURE, CAT])
    strangers = np.stack([UNKNOWN, UNKNOWN, DOG])
    found = count_refusals(known, strangers, 2, "unknown")
    assert (found.known, found.kept, found.strangers, found.accepted) == (4, 3, 3, 1)
    # Twelve pairs: the unsure cat is beaten by two strangers, each sure animal too and tied once.
    assert found.auroc == pytest.approx((3 * 2.5 + 2) / 12)
    # A threshold that keeps 95 % of four photos keeps all, so it accepts the sure stranger.
    assert found.fpr95 == pytest.approx(1 / 3)
    for value, interval in (
        (found.auroc, found.auroc_interval),
        (found.fpr95, found.fpr95_interval),
    ):
        assert interval is not None
        assert 0 <= interval[0] < value < interval[1] <= 1
    # From odds of one half on the answer is the label.
    assert (sum(found.known_bins[:25]), sum(found.stranger_bins[:25])) == (3, 1)
    assert (sum(found.known_bins), sum(found.stranger_bins)) == (4, 3)
    assert found.is_sound


def test_without_strangers_there_are_no_rates():
    found = count_refusals(np.stack([CAT]), np.empty((0, 3), np.float32), 2, "unknown")
    assert (found.auroc, found.fpr95, found.to_json()["accepted_interval"]) == (None, None, None)
    assert len(found.sentences) == 1


def test_what_is_left_adds_up_to_one():
    nothing = np.array([0, 0, 1], np.float32)
    rest = without_unknown(np.stack([UNSURE, nothing]), 2)
    assert rest == pytest.approx(np.array([[0.8, 0.2], [0.5, 0.5]]))


def test_photos_of_the_label_are_strangers():
    scores = np.stack([CAT, UNSURE, UNKNOWN])
    found = known_part(scores, np.array([0, 0, 2]), CARD, PATHS[:3])
    assert (found.labels, found.rows.tolist(), found.truth.tolist()) == (
        ("cat", "dog"),
        [0, 1],
        [0, 0],
    )
    refusals = found.refusals
    assert refusals is not None
    assert (refusals.kept, refusals.known, refusals.accepted, refusals.strangers) == (1, 2, 0, 1)


def test_photos_that_are_refused_and_strangers_that_pass():
    # Two counter-examples among the photos, and two more strangers.
    scores = np.stack([UNSURE, DOG, UNKNOWN, UNKNOWN, UNSURE, CAT])
    strangers = Strangers(np.stack([DOG, UNKNOWN]), (Path("a.jpg"), Path("b.jpg")))
    found = known_part(scores, np.array([0, 0, 0, 2, 2, 2]), CARD, PATHS, strangers)
    refusals = found.refusals
    assert refusals is not None
    # A photo of one class that is taken for another is neither.
    assert [(entry.photo, entry.truth, entry.score) for entry in refusals.refused] == [
        ("2.jpg", "cat", pytest.approx(0.7)),
        ("0.jpg", "cat", pytest.approx(0.5)),
    ]
    assert [(entry.photo, entry.answer) for entry in refusals.passed] == [
        ("5.jpg", "cat"),
        ("a.jpg", "dog"),
    ]
    assert refusals.known - refusals.kept == len(refusals.refused)
    assert (refusals.accepted, refusals.strangers) == (len(refusals.passed), 5)
    assert {entry.answer for entry in refusals.refused} == {"unknown"}
    assert not refusals.doubt


def test_synthetic_strangers_are_the_same_again_and_named_as_such():
    card = dataclasses.replace(CARD, input_size_wh=(48, 32))
    (first, name), (second, _), *others = synthetic_strangers(card)
    assert len(others) == SYNTHETIC_COUNT - 2
    assert first.shape == (32, 48, 3)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, next(synthetic_strangers(card))[0])
    drawn = draw_synthetic(str(name), 48)
    assert drawn is not None
    # The same scene, here as large as it is shown.
    assert np.abs(drawn.mean((0, 1)) - first.mean((0, 1))).max() < 3
    for other in ("a.jpg", "synthetic image -1", "synthetic image 150", "synthetic image ²", ""):
        assert draw_synthetic(other, 48) is None
    scores = np.stack([CAT, UNKNOWN])
    strangers = Strangers(np.stack([DOG, UNKNOWN]), (name, Path("x")), synthetic=True)
    refusals = known_part(scores, np.array([0, 0]), CARD, PATHS[:2], strangers).refusals
    assert refusals is not None
    assert refusals.figures == {
        "known_kept": 0.5,
        "synthetic_accepted": 0.5,
        "synthetic_count": 2,
    }
    said = " ".join(refusals.sentences)
    assert "Synthetic strangers accepted" in said
    assert "not photos" in said
    assert "--strangers" in said


@pytest.mark.parametrize(
    ("true", "card", "lacks"),
    [
        ([0, 1], CARD, True),
        ([0, 2], CARD, False),
        ([0, 1], dataclasses.replace(CARD, unknown=""), False),
    ],
)
def test_who_needs_strangers(true: list[int], card: ModelCard, lacks: bool):
    assert lacks_strangers(np.array(true), card) == lacks


def test_truth_counts_on_where_the_label_is_not_the_last():
    card = ModelCard("m", ("none", "cat", "dog"), (8, 8), unknown="none")
    found = known_part(np.stack([DOG, CAT]), np.array([1, 2]), card, PATHS[:2])
    assert found.truth.tolist() == [0, 1]
    assert found.scores[0] == pytest.approx([8 / 9, 1 / 9])


def test_strangers_alone_are_refused():
    with pytest.raises(DataError, match="--strangers"):
        known_part(np.stack([UNKNOWN]), np.array([2]), CARD, PATHS[:1])


@pytest.mark.parametrize(
    ("scores", "true", "answer"),
    [
        pytest.param(UNSURE, (0,), (0,), id="a refused photo is not mistaken"),
        pytest.param(UNKNOWN, (0,), (1,), id="but may be as well"),
        pytest.param(UNKNOWN, (2,), (2,), id="a stranger that is refused"),
        pytest.param(CAT, (2,), (0,), id="a stranger that is accepted"),
        pytest.param(UNSURE, None, (0,), id="of which nothing is known"),
    ],
)
def test_what_counts_as_right(
    scores: np.ndarray, true: tuple[int, ...] | None, answer: tuple[int, ...]
):
    assert graded(scores, CARD, true) == answer


def test_files_agree_by_what_they_say_and_are_right_by_what_they_mean():
    original = np.stack([CAT, CAT, DOG])
    told = Reference([np.zeros((8, 8, 3), np.uint8)] * 3, [(0,), (0,), (1,)], original, CARD)
    found = told.compare(np.stack([CAT, UNSURE, DOG]))
    assert found.agreement == pytest.approx(2 / 3)
    assert (found.accuracy, found.flips.lost) == (1.0, 0)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"labels": ("a", "b"), "unknown": "c"}, id="not a label"),
        pytest.param({"labels": ("a", "b"), "unknown": "b", "task": "binary"}, id="another task"),
    ],
)
def test_a_card_that_cannot_be(values: dict):
    with pytest.raises(ModelFileError, match="unknown photos"):
        ModelCard(name="m", input_size_wh=(8, 8), **values)
