"""When a source is stale and when it hangs, to the millisecond."""

import pytest

from pocketlens.runtime.live.frames import CaptureLimits
from pocketlens.runtime.live.staleness import Staleness, allowance_s

LIMITS = CaptureLimits(stale_s=1.5, silence_s=4.0)


@pytest.fixture
def staleness(clock):
    return Staleness(LIMITS, clock)


# Less than anything here is rounded to, and more than nothing.
MOMENT_S = 0.001


def test_a_source_is_stale_at_its_limit_and_hangs_after_another(clock, staleness):
    staleness.opened(30.0)
    staleness.ask()
    assert staleness.left_s == 1.5
    clock.advance(1.5)
    assert staleness.left_s == 0
    clock.advance(2.5)
    assert not staleness.hangs
    clock.advance(MOMENT_S)
    assert staleness.hangs


def test_a_frame_begins_the_time_anew_and_is_fresh_only_while_it_is_young(clock, staleness):
    staleness.opened(30.0)
    clock.advance(1.0)
    assert staleness.come(clock.now_s())
    staleness.ask()
    clock.advance(1.25)
    assert staleness.left_s == 0.25
    assert staleness.come(clock.now_s() - 1.5)
    assert not staleness.come(clock.now_s() - 1.5 - MOMENT_S)


def test_who_was_busy_gives_the_source_time_to_answer(clock, staleness):
    staleness.opened(30.0)
    clock.advance(60.0)
    assert staleness.left_s == pytest.approx(0.3)
    assert not staleness.hangs
    staleness.ask()
    clock.advance(0.25)
    # Asking again does not begin anew.
    staleness.ask()
    assert staleness.left_s == pytest.approx(0.05)
    clock.advance(0.75)
    assert staleness.left_s == pytest.approx(-0.7)
    assert not staleness.hangs
    clock.advance(MOMENT_S)
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
