"""What a live run tells: events as lines, frames as JSON, a panel in a terminal."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.live import Live

from pocketlens.errors import OutputError
from pocketlens.runtime.classifier import Category, Timing
from pocketlens.runtime.live.frames import (
    LIVE,
    STALE,
    CaptureCounts,
    Decision,
    FrameResult,
    SourceState,
)
from pocketlens.runtime.live.sinks.lines import EventLines, JsonLines, LineFile
from pocketlens.runtime.live.sinks.panel import Panel

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
        show(FRAME, result(10 * number, decision))
    assert capfd.readouterr().out.splitlines() == [
        "0.00 s  a  0.90",
        "2.00 s  a  0.90, b  0.60",
        "3.00 s  unknown",
        "5.00 s  nothing",
    ]


def test_a_line_of_json_has_the_decision_and_whether_it_is_an_event():
    lines = []
    show = JsonLines(lines.append)
    show(FRAME, result(0, Decision((A,), True)))
    show(FRAME, result(1, Decision((), False)))
    show.watch(SourceState(STALE, 2.0, "unplugged", 0))
    first, second, state = [json.loads(line) for line in lines]
    assert first["decision"] == [{"label": "a", "score": 0.9}]
    assert [first["event"], second["event"]] == [True, False]
    assert second["decision"] == []
    assert first["latency_ms"] == {
        "capture": 33.1,
        "resize": 0.2,
        "invoke": 3.3,
        "post": 0.1,
        "classify": 3.7,
    }
    assert state["state"] == STALE


class Terminal:
    """A terminal whose last picture can be read."""

    def __init__(self, width=80):
        self.console = Console(
            file=io.StringIO(), force_terminal=True, width=width, height=30, legacy_windows=False
        )
        self.updates = []
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self.panel = Panel(self, lambda: CaptureCounts(dropped=7, stalls=1))

    def update(self, renderable, *, refresh):
        assert refresh
        with self.console.capture() as captured:
            self.console.print(renderable)
        self.updates.append(captured.get())
        self.live.update(renderable, refresh=True)

    @property
    def lines(self):
        return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in self.updates[-1].splitlines()]


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when they are told to."""
    now = [1000.0]
    monkeypatch.setattr("pocketlens.runtime.live.sinks.panel.time.monotonic", lambda: now[0])
    return now


def test_the_panel_has_the_decision_bars_speed_counters_and_events(clock):
    terminal = Terminal()
    for number in range(61):
        clock[0] += 0.1
        terminal.panel(FRAME, result(number, Decision((A,), number == 20)))
    lines = terminal.lines
    assert lines[0].rstrip() == "a 90 %  for 4 s"
    bars = [line.split() for line in lines[1:3]]
    assert [(bar[0], bar[-2:]) for bar in bars] == [("a", ["90", "%"]), ("b", ["60", "%"])]
    text = "\n".join(lines)
    assert "10 fps" in text
    assert "capture 33.1  resize 0.2  invoke 3.3  post 0.1  classify 3.7  ms" in text
    assert "frames, 7 dropped, 1 stalls" in text
    assert lines[-1].split() == ["2.0", "s", "a"]
    # Calm: four pictures a second, however many frames there are.
    assert 18 <= len(terminal.updates) <= 26


def test_the_panel_of_a_stale_source_has_the_reason_and_no_label(clock):
    terminal = Terminal()
    terminal.panel(FRAME, result(0, Decision((A,), True)))
    terminal.panel.watch(SourceState(STALE, 2.0, "no frame for 2.0 s", 0))
    assert terminal.lines[0].rstrip() == "stale: no frame for 2.0 s"
    assert "%" not in "".join(terminal.lines)
    terminal.panel.watch(SourceState(LIVE, 3.0, "", 1))
    assert terminal.lines[0].rstrip() == "stale: no frame for 2.0 s"
    terminal.panel(FRAME, result(40, Decision((), True)))
    assert terminal.lines[0].startswith("unknown")
    assert [line.split()[2] for line in terminal.lines[-3:]] == ["unknown", "stale", "a"]


@pytest.mark.parametrize("width", [20, 40, 200])
def test_the_panel_has_as_many_lines_at_any_width(clock, width):
    terminal = Terminal(width)
    label = Category("[red]a very long label[/red] " * 10, 0.9, 0)
    for number in range(20):
        clock[0] += 0.3
        terminal.panel(FRAME, result(number, Decision((label,), True), (label, B)))
    assert len(terminal.lines) == 1 + 2 + 2 + 5
    assert all(len(line) <= width for line in terminal.lines)
    assert "[red]" in terminal.lines[0]


def test_a_file_of_lines_survives_a_full_disk(tmp_path, caplog):
    resource = pytest.importorskip("resource", reason="Windows has no limits on file sizes")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "new" / "o.jsonl"
    with LineFile(path) as file:
        file.write("first\n")
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        try:
            for _ in range(3):
                file.write("does not fit\n")
            file.write("two\n")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        file.write("again\n")
        assert file.lost == 3
    assert path.read_text() == "first\ntwo\nagain\n"
    told = [entry.message for entry in caplog.records]
    assert len(told) == 2
    assert told[0].startswith(f"Lines for {path} are lost: ")
    assert told[1] == f"{path} is written again; 3 lines were lost."


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_device_loses_lines_and_raises_nothing():
    with LineFile(Path("/dev/full")) as file:
        file.write("line\n")
        file.write("line\n")
        assert file.lost == 2


def test_a_place_where_nothing_can_be_is_an_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="Expected to be able to write"):
        LineFile(tmp_path / "file" / "o.jsonl")
