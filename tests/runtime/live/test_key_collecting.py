"""Recording by keys: what each does, and what is shown."""

import threading

import pytest
from rich.console import Console
from showing import frame_of

from pocketlens.errors import UsageError
from pocketlens.runtime.live.collecting import Collector, FolderStore
from pocketlens.runtime.live.frames import LIVE, STALE
from pocketlens.runtime.live.key_collecting import collect_by_keys
from pocketlens.runtime.photos import find_pictures


class Typist:
    """Presses keys; between two of them frames come. "-" is no key."""

    def __init__(self, text, collector, clock):
        self.text, self.collector, self.clock = list(text), collector, clock
        self.frames = 0
        self.states = {}

    def read(self, timeout_s):
        if not self.text:
            raise EOFError
        key = self.text.pop(0)
        for _ in range(2):
            self.clock.advance(0.2)
            self.collector.take(frame_of(self.frames), 1_700_000_000 + self.clock.now_s())
            self.frames += 1
        self.collector.settle()
        return "" if key == "-" else key


@pytest.fixture
def play(tmp_path, clock):
    """Press keys: `play("1--1")` returns the photos of each label, and what was shown."""
    collectors = []

    def start(text, labels=("cat", "dog"), state=lambda: (LIVE, ""), stop=None):
        collector = Collector(FolderStore(tmp_path / "photos"), labels, source="fake:", clock=clock)
        collectors.append(collector)
        console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
        panels = []
        collect_by_keys(
            collector,
            state,
            Typist(text, collector, clock),
            panels.append,
            stop or threading.Event(),
        )
        for panel in panels:
            console.print(panel)
        collector.settle()
        counts = {
            label: len(list(find_pictures(tmp_path / "photos" / label)))
            for label in labels
            if (tmp_path / "photos" / label).exists()
        }
        console.file.close()
        return counts, console.export_text()

    yield start
    for collector in collectors:
        collector.close()


def test_a_digit_records_until_it_is_pressed_again(play):
    # Frames come before each key is read: those before the first belong to nobody.
    counts, shown = play("1--1--")
    assert counts == {"cat": 6}
    assert "● Recording cat" in shown


def test_another_digit_goes_over_and_space_ends(play):
    counts, _ = play("12- --")
    assert counts == {"cat": 2, "dog": 4}


def test_u_takes_the_last_recording_back(play):
    counts, shown = play("1-12-u-")
    assert counts["dog"] == 0
    assert counts["cat"] == 4
    assert "Took back 4 of dog." in shown


def test_u_without_a_recording_says_so(play):
    _, shown = play("u-")
    assert "Expected a photo to take back" in shown


def test_q_ends_it(play):
    assert play("1-q--")[0] == {"cat": 4}


def test_other_keys_do_nothing(play):
    counts, _ = play("9x3\x1b[A-")
    assert counts == {}


def test_a_lost_camera_is_shown_and_ends_the_recording(play):
    states = iter([(LIVE, ""), (LIVE, ""), (STALE, "the cable is loose")])
    counts, shown = play("1---", state=lambda: next(states, (STALE, "the cable is loose")))
    assert "No fresh picture: the cable is loose" in shown
    assert "The recording ended" in shown
    assert counts.get("cat", 0) <= 4


def test_it_ends_when_it_is_told_to(play):
    stop = threading.Event()
    stop.set()
    assert play("1--", stop=stop)[0] == {}


@pytest.mark.parametrize("labels", [(), tuple(f"label{n}" for n in range(11))])
def test_labels_without_a_digit_are_one_sentence(play, labels):
    with pytest.raises(UsageError, match=r"Expected 1 to 10 labels for --terminal"):
        play("q", labels=labels)
