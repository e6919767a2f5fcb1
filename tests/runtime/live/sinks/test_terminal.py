"""What people see of a run: events as lines, a panel on a terminal."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from rich.live import Live
from timing import FakeClock

from pocketlens.runtime.classifier import Category, Timing
from pocketlens.runtime.live.frames import (
    LIVE,
    STALE,
    CaptureCounts,
    Decision,
    FrameResult,
    RunInfo,
    ShiftState,
    SourceState,
)
from pocketlens.runtime.live.sinks.panel import Panel
from pocketlens.runtime.live.sinks.terminal import EventLines

FRAME = np.zeros((4, 4, 3), np.uint8)
A, B = Category("a", 0.9, 0), Category("b", 0.6, 1)


def result(number, decision, categories=(A, B)):
    timing = Timing(0.2, 3.3, 0.1)
    return FrameResult(number, number / 10, categories, (A,), decision, 33.1, 3.7, timing)


def test_events_are_lines(capfd):
    show = EventLines()
    decisions = [
        Decision((A,), True),
        Decision((A,), False),
        Decision((A, B), True),
        Decision((), True),
        Decision((), False),
        Decision((), True, "nothing"),
    ]
    for number, decision in enumerate(decisions):
        show.result(FRAME, result(10 * number, decision))
    assert capfd.readouterr().out.splitlines() == [
        "0.00 s  a  0.90",
        "2.00 s  a  0.90, b  0.60",
        "3.00 s  unknown",
        "5.00 s  nothing",
    ]


def test_the_other_labels_of_a_set_follow_the_decided_one(capfd):
    """Though the decision, which may be smoothed or confirmed, is not the frame's best label."""
    show = EventLines()
    for decision in (Decision((A,), True), Decision((B,), True), Decision((), True)):
        show.result(FRAME, replace(result(0, decision), label_set=("a", "b")))
    show.result(FRAME, replace(result(0, Decision((B,), True)), label_set=("a",)))
    show.result(FRAME, replace(result(0, Decision((A,), True)), label_set=("a",)))
    assert capfd.readouterr().out.splitlines() == [
        "0.00 s  a  0.90 or b  0.60",
        "0.00 s  b  0.60 or a  0.90",
        "0.00 s  unknown",
        "0.00 s  b  0.60 or a  0.90",
        "0.00 s  a  0.90",
    ]


class Terminal:
    """A terminal whose last picture can be read."""

    def __init__(self, width=80):
        self.console = Console(
            file=io.StringIO(), force_terminal=True, width=width, height=30, legacy_windows=False
        )
        self.updates = []
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self.clock = FakeClock()
        self.panel = Panel(self, self.clock)
        self.panel.opened(RunInfo(counts=lambda: CaptureCounts(dropped=7, stalls=1)))

    def start(self):
        pass

    def update(self, renderable, *, refresh):
        assert refresh
        with self.console.capture() as captured:
            self.console.print(renderable)
        self.updates.append(captured.get())
        self.live.update(renderable, refresh=True)

    @property
    def lines(self):
        return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in self.updates[-1].splitlines()]


def test_the_panel_has_the_decision_bars_speed_counters_and_events():
    terminal = Terminal()
    for number in range(61):
        terminal.clock.advance(0.125)
        terminal.panel.result(FRAME, result(number, Decision((A,), number == 20)))
    lines = terminal.lines
    assert lines[0].rstrip() == "a 90 %  for 4 s"
    bars = [line.split() for line in lines[1:3]]
    assert [(bar[0], bar[-2:]) for bar in bars] == [("a", ["90", "%"]), ("b", ["60", "%"])]
    text = "\n".join(lines)
    assert "8 fps" in text
    assert "capture 33.1  resize 0.2  invoke 3.3  post 0.1  classify 3.7  ms" in text
    assert "frames, 7 dropped, 1 stall" in text
    assert lines[-1].split() == ["2.0", "s", "a"]
    # Calm: four pictures a second, however many frames there are.
    assert len(terminal.updates) == 31


def test_the_panel_has_the_labels_of_a_set():
    terminal = Terminal()
    terminal.panel.result(FRAME, replace(result(0, Decision((A,), True)), label_set=("a", "b")))
    assert terminal.lines[0].rstrip() == "a 90 %  or b 60 %  for 0 s"
    assert terminal.lines[-1].split() == ["0.0", "s", "a"]


def test_the_panel_of_a_stale_source_has_the_reason_and_no_label():
    terminal = Terminal()
    terminal.panel.result(FRAME, result(0, Decision((A,), True)))
    terminal.panel.state(SourceState(STALE, 2.0, "no frame for 2.0 s", 0))
    assert terminal.lines[0].rstrip() == "stale: no frame for 2.0 s"
    assert "%" not in "".join(terminal.lines)
    terminal.panel.state(SourceState(LIVE, 3.0, "", 1))
    assert terminal.lines[0].rstrip() == "stale: no frame for 2.0 s"
    terminal.panel.result(FRAME, result(40, Decision((), True)))
    assert terminal.lines[0].startswith("unknown")
    assert [line.split()[2] for line in terminal.lines[-3:]] == ["unknown", "stale", "a"]


def test_the_panel_has_a_shift_while_there_is_one():
    terminal = Terminal()
    terminal.panel.result(FRAME, result(0, Decision((A,), True)))
    before = len(terminal.lines)
    shift = ShiftState("blurred", 61.0, 50)
    terminal.panel.shift(shift)
    terminal.clock.advance(1.0)
    terminal.panel.result(FRAME, result(1, Decision((A,), False)))
    assert shift.text in [line.rstrip() for line in terminal.lines]
    # Where it holds, and among the events.
    assert len(terminal.lines) == before + 2
    terminal.panel.shift(ShiftState(None, 90.0, 50))
    terminal.clock.advance(1.0)
    terminal.panel.result(FRAME, result(2, Decision((A,), False)))
    assert shift.text not in [line.rstrip() for line in terminal.lines]
    assert "90.0 s  The pictures are like the photos" in terminal.lines[-3]


@pytest.mark.parametrize("width", [20, 40, 200])
def test_the_panel_has_as_many_lines_at_any_width(width):
    terminal = Terminal(width)
    label = Category("[red]a very long label[/red] " * 10, 0.9, 0)
    for number in range(20):
        terminal.clock.advance(0.3)
        terminal.panel.result(FRAME, result(number, Decision((label,), True), (label, B)))
    assert len(terminal.lines) == 1 + 2 + 2 + 5
    assert all(len(line) <= width for line in terminal.lines)
    assert "[red]" in terminal.lines[0]


def test_no_label_steers_a_terminal(capfd):
    evil = Category("cat\x1b]0;mine\x07\n\x9b31m\u202e", 0.9, 0)
    EventLines().result(FRAME, result(0, Decision((evil,), True), (evil,)))
    terminal = Terminal()
    terminal.panel.result(FRAME, result(0, Decision((evil,), True), (evil,)))
    terminal.panel.state(SourceState(STALE, 1.0, "404 \x1b]0;mine\x07", 0))
    for text in (capfd.readouterr().out, *terminal.updates):
        assert "]0;mine" in text
        assert not set("\x07\x9b\u202e") & set(text)
        assert "\x1b]" not in text
