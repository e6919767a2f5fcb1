"""Uneven classes, against figures worked out by hand."""

import numpy as np
import pytest

from pocketlens.train.batches import class_weights, oversampled, photo_weights, shuffled

UNEVEN = np.array([0] * 95 + [1] * 5)


def test_rare_class_weighs_as_much_as_the_common_one() -> None:
    weights = class_weights(UNEVEN)
    assert weights == pytest.approx([100 / (2 * 95), 100 / (2 * 5)])
    of_photos = photo_weights(UNEVEN, weights)
    assert of_photos.mean() == pytest.approx(1)
    assert of_photos[UNEVEN == 0].sum() == pytest.approx(of_photos[UNEVEN == 1].sum())


def test_even_classes_all_weigh_one() -> None:
    assert class_weights(np.repeat(np.arange(4), 7)) == pytest.approx(np.ones(4))


def test_several_labels_have_no_weights() -> None:
    labels = np.array([[1.0, 0.0], [1.0, 1.0]])
    assert class_weights(labels) is None
    assert photo_weights(labels, None).tolist() == [1, 1]


def test_oversampling_evens_classes_out_in_an_epoch_of_the_same_length() -> None:
    rng = np.random.default_rng(0)
    rows = oversampled(UNEVEN, rng)
    assert len(rows) == 100
    assert np.bincount(UNEVEN[rows]).tolist() == [50, 50]
    counts = np.bincount(rows, minlength=100)
    assert counts[:95].max() == 1
    assert counts[95:].tolist() == [10] * 5
    others = oversampled(UNEVEN, rng)
    assert set(others) != set(rows)
    assert not (np.diff(UNEVEN[rows]) >= 0).all()


def test_oversampling_shares_what_is_left_over() -> None:
    labels = np.array([0, 0, 0, 1, 2])
    counts = np.bincount(labels[oversampled(labels, np.random.default_rng(0))])
    assert sorted(counts) == [1, 2, 2]


def test_shuffling_takes_every_row_once() -> None:
    rows = shuffled(UNEVEN, np.random.default_rng(0))
    assert sorted(rows) == list(range(100))
    assert list(rows) != list(range(100))
