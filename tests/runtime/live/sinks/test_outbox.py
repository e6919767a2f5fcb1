"""The room between classifying and sending."""

import threading

from timing import PATIENCE_S

from pocketlens.runtime.live.sinks.outbox import Attempts, Outbox


def test_entries_come_out_in_order_and_the_oldest_make_room():
    box = Outbox(3)
    for number in range(5):
        box.put(number)
    assert [box.take(0) for _ in range(4)] == [2, 3, 4, None]
    assert box.count_dropped() == 2
    assert box.count_dropped() == 0


def test_what_comes_back_is_first_again_but_takes_no_newer_one_away():
    box = Outbox(2)
    box.put(1)
    box.put(2)
    first = box.take(0)
    box.put_back(first)
    assert box.take(0) == first == 1
    box.put(3)
    box.put_back(1)
    assert [box.take(0), box.take(0)] == [2, 3]
    assert box.count_dropped() == 1


def in_thread(call):
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def test_closing_wakes_whoever_waits_and_leaves_the_rest_to_be_taken(clock):
    box, taken = Outbox(3, clock), []
    waiting = in_thread(lambda: taken.append(box.take()))
    box.close()
    waiting.join(PATIENCE_S)
    assert taken == [None]
    box.put(1)
    assert [box.take(), box.take()] == [1, None]
    # The clock stands still, so that a pause would never end.
    box.pause(60)


def test_a_pause_ends_when_its_time_is_over_or_when_the_box_is_closed(clock):
    box = Outbox(3, clock)
    pausing = in_thread(lambda: box.pause(5.0))
    assert clock.waiting() == 5.0
    clock.advance(4.999)
    box.put(1)
    assert pausing.is_alive()
    clock.advance(0.001)
    pausing.join(PATIENCE_S)
    assert not pausing.is_alive()
    pausing = in_thread(lambda: box.pause(5.0))
    clock.waiting()
    box.close()
    pausing.join(PATIENCE_S)
    assert not pausing.is_alive()


def test_who_takes_waits_as_long_as_it_says(clock):
    box, taken = Outbox(3, clock), []
    waiting = in_thread(lambda: taken.append(box.take(2.0)))
    assert clock.end_wait() == 2.0
    waiting.join(PATIENCE_S)
    waiting = in_thread(lambda: taken.append(box.take(2.0)))
    clock.waiting()
    box.put(1)
    waiting.join(PATIENCE_S)
    assert taken == [None, 1]


def test_pauses_double_up_to_five_seconds_and_begin_anew_after_a_success():
    attempts = Attempts("it")
    assert [attempts.failed("away") for _ in range(6)] == [0.5, 1, 2, 4, 5, 5]
    attempts.worked()
    assert attempts.failed("away") == 0.5


def test_the_log_has_a_line_a_change(caplog):
    caplog.set_level("INFO", "pocketlens")
    attempts = Attempts("it")
    attempts.worked()
    for reason in ("away", "away", "broken", "broken", "away"):
        attempts.failed(reason)
    attempts.worked(dropped=3)
    attempts.worked()
    assert [record.getMessage() for record in caplog.records] == [
        "it does not take what is sent: away. Trying again.",
        "it does not take what is sent: broken. Trying again.",
        "it does not take what is sent: away. Trying again.",
        "it takes what is sent again, 3 were lost.",
    ]
