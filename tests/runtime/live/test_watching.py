"""Watching a source: its newest frame, its state, a file's own pace and its next round."""

import pytest
from showing import Showing, frame_of
from timing import wait_for

from pocketlens.errors import SourceError
from pocketlens.runtime.live.frames import LIVE, STALE, Captured
from pocketlens.runtime.live.sources import SourceRequest
from pocketlens.runtime.live.watching import Watcher


@pytest.fixture
def watch(clock):
    made = []

    def start(showing, address="fake:", **wishes):
        taken = []
        watcher = Watcher(
            SourceRequest(address, **wishes),
            lambda frame_bgr, at_s: taken.append((frame_bgr, at_s)),
            open_source=showing.open,
            clock=clock,
        )
        made.append(watcher)
        return watcher, taken

    yield start
    for watcher in made:
        watcher.close()


def test_frames_are_taken_and_wishes_get_a_copy(watch):
    showing = Showing()
    watcher, taken = watch(showing)
    assert watcher.state() == ("starting", "")
    wished = []
    watcher.wish(lambda frame_bgr, number: wished.append((frame_bgr, number)))
    showing.show(frame_of(1))
    showing.show(frame_of(2))
    wait_for(lambda: len(taken) == 2)
    assert watcher.state() == (LIVE, "")
    ((copy, number),) = wished
    assert number == 0
    assert copy is not taken[0][0]
    assert (copy == taken[0][0]).all()
    watcher.close()
    assert showing.closed == 1


def test_a_camera_that_falls_silent_is_stale_and_comes_back(watch):
    showing = Showing()
    watcher, _ = watch(showing)
    showing.show(frame_of(1))
    showing.fall_silent()
    wait_for(lambda: watcher.state() == (STALE, "the cable is loose"))
    showing.come_back()
    wait_for(lambda: watcher.state() == (LIVE, ""))


@pytest.mark.parametrize("error", [SourceError("It is gone."), RuntimeError("a driver's")])
def test_a_camera_that_is_lost_is_stale_with_the_reason(watch, error):
    showing = Showing()
    watcher, _ = watch(showing)
    showing.came.put(error)
    wait_for(lambda: watcher.state()[0] == STALE)
    assert str(error) in watcher.state()[1]


def test_what_does_not_open_is_raised_at_once(clock):
    def refuse(request, stop):
        raise SourceError("Expected a camera. Received: none.")

    with pytest.raises(SourceError, match="Expected a camera"):
        Watcher(SourceRequest("0"), lambda *_: None, open_source=refuse, clock=clock)


def test_a_video_plays_at_its_pace_and_begins_again(watch, clock):
    showing = Showing(live=False)
    begun_s = clock.now_s()
    _, taken = watch(showing, "video.mp4")
    for turn in range(2):
        for number in range(3):
            showing.came.put(Captured(number, number * 0.5, 1.0, frame_of(number)))
        showing.end()
        wait_for(lambda turn=turn: showing.opened == turn + 2)
    # Who sleeps by this clock moves it on: a second for each of the rounds.
    assert [at_s - begun_s for _, at_s in taken] == pytest.approx([0, 0.5, 1, 1, 1.5, 2])


@pytest.mark.parametrize(("fps", "between_s"), [(None, 1.0), (4.0, 0.25)])
def test_pictures_stand_for_a_second_or_as_is_said(watch, clock, fps, between_s):
    showing = Showing(live=False)
    _, taken = watch(showing, "photos/", fps=fps)
    for number in range(3):
        time_s = number / (fps or 25)
        showing.came.put(Captured(number, time_s, 1.0, frame_of(number), f"{number}.jpg"))
    wait_for(lambda: len(taken) == 3)
    times = [at_s for _, at_s in taken]
    assert times[2] - times[0] == pytest.approx(2 * between_s)


def test_a_file_without_a_readable_picture_is_not_opened_for_ever(watch):
    showing = Showing(live=False)
    watcher, _ = watch(showing, "photos/")
    showing.end()
    wait_for(lambda: watcher.state() == (STALE, "it has no readable picture"))
    assert showing.opened == 1
