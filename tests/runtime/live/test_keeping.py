"""Which frames are chosen as worth a label, how they spread, and which go first."""

import math
import random

import numpy as np
import pytest

from pocketlens.choices import (
    BINARY,
    CHANGED,
    MULTICLASS,
    MULTILABEL,
    RANDOM,
    SHIFTED,
    UNKNOWN,
    UNSURE,
)
from pocketlens.runtime.classifier import Category
from pocketlens.runtime.live.frames import Decision, FrameResult
from pocketlens.runtime.live.keeping import (
    DAY_S,
    DAYS,
    MOST_A_DAY,
    RANDOM_SHARE,
    Chooser,
    Kept,
    Moments,
    chooser_for,
    day_share,
    first_to_go,
    teaching,
    unsureness,
)

HOUR_S = 3600.0
SURE = (0.96, 0.02, 0.02)
TORN = (0.4, 0.38, 0.22)


def scored(*values):
    return np.array(values, np.float32)


def result(time_s, scores=SURE, *, changed=False, unknown=None, novelty=None):
    best = int(np.argmax(scores))
    entry = Category("abc"[best], float(max(scores)), best)
    return FrameResult(
        round(30 * time_s),
        time_s,
        (entry,),
        (entry,),
        Decision((entry,), changed),
        1.0,
        2.0,
        at_s=1e9 + time_s,
        novelty=novelty,
        scores=scored(*scores),
        unknown=unknown,
    )


@pytest.mark.parametrize(
    ("scores", "task", "threshold", "expected"),
    [
        pytest.param((0.5, 0.5, 0.0), MULTICLASS, 0.0, 1.0, id="two-alike"),
        pytest.param((0.1, 0.7, 0.2), MULTICLASS, 0.0, 0.5, id="margin"),
        pytest.param((1.0, 0.0, 0.0), MULTICLASS, 0.0, 0.0, id="sure"),
        pytest.param((1.0,), MULTICLASS, 0.0, 0.0, id="one-label"),
        pytest.param((0.2, 0.8), BINARY, 0.8, 1.0, id="binary-at-its-threshold"),
        pytest.param((0.1, 0.9), BINARY, 0.8, 0.5, id="binary-halfway-up"),
        pytest.param((0.6, 0.4), BINARY, 0.8, 0.5, id="binary-halfway-down"),
        pytest.param((0.0, 1.0), BINARY, 1.0, 1.0, id="binary-with-a-threshold-of-1"),
        pytest.param((0.0, 1.0, 0.5), MULTILABEL, 0.5, 1.0, id="multilabel-by-the-nearest"),
        pytest.param((0.0, 1.0, 1.0), MULTILABEL, 0.5, 0.0, id="multilabel-sure"),
        pytest.param((0.3,), MULTILABEL, 0.6, 0.5, id="multilabel-with-one-label"),
    ],
)
def test_how_unsure_an_answer_is(scores, task, threshold, expected):
    assert unsureness(scored(*scores), task, threshold) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "novelty", "about", "expected"),
    [
        pytest.param(SURE, None, {}, {}, id="sure"),
        pytest.param(TORN, None, {}, {UNSURE: 0.28 / 0.3}, id="torn"),
        pytest.param((0.1, 0.1, 0.8), 0.8, {"is_unknown": True}, {UNKNOWN: 0.8}, id="unknown"),
        pytest.param(SURE, 0.02, {}, {}, id="known"),
        pytest.param(SURE, None, {"changed": True}, {CHANGED: 0.06}, id="changed"),
        pytest.param(SURE, None, {"shifted": True}, {SHIFTED: 0.5}, id="shifted"),
        pytest.param((0.0, 1.0), 0.75, {"task": BINARY}, {UNKNOWN: 0.5}, id="novel-to-binary"),
        pytest.param((0.0, 1.0), 0.45, {"task": BINARY}, {}, id="not-novel-to-binary"),
        pytest.param(
            (0, 0, 1), 1.0, {"task": MULTILABEL}, {UNKNOWN: 1.0}, id="novel-to-multilabel"
        ),
    ],
)
def test_what_a_frame_teaches_by_reason(scores, novelty, about, expected):
    usual = {
        "task": MULTICLASS,
        "threshold": 0.5,
        "is_unknown": False,
        "changed": False,
        "shifted": False,
    }
    found = teaching(scored(*scores), novelty, **(usual | about))
    assert found == pytest.approx(expected, abs=1e-6)


def reasons(chooser, results, days=1 / MOST_A_DAY):
    """Choose of results; each that is chosen is kept and takes so much of a day's allowance."""
    found = []
    for entry in results:
        chosen = chooser.choose(entry)
        if chosen:
            chooser.pay(chosen.reason, days)
            found.append((entry.time_s, chosen.reason))
    return found


def test_sure_answers_of_a_decision_that_stays_teach_nothing():
    assert reasons(Chooser(), (result(t) for t in range(1000))) == []


def test_of_a_decision_that_changes_the_first_is_none_and_neither_is_that_after_a_gap():
    chooser = Chooser()
    assert chooser.choose(result(0, TORN[::-1], changed=True)).reason == UNSURE
    assert chooser.choose(result(10, changed=True)).reason == CHANGED
    chooser.stay_away()
    assert chooser.choose(result(20, changed=True)) is None
    assert chooser.choose(result(30, changed=True)).reason == CHANGED


def test_frames_of_a_shift_are_chosen_until_it_ends():
    chooser = Chooser()
    chooser.shifted = True
    assert chooser.choose(result(0)).reason == SHIFTED
    chooser.shifted = False
    assert chooser.choose(result(10)) is None


def test_the_label_for_unknown_photos_is_a_reason():
    chosen = Chooser().choose(result(0, (0.1, 0.05, 0.85), unknown=2, novelty=0.85))
    assert chosen == (UNKNOWN, 0.85)


def test_two_frames_in_a_row_are_not_both_looked_at():
    chooser = Chooser()
    found = [chooser.choose(result(n / 30, TORN)) is not None for n in range(61)]
    assert [n for n, chosen in enumerate(found) if chosen] == [0, 30, 60]


def test_an_hour_of_trouble_leaves_the_other_hours_theirs():
    """All frames of the third hour are unsure; then one in ten minutes is."""
    chooser = Chooser()
    hour = (result(2 * HOUR_S + t, TORN) for t in range(3600))
    later = (result(3 * HOUR_S + 600 * n, TORN) for n in range(6 * 20))
    sure = (result(t) for t in range(0, 2 * 3600, 60))
    bad = reasons(chooser, (*sure, *hour))
    good = reasons(chooser, later)
    quota = MOST_A_DAY / 4 / 24
    assert quota <= len(bad) <= 4 * quota
    assert len(good) >= 0.8 * quota * 20
    hours = np.bincount([int(t // HOUR_S) - 3 for t, _ in good], minlength=20)
    assert hours.min() >= quota - 2


def test_the_less_is_left_the_more_a_frame_has_to_teach():
    draw = random.Random(3)
    chooser = Chooser()
    # A margin from 0 to 0.3, at a time each; ten times as many as may be kept.
    margins = [draw.uniform(0, 0.3) for _ in range(20 * 52)]
    frames = [
        result(HOUR_S / 52 * n, (0.5 + margin / 2, 0.5 - margin / 2, 0))
        for n, margin in enumerate(margins)
    ]
    kept = {time_s for time_s, _ in reasons(chooser, frames)}
    chosen = [m for m, frame in zip(margins, frames, strict=True) if frame.time_s in kept]
    assert len(chosen) < 0.2 * len(margins)
    assert np.mean(chosen) < 0.4 * np.mean(margins)


def test_a_reason_that_comes_all_the_time_leaves_the_others_their_share():
    chooser = Chooser()
    reasons(chooser, (result(t, TORN) for t in range(7200)))
    unknown = result(7200.5, (0.0, 0.1, 0.9), unknown=2, novelty=0.9)
    assert chooser.choose(result(7200.2, (0.6, 0.35, 0.05))) is None
    assert chooser.choose(unknown).reason == UNKNOWN


def test_in_a_day_no_more_is_kept_than_a_day_may():
    times = np.arange(0, DAY_S, 20.0)
    chooser = Chooser()
    chooser.shifted = True
    found = reasons(chooser, (result(t, TORN, changed=True) for t in times))
    assert len(found) <= MOST_A_DAY * (1 + 2 / 24) + 4
    assert {reason for _, reason in found} == {UNSURE, CHANGED, SHIFTED}


def test_large_frames_are_fewer():
    limit_bytes = 100 << 20
    share = day_share(1 << 20, limit_bytes)
    chooser = Chooser()
    times = np.arange(0, 5 * DAY_S, 120.0)
    found = reasons(chooser, (result(t, TORN) for t in times), share)
    # One reason has a quarter.
    assert len(found) == pytest.approx(5 * 100 / DAYS / 4, rel=0.2)
    assert day_share(1, limit_bytes) == 1 / MOST_A_DAY


def test_of_a_file_ten_minutes_are_a_day():
    def kept_in(minutes, live):
        chooser = chooser_for(
            task=MULTICLASS, threshold=0.5, live=live, random_a_day=48, chance=random.Random(1)
        )
        times = np.arange(0, 60 * minutes, 0.25)
        return [reason for _, reason in reasons(chooser, (result(t, TORN) for t in times))]

    video, camera = kept_in(10, live=False), kept_in(10, live=True)
    assert video.count(RANDOM) == 48
    assert video.count(UNSURE) == pytest.approx(MOST_A_DAY / 4 * (1 + 2 / 24), abs=3)
    assert len(camera) < 15


def moments_at(interval_s, times_s, seed=0):
    moments = Moments(interval_s, random.Random(seed))
    return [time_s for time_s in times_s if moments.come(time_s)]


def test_one_random_frame_in_each_interval_of_a_steady_source():
    taken = moments_at(1800, np.arange(0, DAY_S, 0.5))
    assert np.array_equal([int(t // 1800) for t in taken], range(48))


def test_each_frame_has_the_same_chance_of_being_a_random_one():
    counts = np.zeros(51)
    for seed in range(4000):
        counts[moments_at(50, range(51), seed)[0]] += 1
    # A frame stands for the time since the one before it.
    expected = 4000 / 50
    assert counts[0] == 0
    assert counts[1:].min() > expected - 4.5 * math.sqrt(expected)
    assert counts[1:].max() < expected + 4.5 * math.sqrt(expected)


def test_moments_without_frames_are_nobodys():
    moments = Moments(100, random.Random(5))
    taken = [t for t in range(1000) if moments.come(t)]
    moments.stay_away()
    assert len(taken) == 10
    # A night: the frame after it is not the one for all that was missed.
    assert not moments.come(50_000)
    after = [t for t in range(50_001, 51_000) if moments.come(t)]
    assert 9 <= len(after) <= 10


def test_a_random_frame_is_one_whatever_the_answer_and_takes_nothing_from_the_others():
    chooser = Chooser(random_a_day=24, chance=random.Random(2))
    found = reasons(chooser, (result(t, TORN) for t in np.arange(0, DAY_S, 10.0)))
    taken = [t for t, reason in found if reason == RANDOM]
    assert len(taken) == 24
    assert [int(t // HOUR_S) for t in taken] == list(range(24))
    without = Chooser(random_a_day=0)
    others = reasons(without, (result(t, TORN) for t in np.arange(0, DAY_S, 10.0)))
    assert abs(len(others) - (len(found) - 24)) <= 2


def test_without_a_random_sample_there_is_none():
    chooser = Chooser(random_a_day=0)
    assert reasons(chooser, (result(t) for t in np.arange(0, DAY_S, 60.0))) == []


def kept(name, reason=UNSURE, *, size=10, days=0.0, teaches=0.5, sent=False):
    return Kept(name, size, 1e9 - days * DAY_S, reason, teaches, sent)


def going(entries, excess):
    return [entry.name for entry in first_to_go(entries, excess, 1e9)]


def test_what_teaches_least_goes_first_and_no_more_than_needed():
    entries = [kept("a", teaches=0.9), kept("b", teaches=0.1), kept("c", teaches=0.5)]
    assert going(entries, 0) == []
    assert going(entries, 1) == ["b"]
    assert going(entries, 11) == ["b", "c"]
    assert going(entries, 1000) == ["b", "c", "a"]


def test_a_week_of_age_halves_what_a_frame_teaches():
    entries = [kept("old", teaches=0.8, days=DAYS + 0.1), kept("new", teaches=0.4)]
    assert going(entries, 1) == ["old"]
    entries = [kept("old", teaches=0.8, days=DAYS - 0.1), kept("new", teaches=0.4)]
    assert going(entries, 1) == ["new"]


def test_what_is_older_than_years_still_goes_in_order():
    entries = [kept(str(n), days=20_000 + n) for n in range(5)]
    assert going(entries, 50) == ["4", "3", "2", "1", "0"]


def test_what_a_receiver_has_goes_before_the_rest():
    entries = [kept("safe", teaches=1.0, sent=True), kept("only-here", teaches=0.01)]
    assert going(entries, 1) == ["safe"]


def test_random_frames_keep_their_quarter_and_the_oldest_of_them_go():
    entries = [kept(f"r{n}", RANDOM, days=n, teaches=0.0) for n in range(10)]
    entries += [kept(f"u{n}", days=n) for n in range(10)]
    gone = going(entries, 160)
    left = {entry.name for entry in entries} - set(gone)
    assert left == {"r0", "u0", "u1", "u2"}
    assert RANDOM_SHARE == 0.25
    assert gone[:3] == ["r9", "r8", "r7"]


def test_random_frames_may_have_all_the_room_that_nobody_wants():
    entries = [kept(f"r{n}", RANDOM, days=n) for n in range(10)]
    assert going(entries, 21) == ["r9", "r8", "r7"]
