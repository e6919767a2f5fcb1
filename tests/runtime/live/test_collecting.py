"""Collecting: what is kept under which label, what is left out, and taking it back."""

import errno
import threading

import cv2
import numpy as np
import pytest
from showing import frame_of
from timing import wait_for

from pocketlens.errors import ConflictError, LabelsError, OutputError, UsageError
from pocketlens.project import create_project
from pocketlens.runtime import inbox
from pocketlens.runtime.inbox import read_info
from pocketlens.runtime.labelling import read_journal
from pocketlens.runtime.live.collecting import HOLD_S, Collector, FolderStore, ProjectStore
from pocketlens.runtime.photos import find_pictures

ME, OTHER = "me", "other"


@pytest.fixture
def collect(tmp_path, clock):
    """Make collectors: `collect(labels, ...)`; photos are below `tmp_path / "photos"`."""
    made = []

    def start(labels=("cat", "dog"), store=None, **settings):
        store = store or FolderStore(tmp_path / "photos")
        collector = Collector(store, labels, source="fake:", clock=clock, **settings)
        made.append(collector)
        return collector

    yield start
    for collector in made:
        collector.close()


def show(collector, clock, *numbers, seconds=0.2):
    """Let frames come, one each turn of the rate."""
    for number in numbers:
        clock.advance(seconds)
        collector.take(frame_of(number), 1_700_000_000 + clock.now_s())
    collector.settle()


def record(collector, clock, label, *numbers, who=ME):
    collector.hold(who, label)
    for number in numbers:
        show(collector, clock, number)
        collector.hold(who, label)
    collector.release(who)
    # As people do, not within a moment.
    clock.advance(1)


def photos(collector, label):
    return sorted(find_pictures(collector.store.photos / label))


def counts(collector):
    return {entry["label"]: entry["count"] for entry in collector.to_dict()["labels"]}


def test_frames_are_kept_only_while_a_label_is_held(collect, clock):
    collector = collect()
    show(collector, clock, 1, 2)
    record(collector, clock, "cat", 3, 4, 5)
    show(collector, clock, 6, 7)
    assert counts(collector) == {"cat": 3, "dog": 0}
    assert len(photos(collector, "cat")) == 3
    assert collector.to_dict()["recording"] is None


def test_a_photo_is_the_frame_as_it_came_with_what_is_known_of_it(collect, clock):
    collector = collect()
    record(collector, clock, "cat", 3)
    (path,) = photos(collector, "cat")
    frame_bgr = cv2.imread(str(path))
    assert frame_bgr.shape == frame_of(3).shape
    assert path.read_bytes() == inbox.encode_jpeg(frame_of(3))
    info = read_info(path)
    assert (info.source, info.size_wh, info.reason) == ("fake:", (160, 120), "collected")
    # A second before now, which `record` lets pass.
    assert info.at_s == pytest.approx(1_700_000_000 + clock.now_s() - 1, abs=0.001)
    assert int(info.fingerprint, 16) == inbox.fingerprint(frame_of(3))


@pytest.mark.parametrize(("rate", "count"), [(2.0, 5), (7.0, 15)])
def test_the_rate_is_the_most_a_second(collect, clock, rate, count):
    collector = collect(rate=rate)
    collector.hold(ME, "cat")
    for number in range(20):
        # 10 frames a second, which 7 do not divide.
        clock.advance(0.1)
        collector.take(frame_of(number), clock.wall_s())
        collector.hold(ME, "cat")
        collector.settle()
    assert counts(collector)["cat"] == count


def test_a_short_press_gets_one_frame(collect, clock):
    collector = collect()
    collector.hold(ME, "cat")
    collector.release(ME)
    show(collector, clock, 1, 2, 3)
    assert counts(collector)["cat"] == 1


def test_a_page_that_went_away_holds_nothing_for_long(collect, clock):
    collector = collect()
    collector.hold(ME, "cat")
    show(collector, clock, 1)
    clock.advance(HOLD_S)
    show(collector, clock, 2)
    assert counts(collector)["cat"] == 1
    # Nor does a press while the camera was away.
    collector.hold(ME, "cat")
    collector.release(ME)
    clock.advance(HOLD_S)
    show(collector, clock, 3)
    assert counts(collector)["cat"] == 1


def test_near_copies_of_a_label_s_photos_are_left_out(collect, clock):
    collector = collect()
    record(collector, clock, "cat", 1, 1, 1, 2, 1)
    # What looks the same may have another label: the object may be small.
    record(collector, clock, "dog", 1)
    state = collector.to_dict()["labels"]
    assert [(entry["count"], entry["copies"]) for entry in state] == [(2, 3), (1, 0)]


def test_near_copies_are_kept_where_that_is_asked_for(collect, clock):
    collector = collect(keep_copies=True)
    record(collector, clock, "cat", 1, 1, 1)
    entry, _ = collector.to_dict()["labels"]
    assert (entry["count"], entry["copies"], entry["left_out"]) == (3, 0, "")


def test_near_copies_are_known_after_a_restart(collect, clock):
    first = collect()
    record(first, clock, "cat", 1, 2)
    first.close()
    again = collect()
    wait_for(lambda: len(again.to_dict()["labels"][0]["photos"]) == 2)
    assert counts(again)["cat"] == 2
    record(again, clock, "cat", 1, 2, 3)
    assert counts(again)["cat"] == 3
    # What was there before is shown and not taken back.
    assert [photo["undo"] for photo in again.to_dict()["labels"][0]["photos"]] == [
        False,
        False,
        True,
    ]


def test_two_hold_one_label_and_each_frame_is_kept_once(collect, clock):
    collector = collect()
    collector.hold(ME, "cat")
    collector.hold(OTHER, "cat")
    show(collector, clock, 1, 2)
    collector.release(ME)
    show(collector, clock, 3)
    assert counts(collector)["cat"] == 3
    collector.release(OTHER)
    show(collector, clock, 4)
    assert counts(collector)["cat"] == 3


def test_a_frame_has_one_label_whoever_else_presses(collect, clock):
    collector = collect()
    collector.hold(ME, "cat")
    with pytest.raises(ConflictError, match="Another page records cat now"):
        collector.hold(OTHER, "dog")
    show(collector, clock, 1)
    clock.advance(HOLD_S)
    collector.hold(OTHER, "dog")
    show(collector, clock, 2)
    assert counts(collector) == {"cat": 1, "dog": 1}


def test_undo_takes_back_recordings_the_last_first_and_each_s_own(collect, clock):
    collector = collect()
    record(collector, clock, "cat", 1, 2)
    record(collector, clock, "cat", 3)
    record(collector, clock, "dog", 4, 5, who=OTHER)
    assert collector.to_dict(ME)["undo"] == {"label": "cat", "count": 1}
    assert collector.undo(ME) == ["cat"]
    assert collector.undo(ME) == ["cat", "cat"]
    assert counts(collector) == {"cat": 0, "dog": 2}
    assert photos(collector, "cat") == []
    assert list((collector.store.photos / "cat").iterdir()) == []
    with pytest.raises(UsageError, match="Expected a photo to take back"):
        collector.undo(ME)
    # What was taken back is no copy of anything any more.
    record(collector, clock, "cat", 1)
    assert counts(collector) == {"cat": 1, "dog": 2}


class Memory:
    """A store that needs no disk."""

    def __init__(self, photos):
        self.photos, self.kept = photos, []

    def add(self, jpeg, info, label):
        self.kept.append(info.at_s)
        return info.at_s

    def take_back(self, kept):
        self.kept.remove(kept)


def test_a_recording_of_any_length_is_taken_back_whole(collect, clock, tmp_path):
    store = Memory(tmp_path / "photos")
    collector = collect(store=store)
    record(collector, clock, "cat", *range(130))
    assert counts(collector)["cat"] == collector.to_dict(ME)["undo"]["count"] == 130
    assert len(store.kept) == len(collector.undo(ME)) == 130
    assert store.kept == []


def test_one_photo_is_taken_back_by_its_number(collect, clock):
    collector = collect()
    record(collector, clock, "cat", 1, 2, 3)
    numbers = [photo["number"] for photo in collector.to_dict()["labels"][0]["photos"]]
    before = photos(collector, "cat")
    assert collector.thumbnail(numbers[1])[:2] == b"\xff\xd8"
    collector.undo(OTHER, numbers[1])
    assert photos(collector, "cat") == [before[0], before[2]]
    assert collector.thumbnail(numbers[1]) is None
    with pytest.raises(UsageError):
        collector.undo(ME, numbers[1])


def test_what_somebody_moved_away_is_not_taken_back(collect, clock, tmp_path):
    collector = collect()
    record(collector, clock, "cat", 1)
    (path,) = photos(collector, "cat")
    path.rename(tmp_path / "mine.jpg")
    with pytest.raises(ConflictError, match="no longer there"):
        collector.undo(ME)
    assert (tmp_path / "mine.jpg").exists()
    assert counts(collector)["cat"] == 0


def test_a_project_has_a_line_for_each_and_deletes_nothing(collect, clock, tmp_path):
    project = create_project(tmp_path / "pets", ["cat", "dog"])
    collector = collect(("cat", "dog", "unknown"), ProjectStore(project, clock))
    record(collector, clock, "cat", 1, 2)
    collector.undo(ME)
    record(collector, clock, "cat", 3)
    actions = [(entry.action, entry.to_label) for entry in read_journal(project.journal)]
    assert actions == [("add", "cat"), ("add", "cat"), ("undo", ""), ("undo", ""), ("add", "cat")]
    assert len(photos(collector, "cat")) == 1
    assert len(list((project.root / ".deleted").glob("*.jpg"))) == 2


def test_labels_are_those_that_are_given_and_those_of_folders(collect, tmp_path, clock):
    folder = tmp_path / "photos"
    for name in ("dog", " bird ", ".hidden", "unknown"):
        (folder / name).mkdir(parents=True)
    (folder / "notes.txt").write_text("no label")
    collector = collect(("cat", "dog"))
    assert collector.labels == ("cat", "dog", "bird", "unknown")
    assert collector.add_label(" owl\n") == "owl"
    assert collector.add_label("cat") == "cat"
    # What is none of the others stays behind them.
    assert collector.labels == ("cat", "dog", "bird", "owl", "unknown")
    record(collector, clock, "bird", 1)
    assert len(list((folder / " bird ").glob("*.jpg"))) == 1
    assert not (folder / "bird").exists()


@pytest.mark.parametrize("name", ["", "  ", "../up", "a/b", ".hidden", "x" * 300, "CAT"])
def test_a_label_that_cannot_be_a_folder_is_refused(collect, name):
    collector = collect(("cat",))
    with pytest.raises(LabelsError, match=r"Expected (a label|labels) that .*Received: "):
        collector.add_label(name)
    assert collector.labels == ("cat",)


def test_a_label_that_is_none_is_not_held(collect):
    with pytest.raises(UsageError, match="Expected a label of this page"):
        collect().hold(ME, "owl")


class Full:
    """A store on a disk that is full for a while."""

    def __init__(self, store):
        self._store, self.photos = store, store.photos
        self.full = False

    def add(self, jpeg, info, label):
        if self.full:
            raise OutputError(errno.ENOSPC, "Cannot write photos: No space left on device.")
        return self._store.add(jpeg, info, label)

    def take_back(self, kept):
        self._store.take_back(kept)


def test_a_full_disk_ends_the_recording_and_loses_nothing(collect, clock, tmp_path):
    store = Full(FolderStore(tmp_path / "photos"))
    collector = collect(store=store)
    record(collector, clock, "cat", 1, 2)
    store.full = True
    collector.hold(ME, "cat")
    show(collector, clock, 3)
    state = collector.to_dict()
    assert "No space left" in state["problem"]
    assert state["recording"] is None
    show(collector, clock, 4)
    assert counts(collector)["cat"] == 2
    # Who tries again hears of it anew.
    collector.hold(ME, "cat")
    assert collector.to_dict()["problem"] == ""
    show(collector, clock, 4)
    assert "No space left" in collector.to_dict()["problem"]
    store.full = False
    record(collector, clock, "cat", 3)
    assert collector.to_dict()["problem"] == ""
    assert counts(collector)["cat"] == 3
    assert len(photos(collector, "cat")) == 3


def test_frames_for_which_the_disk_is_too_slow_are_counted(collect, clock, tmp_path):
    store = FolderStore(tmp_path / "photos")
    held, begun = threading.Event(), threading.Event()
    add = store.add

    def slow(*args):
        begun.set()
        held.wait()
        return add(*args)

    store.add = slow
    collector = collect(store=store)
    collector.hold(ME, "cat")
    for number in range(20):
        clock.advance(0.2)
        collector.take(frame_of(number), 1_700_000_000 + clock.now_s())
        collector.hold(ME, "cat")
        if number == 0:
            begun.wait()
    held.set()
    collector.settle()
    state = collector.to_dict()
    assert state["late"] > 0
    assert counts(collector)["cat"] + state["late"] == 20
    assert counts(collector)["cat"] < 12


def test_a_frame_that_is_kept_is_a_copy(collect, clock):
    collector = collect()
    frame_bgr = frame_of(1)
    collector.hold(ME, "cat")
    clock.advance(0.2)
    collector.take(frame_bgr, 1_700_000_000.0)
    frame_bgr[:] = 0
    collector.settle()
    (path,) = photos(collector, "cat")
    assert np.any(cv2.imread(str(path)) > 0)


def test_what_came_before_the_end_is_kept(collect, clock):
    collector = collect()
    collector.hold(ME, "cat")
    clock.advance(0.2)
    collector.take(frame_of(1), 1_700_000_000.0)
    collector.close()
    assert len(photos(collector, "cat")) == 1
    collector.close()
