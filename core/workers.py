"""Work on several items at once, with results in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_ahead(work: Callable[[T], R], items: Iterable[T], threads: int, ahead: int) -> Iterator[R]:
    """Yield `work(item)` for each item, in order.

    Args:
        work: is called in `threads` threads; an error it raises comes out in its turn.
        items: may be endless; are taken in this thread.
        threads: how many items are worked on at once.
        ahead: how many items have been taken at most whose result was not yielded yet.
    """
    with ThreadPoolExecutor(threads) as pool:
        remaining = iter(items)
        pending = deque(pool.submit(work, item) for item in islice(remaining, ahead))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(work, item) for item in islice(remaining, 1))
            yield result
