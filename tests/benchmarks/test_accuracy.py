"""Accuracy and agreement, with classifiers that answer what they are told."""

import threading
import time

import numpy as np
import pytest

from pocketlens.benchmarks import Accuracy, measure_accuracy
from pocketlens.card import ModelCard
from pocketlens.errors import DataError
from pocketlens.evaluation.intervals import wilson
from pocketlens.evaluation.scorers import one_by_one, run_models
from pocketlens.runtime.photos import read_labelled
from pocketlens.runtime.runs import evaluation_photos


class FakeScorer:
    """Names a picture by its first pixel, through a table; refuses two threads at a time."""

    def __init__(self, labels, table=None, delay=0.0, task="multiclass"):
        self.labels = tuple(labels)
        self.task = task
        self.card = ModelCard("fake", tuple(map(str, labels)), (1, 1), task)
        self.table = table or {}
        self.delay = delay
        self.calls = 0
        self._lock = threading.Lock()

    def scores(self, pixels_rgb):
        assert self._lock.acquire(blocking=False), "used by two threads at a time"
        try:
            time.sleep(self.delay)
            self.calls += 1
            value = int(pixels_rgb[0, 0, 0])
            scores = np.zeros(len(self.labels), np.float32)
            scores[self.table.get(value, value)] = 1
            return scores
        finally:
            self._lock.release()

    def answer(self, scores):
        return (int(scores.argmax()),)


def _samples(values):
    return [(np.full((2, 2, 3), value, np.uint8), (value,)) for value in values]


def test_counts_right_answers_and_agreement():
    right = FakeScorer("abc")
    wrong_on_c = FakeScorer("abc", {2: 0})
    samples = _samples([0, 1, 2, 2, 0, 1, 0, 0])
    first, second = measure_accuracy([right, wrong_on_c], samples)
    assert (first.correct, first.total, first.agreement) == (8, 8, 1.0)
    assert (second.correct, second.total, second.agreement) == (6, 8, 0.75)
    assert second.share == 0.75


def test_agreement_is_with_the_reference_even_where_it_is_wrong():
    results = measure_accuracy(
        [FakeScorer("ab"), FakeScorer("ab", {0: 1})], _samples([0, 0, 0, 1]), reference=1
    )
    assert [result.agreement for result in results] == [0.25, 1.0]
    assert [result.correct for result in results] == [4, 1]


def test_right_photos_that_flip_are_counted_against_the_reference():
    scorers = [FakeScorer("abc", {2: 0}), FakeScorer("abc", {1: 0})]
    first, second = measure_accuracy(scorers, _samples([0, 1, 1, 2]))
    assert first.flips is None
    assert (second.flips.lost, second.flips.won) == (2, 1)
    assert [entry.label for entry in second.flips.classes] == ["b", "c"]


def test_macro_f1_is_the_mean_of_the_classes():
    (result,) = measure_accuracy([FakeScorer("abc", {1: 0})], _samples([0, 0, 1]))
    assert result.macro_f1 == pytest.approx((4 / 5 + 0) / 2)
    assert result.macro_f1_interval[0] <= result.macro_f1 <= result.macro_f1_interval[1]


class Ranked(FakeScorer):
    """Gives the classes after a picture's own the next best scores, down from the named one."""

    def scores(self, pixels_rgb):
        best = self.table.get(int(pixels_rgb[0, 0, 0]), 0)
        return np.roll(np.linspace(1, 0, len(self.labels), dtype=np.float32), best)


@pytest.mark.parametrize(
    ("labels", "task", "in_top5"),
    [
        pytest.param("abcdefghij", "multiclass", 2, id="ten labels"),
        pytest.param("jihgfedcba", "multiclass", 0, id="by name"),
        pytest.param("abcdefghi", "multiclass", None, id="nine labels"),
        pytest.param("abcdefghij", "multilabel", None, id="multilabel"),
    ],
)
def test_top5(labels, task, in_top5):
    # Class 4 is fifth of those from 0 on, and sixth of those from 9 on; class 6 is first.
    scorer = Ranked(labels, {4: 0, 5: 9, 6: 6}, task=task)
    samples = [(pixels, (4 if value == 5 else value,)) for pixels, (value,) in _samples([4, 5, 6])]
    (result,) = measure_accuracy([scorer], samples, labels=tuple("abcdefghij"[: len(labels)]))
    assert result.in_top5 == in_top5
    if in_top5 is not None:
        assert result.top5 == in_top5 / 3
        assert result.top5_interval == wilson(in_top5, 3)


def test_labels_in_another_order_are_compared_by_name():
    straight = FakeScorer("abc")
    turned = FakeScorer("cba", {0: 2, 2: 0})
    results = measure_accuracy([straight, turned], _samples([0, 1, 2, 0]))
    assert [result.correct for result in results] == [4, 4]
    assert results[1].agreement == 1.0


def test_different_foreign_labels_do_not_agree():
    results = measure_accuracy(
        [FakeScorer("abxx2", {0: 2}), FakeScorer(["a", "b", "y"], {0: 2})],
        _samples([0, 0]),
        labels=("a", "b"),
    )
    assert [result.correct for result in results] == [0, 0]
    assert results[1].agreement == 0.0


def test_equal_names_of_two_classes_are_told_apart_by_index():
    twice = ("crane", "crane")
    (result,) = measure_accuracy([FakeScorer(twice, {1: 0})], _samples([0, 1]))
    assert result.correct == 1


def test_every_member_of_a_crew_works_and_order_is_kept():
    crews = [[FakeScorer(range(9), delay=0.002) for _ in range(2)], [FakeScorer(range(9))]]
    workers = [[one_by_one(scorer.scores) for scorer in crew] for crew in crews]
    values = np.random.default_rng(0).integers(0, 9, 150).tolist()
    truth, scores = run_models(workers, _samples(values))
    assert truth == [(value,) for value in values]
    assert [[row.argmax() for row in rows] for rows in scores] == [values, values]
    assert [sum(scorer.calls for scorer in crew) for crew in crews] == [150, 150]


def test_few_pictures_are_held_at_once():
    scorer = FakeScorer("a")
    ahead = []

    def stream():
        for number in range(200):
            ahead.append(number - scorer.calls)
            yield np.zeros((1, 1, 3), np.uint8), (0,)

    measure_accuracy([scorer], stream())
    assert scorer.calls == 200
    assert max(ahead) <= 64


def test_failure_in_a_classifier_is_not_swallowed():
    with pytest.raises(IndexError):
        measure_accuracy([FakeScorer("ab")], _samples([0, 5]))


def test_no_pictures():
    with pytest.raises(DataError, match="at least one readable photo"):
        measure_accuracy([FakeScorer("ab")], [])


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        # The first two from R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        pytest.param(81, 263, 0.2553, 0.3662, id="81 of 263"),
        pytest.param(15, 148, 0.0624, 0.1605, id="15 of 148"),
        # z² / (n + z²) and its counterpart, by hand.
        pytest.param(0, 20, 0.0, 0.1611, id="none of 20"),
        pytest.param(20, 20, 0.8389, 1.0, id="all of 20"),
    ],
)
def test_interval(correct, total, low, high):
    result = Accuracy(correct, total, 1.0, 1.0, 1.0, (1.0, 1.0), in_top5=correct)
    assert result.interval == result.top5_interval == pytest.approx((low, high), abs=6e-5)


def test_unreadable_photos_are_left_out_and_kept_in_mind(tiny_photos, tmp_path):
    import shutil

    folder = tmp_path / "photos"
    shutil.copytree(tiny_photos, folder)
    label = sorted(child.name for child in folder.iterdir() if child.is_dir())[0]
    (folder / label / "000_broken.png").write_bytes(b"no picture")
    photos, skipped = evaluation_photos(folder), []
    streamed = list(read_labelled(photos, (16, 16), "stretch", skipped))
    assert len(skipped) == 1
    assert "000_broken.png" in str(skipped[0])
    assert len(streamed) == len(photos.photos) - 1
    # The labels of those that follow have not moved up.
    assert [photo for _, photo in streamed] == [
        photo for photo in photos.photos if photo.path.name != "000_broken.png"
    ]


def test_run_folder_gives_its_test_photos(tiny_run):
    from pocketlens.runtime.runs import read_run

    assert evaluation_photos(tiny_run) == read_run(tiny_run).photos("test")
