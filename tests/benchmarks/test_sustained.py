"""The run without a pause: its curve, its sentence, and that it ends."""

import pytest

from pocketlens.benchmarks.sustained import Moment, Sustained, sustain


class FakeMachine:
    """A clock that only calls advance, and that gets slower and hotter from one second on."""

    def __init__(self, frame_s, slow_from_s=1e9):
        self.now_s, self.frame_s, self.slow_from_s, self.calls = 100.0, frame_s, slow_from_s, 0

    def clock_s(self):
        return self.now_s

    def classify(self):
        self.calls += 1
        self.now_s += self.frame_s * (2 if self.now_s - 100 >= self.slow_from_s else 1)

    def temperature_c(self):
        return 80.0 if self.now_s - 100 > self.slow_from_s else 40.0

    def run(self, minutes, **arguments):
        return sustain(
            self.classify,
            minutes,
            clock_s=self.clock_s,
            read_temperature=self.temperature_c,
            **arguments,
        )


def test_curve_follows_the_machine_from_start_to_end():
    machine, done = FakeMachine(0.01, slow_from_s=300), []
    moments = machine.run(10, on_moment=done.append)
    assert len(moments) == 240
    assert moments[-1].at_s == pytest.approx(600, abs=0.05)
    assert sum(moment.frames for moment in moments) == machine.calls
    assert (moments[0].median_ms, moments[0].p95_ms) == pytest.approx((10, 10))
    assert moments[-1].median_ms == pytest.approx(20)
    assert [moments[0].temperature_c, moments[-1].temperature_c] == [40.0, 80.0]
    assert done == sorted(done)
    assert done[-1] == 1.0
    result = Sustained("int8.tflite", 2, moments)
    assert result.slowdown == pytest.approx(2)
    assert result.sentence == (
        "int8.tflite for 10 min without a pause: 10.00 ms per frame at the start, 20.00 at the end "
        "(2.00 times as long); 40 °C at the start, 80 at most."
    )


def test_few_slow_frames_still_make_a_curve():
    moments = FakeMachine(7.0).run(0.5)
    assert [moment.frames for moment in moments] == [1] * 5
    assert Sustained("a", 1, moments).slowdown == 1


def test_start_and_end_are_a_minute_each_or_a_third():
    def slower_every_minute(minutes):
        return tuple(Moment(60.0 * i, 9, float(i), float(i), None) for i in range(1, minutes + 1))

    long = Sustained("a", 1, slower_every_minute(12))
    assert (long.first_ms, long.last_ms) == (1, 12)
    seconds = tuple(Moment(float(i), 9, float(i), float(i), None) for i in range(1, 31))
    short = Sustained("a", 1, seconds)
    assert (short.first_ms, short.last_ms) == (5.5, 25.5)
    assert "no temperature sensor here" in short.sentence


def test_temperature_is_said_as_highest_even_if_it_fell_again():
    heat = (50.0, 80.0, 60.0)
    moments = tuple(Moment(float(i), 9, 1.0, 1.0, value) for i, value in enumerate(heat, 1))
    assert "50 °C at the start, 80 at most." in Sustained("a", 1, moments).sentence
