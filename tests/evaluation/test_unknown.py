"""What a label for unknown photos refuses and accepts, in figures."""

import numpy as np
import pytest

from pocketlens.card import ModelCard
from pocketlens.errors import DataError, ModelFileError
from pocketlens.evaluation.agreement import Reference
from pocketlens.evaluation.answers import graded
from pocketlens.evaluation.unknown import count_refusals, known_part, without_unknown

CARD = ModelCard("m", ("cat", "dog", "unknown"), (8, 8), unknown="unknown")
CAT, DOG, UNKNOWN, UNSURE = (
    np.array(row, np.float32)
    for row in ((0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.2, 0.7), (0.4, 0.1, 0.5))
)


def test_counts_and_rates_by_hand():
    known = np.stack([CAT, DOG, UNSURE, CAT])
    strangers = np.stack([UNKNOWN, UNKNOWN, DOG])
    found = count_refusals(known, strangers, 2, "unknown")
    assert (found.known, found.kept, found.strangers, found.accepted) == (4, 3, 3, 1)
    # Twelve pairs: the unsure cat is beaten by two strangers, each sure animal too and tied once.
    assert found.auroc == pytest.approx((3 * 2.5 + 2) / 12)
    # A threshold that keeps 95 % of four photos keeps all, so it accepts the sure stranger.
    assert found.fpr95 == pytest.approx(1 / 3)


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
    found = known_part(scores, np.array([0, 0, 2]), CARD)
    assert (found.labels, found.rows.tolist(), found.truth.tolist()) == (
        ("cat", "dog"),
        [0, 1],
        [0, 0],
    )
    refusals = found.refusals
    assert refusals is not None
    assert (refusals.kept, refusals.known, refusals.accepted, refusals.strangers) == (1, 2, 0, 1)


def test_truth_counts_on_where_the_label_is_not_the_last():
    card = ModelCard("m", ("none", "cat", "dog"), (8, 8), unknown="none")
    found = known_part(np.stack([DOG, CAT]), np.array([1, 2]), card)
    assert found.truth.tolist() == [0, 1]
    assert found.scores[0] == pytest.approx([8 / 9, 1 / 9])


def test_strangers_alone_are_refused():
    with pytest.raises(DataError, match="--strangers"):
        known_part(np.stack([UNKNOWN]), np.array([2]), CARD)


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
