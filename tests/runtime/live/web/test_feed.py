"""What the page is told: the newest answer, none when it is old, the last events."""

import threading

import numpy as np
import pytest

from pocketlens.runtime.classifier import Category
from pocketlens.runtime.live.frames import (
    LIVE,
    STALE,
    Decision,
    FrameResult,
    ShiftState,
    SourceState,
)
from pocketlens.runtime.live.web.feed import Feed

FRAME = np.zeros((4, 4, 3), np.uint8)


def make(**options):
    return Feed(model="m.tflite", source="camera", **options)


def result(number, label="a", changed=False):
    best = (Category(label, 0.75, 0),)
    return FrameResult(number, float(number), best, best, Decision(best, changed), 4.0, 2.0)


def stale(reason="the cable is loose"):
    return SourceState(STALE, 1.0, reason, 0)


def test_before_the_first_frame_nothing_is_known():
    entry = make().to_dict()
    assert (entry["state"], entry["text"], entry["categories"]) == ("starting", None, [])


def test_the_newest_answer_is_shown():
    feed = make()
    for number in range(3):
        feed.put(FRAME, result(number, "abc"[number]))
    entry = feed.to_dict()
    assert (entry["state"], entry["frame"], entry["text"]) == ("live", 2, "c")
    assert entry["decision"] == entry["categories"] == [{"label": "c", "score": 0.75}]
    assert entry["latency_ms"]["classify"] == 2.0
    assert entry["frames"] == 3


def test_a_shift_is_shown_until_it_ends_and_noted():
    assert "shift" not in make().to_dict()
    feed = make(watches_shift=True)
    feed.put(FRAME, result(0))
    assert feed.to_dict()["shift"] is None
    shift = ShiftState("darker", 60.0, 50)
    feed.note_shift(shift)
    assert feed.to_dict()["shift"] == shift.to_dict()
    feed.note_shift(ShiftState(None, 120.0, 50))
    assert feed.to_dict()["shift"] is None
    assert [event["shift"] for event in feed.events()] == ["darker", None]
    assert feed.events()[0]["text"] == shift.text


def test_the_labels_of_a_set_are_shown_and_events_name_the_decided_one():
    feed = make()
    feed.put(FRAME, result(0))
    assert "label_set" not in feed.to_dict()
    best = (Category("a", 0.5, 0), Category("b", 0.25, 1), Category("c", 0.25, 2))
    decision = Decision(best[:1], True)
    shown = FrameResult(1, 1.0, best, best[:1], decision, 4.0, 2.0, label_set=("a", "b"))
    feed.put(FRAME, shown)
    entry = feed.to_dict()
    assert (entry["text"], entry["label_set"]) == ("a or b", ["a", "b"])
    assert entry["decision"] == [{"label": "a", "score": 0.5}]
    assert feed.events()[-1]["text"] == "a"


def test_a_stale_source_has_a_reason_and_no_label():
    feed = make()
    feed.put(FRAME, result(0))
    feed.watch(stale())
    entry = feed.to_dict()
    assert (entry["state"], entry["reason"]) == ("stale", "the cable is loose")
    assert (entry["text"], entry["categories"], entry["decision"]) == (None, [], [])
    feed.watch(SourceState(LIVE, 2.0, "", 1))
    # The source is back, but what was said before is old.
    assert (feed.to_dict()["state"], feed.to_dict()["text"]) == ("live", None)
    feed.put(FRAME, result(1, "b"))
    assert feed.to_dict()["text"] == "b"


def test_an_answer_does_not_stay_when_the_classifier_hangs(clock):
    feed = make(clock=clock)
    feed.put(FRAME, result(0))
    clock.advance(5)
    assert feed.state() == ("live", "")
    clock.advance(0.001)
    assert feed.state() == ("stale", "no answer for 5 s")
    assert feed.to_dict()["text"] is None


def test_only_changes_are_events_and_the_last_are_kept():
    feed = make()
    for number in range(200):
        feed.put(FRAME, result(number, str(number), changed=number % 2 == 0))
    events = feed.events()
    assert [event["frame"] for event in events] == list(range(100, 200, 2))
    assert events[-1]["text"] == "198"
    assert len({event["id"] for event in events}) == 50
    feed.watch(stale())
    assert feed.events()[-1]["state"] == "stale"
    assert len(feed.events()) == 50


def test_events_after_one_that_is_known():
    feed = make()
    for number in range(5):
        feed.put(FRAME, result(number, changed=True))
    ids = [event["id"] for event in feed.events()]
    assert [event["frame"] for event in feed.events(ids[2])] == [3, 4]
    assert feed.events(ids[-1]) == []
    # Of another run, or too long ago: all of them.
    assert len(feed.events("1234-2")) == 5


def test_a_wish_is_one_copy_of_one_frame():
    feed, given = make(), []
    feed.put(FRAME, result(0))
    feed.wish(lambda frame_bgr, number: given.append((frame_bgr, number)))
    frame_bgr = FRAME.copy()
    feed.put(frame_bgr, result(1))
    frame_bgr[:] = 255
    feed.put(frame_bgr, result(2))
    assert [number for _, number in given] == [1]
    assert not given[0][0].any()


def test_the_first_frame_is_there_when_the_state_says_live():
    feed, seen = make(), []

    class Watched(Feed):
        """Looks at what others see at each attribute that `put` sets."""

        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if name in ("latest", "frames") and hasattr(self, "_wishes"):
                seen.append(self.to_dict())

    feed.__class__ = Watched
    feed.put(FRAME, result(0, "a"))
    assert [entry["state"] for entry in seen] == ["live", "live"]
    assert [entry["frame"] for entry in seen] == [0, 0]


def test_reading_while_results_come_never_fails():
    feed, stop, finished = make(), threading.Event(), []

    def read():
        while not stop.is_set():
            entry = feed.to_dict()
            feed.events()
            if entry["state"] == "live":
                assert entry["text"] == str(entry["frame"])
        finished.append(True)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(3000):
        feed.put(FRAME, result(number, str(number), changed=True))
    stop.set()
    for reader in readers:
        reader.join()
    assert len(finished) == 3


@pytest.mark.parametrize("fps", [0.2, 2.0])
def test_a_slow_camera_is_not_taken_for_a_hanging_classifier(clock, fps):
    feed = make(clock=clock)
    for number in range(4):
        feed.put(FRAME, result(number))
        clock.advance(1 / fps)
    assert feed.state()[0] == "live"
    assert feed.to_dict()["fps"] == pytest.approx(fps)
    silence_s = max(5, 5 / fps)
    clock.advance(silence_s - 1 / fps)
    assert feed.state()[0] == "live"
    clock.advance(0.001)
    assert feed.state() == ("stale", f"no answer for {silence_s:.0f} s")
