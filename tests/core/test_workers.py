"""The order of results, how far ahead items are taken, and errors."""

import itertools
import threading
from collections.abc import Iterator

import pytest

from pocketlens.workers import map_ahead


def test_results_come_in_the_order_of_the_items_whichever_is_done_first() -> None:
    second_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_done.wait(10), "the second item was not worked on beside the first"
        if item == 1:
            second_done.set()
        return item * item

    assert list(map_ahead(work, range(5), 2, 2)) == [0, 1, 4, 9, 16]


def test_no_more_is_taken_than_asked_for() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in itertools.count():
            taken.append(item)
            yield item

    results = map_ahead(lambda item: item, items(), 2, 3)
    assert next(results) == 0
    # Three ahead, and the one that took the place of the first.
    assert len(taken) == 4


def test_an_error_comes_out_in_its_turn() -> None:
    def work(item: int) -> int:
        if item == 1:
            raise ValueError("one")
        return item

    results = map_ahead(work, range(3), 2, 3)
    assert next(results) == 0
    with pytest.raises(ValueError, match="one"):
        next(results)
