"""The number of threads is chosen by measuring: the smallest that is nearly the fastest."""

import numpy as np
import pytest
from timing import FakeClock

from pocketlens.errors import UsageError
from pocketlens.runtime import Classifier
from pocketlens.runtime import threads as threads_module
from pocketlens.runtime.model_files import read_model_file
from pocketlens.runtime.threads import choose_threads
from pocketlens.workers import count_cores


class SlowInterpreter:
    """Takes as long as a table says."""

    def __init__(self, clock, milliseconds):
        self.clock = clock
        self.milliseconds = milliseconds

    def invoke(self):
        self.clock.sleep(self.milliseconds / 1000)


@pytest.mark.parametrize(
    ("cores", "table_ms", "chosen", "tried"),
    [
        pytest.param(1, {}, 1, [], id="one-core"),
        pytest.param(2, {1: 10, 2: 6}, 2, [1, 2], id="two"),
        pytest.param(4, {1: 10, 2: 9.7, 4: 5}, 1, [1, 2], id="hardly-faster"),
        pytest.param(4, {1: 10, 2: 6, 4: 7}, 2, [1, 2, 4], id="too-many"),
        pytest.param(6, {1: 10, 2: 6, 4: 4, 6: 3}, 6, [1, 2, 4, 6], id="six-cores"),
        pytest.param(64, {1: 10, 2: 6, 4: 4, 8: 4}, 4, [1, 2, 4, 8], id="ends-early"),
        pytest.param(4, {1: 900, 2: 500, 4: 300}, 4, [1, 2, 4], id="a-slow-board"),
    ],
)
def test_the_smallest_number_that_is_nearly_the_fastest(
    monkeypatch, cores, table_ms, chosen, tried
):
    clock = FakeClock()

    def load(_model, *, threads, backend):
        return SlowInterpreter(clock, table_ms[threads])

    monkeypatch.setattr(threads_module, "count_cores", lambda: cores)
    monkeypatch.setattr(threads_module, "load_model", load)
    choice = choose_threads(None, clock=clock)
    assert choice.threads == chosen
    assert list(choice.latency_ms) == tried
    for number, value_ms in choice.latency_ms.items():
        assert value_ms == pytest.approx(table_ms[number])
    assert str(choice).startswith(f"{chosen} of {cores} cores")


def test_a_slow_board_is_not_kept_waiting(monkeypatch):
    clock, invoked = FakeClock(), []

    class Interpreter(SlowInterpreter):
        def invoke(self):
            invoked.append(self)
            super().invoke()

    monkeypatch.setattr(threads_module, "count_cores", lambda: 2)
    monkeypatch.setattr(threads_module, "load_model", lambda *_, **__: Interpreter(clock, 900))
    choose_threads(None, clock=clock)
    assert len(invoked) == 2 * (2 + 5)


def test_a_classifier_chooses_by_itself(tiny_tflite):
    choice = choose_threads(read_model_file(tiny_tflite))
    assert 1 <= choice.threads <= count_cores()
    frame = np.full((96, 96, 3), 90, np.uint8)
    with Classifier(tiny_tflite, threads="auto") as ours, Classifier(tiny_tflite) as one:
        assert 1 <= ours.threads <= count_cores()
        assert ours.classify(frame) == one.classify(frame)
        assert one.threads == 1


@pytest.mark.parametrize("threads", [0, -1])
def test_fewer_than_one_is_refused(tiny_tflite, threads):
    with pytest.raises(UsageError, match="at least one thread"):
        Classifier(tiny_tflite, threads=threads)
