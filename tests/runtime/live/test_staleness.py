"""When a source is stale and when it hangs, by a clock that goes only when it is told to."""

import pytest

from pocketlens.runtime.live.frames import CaptureLimits
from pocketlens.runtime.live.staleness import Staleness, allowance_s

LIMITS = CaptureLimits(stale_s=1.5, silence_s=4.0)


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def staleness(clock):
    return Staleness(LIMITS, clock)


def test_a_source_is_stale_after_its_limit_and_hangs_later(clock, staleness):
    staleness.opened(30.0)
    staleness.ask()
    clock.now_s += 1.4
    assert staleness.left_s == pytest.approx(0.1)
    clock.now_s += 0.2
    assert staleness.left_s < 0
    assert not staleness.hangs
    clock.now_s += 2.5
    assert staleness.hangs


def test_a_frame_begins_the_time_anew_and_is_fresh_only_while_it_is_young(clock, staleness):
    staleness.opened(30.0)
    clock.now_s += 1.0
    assert staleness.come(clock.now_s)
    staleness.ask()
    clock.now_s += 1.4
    assert staleness.left_s > 0
    clock.now_s += 0.2
    assert not staleness.come(clock.now_s - 1.6)
    assert staleness.come(clock.now_s - 1.4)


def test_who_was_busy_gives_the_source_time_to_answer(clock, staleness):
    staleness.opened(30.0)
    clock.now_s += 60.0
    assert staleness.left_s == pytest.approx(0.3)
    assert not staleness.hangs
    staleness.ask()
    clock.now_s += 0.2
    # Asking again does not begin anew.
    staleness.ask()
    assert staleness.left_s == pytest.approx(0.1)
    clock.now_s += 0.2
    assert staleness.left_s < 0
    assert not staleness.hangs
    clock.now_s += 0.7
    assert staleness.hangs
    staleness.answer()
    assert not staleness.hangs


@pytest.mark.parametrize(
    ("fps", "stale_s", "silence_s"),
    [(None, 1.5, 4.0), (30.0, 1.5, 4.0), (1.0, 2.5, 5.0), (0.1, 25.0, 50.0)],
)
def test_a_declared_rate_below_the_limits_stretches_them(staleness, fps, stale_s, silence_s):
    staleness.opened(fps)
    assert (staleness.stale_s, staleness.silence_s) == (stale_s, silence_s)


def test_an_allowance_is_a_number_of_frames_but_not_less_than_the_least():
    assert allowance_s(3.0, 5, None) == allowance_s(3.0, 5, 0.0) == allowance_s(3.0, 5, 25) == 3.0
    assert allowance_s(3.0, 5, 0.5) == 10.0
