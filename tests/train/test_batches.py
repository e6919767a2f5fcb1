"""What training gets to see, epoch by epoch."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

from pocketlens.train.batches import Shuffling, plain_batches, same_every_epoch, training_batches

LABELS = np.repeat([0, 1], [18, 4])
PIXELS = np.arange(22, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
WEIGHTS = np.array([0.5, 2.0], np.float32)


def epochs(shuffling: Shuffling, count: int, first_epoch: int = 0) -> list[list[np.ndarray]]:
    """Return values, labels and weights of some epochs, each in one piece."""
    batches = training_batches(
        same_every_epoch(PIXELS, LABELS),
        (PIXELS, LABELS),
        8,
        shuffling,
        first_epoch=first_epoch,
        weights=WEIGHTS,
    )
    return [
        [np.concatenate(column) for column in zip(*batches.as_numpy_iterator(), strict=True)]
        for _ in range(count)
    ]


def brighter(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return values + rng.integers(100, 200, (len(values), 1, 1, 1), np.uint8)


def test_plain_batches_keep_order_and_pixels() -> None:
    batches = list(plain_batches(PIXELS, LABELS, 8, WEIGHTS).as_numpy_iterator())
    assert [len(batch[0]) for batch in batches] == [8, 8, 6]
    values, labels, weights = (np.concatenate(column) for column in zip(*batches, strict=True))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, PIXELS)
    np.testing.assert_array_equal(labels, LABELS)
    np.testing.assert_array_equal(weights, WEIGHTS[LABELS])


def test_every_epoch_has_every_photo_in_another_order() -> None:
    first, second = epochs(Shuffling(seed=1), 2)
    for values, labels, weights in (first, second):
        assert sorted(values[:, 0, 0, 0]) == list(range(22))
        np.testing.assert_array_equal(labels, LABELS[values[:, 0, 0, 0].astype(int)])
        np.testing.assert_array_equal(weights, WEIGHTS[labels])
    assert not np.array_equal(first[0], second[0])


def test_an_epoch_follows_from_its_number() -> None:
    """Training that goes on later sees what it would have seen."""
    shuffling = Shuffling(seed=1, change=brighter)
    through = epochs(shuffling, 3)
    later = epochs(shuffling, 1, first_epoch=2)
    for one, other in zip(through[2], later[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(through[1][0], through[2][0])


def test_change_is_another_one_for_every_batch() -> None:
    values, labels, _ = epochs(Shuffling(seed=1, change=brighter), 1)[0]
    added = values[:, 0, 0, 0].reshape(-1)
    assert added.min() >= 100
    assert len(labels) == 22
    first, second = values[:8, 0, 0, 0], values[8:16, 0, 0, 0]
    assert len(set(first)) > 1
    assert set(first) != set(second)


def test_oversampling_and_rounds() -> None:
    values, labels, _ = epochs(Shuffling(seed=1, oversample=True, rounds=3), 1)[0]
    assert len(values) == 66
    assert np.bincount(labels).tolist() == [33, 33]


def test_several_labels_a_photo_go_through() -> None:
    labels = np.eye(22, dtype=np.float32)
    batches = training_batches(
        same_every_epoch(PIXELS, labels), (PIXELS, labels), 22, Shuffling(seed=0)
    )
    values, seen, weights = next(batches.as_numpy_iterator())
    np.testing.assert_array_equal(seen, labels[values[:, 0, 0, 0].astype(int)])
    assert weights.tolist() == [1] * 22
