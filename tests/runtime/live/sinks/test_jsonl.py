"""Frames as lines of JSON: each whole, whatever the disk does."""

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pocketlens.errors import OutputError
from pocketlens.runtime.classifier import Category, Timing
from pocketlens.runtime.live.frames import (
    STALE,
    Decision,
    FrameResult,
    RunInfo,
    ShiftState,
    SourceState,
)
from pocketlens.runtime.live.sinks.jsonl import JsonLines, LineFile

FRAME = np.zeros((4, 4, 3), np.uint8)
A, B = Category("a", 0.9, 0), Category("b", 0.6, 1)


def result(number, decision, categories=(A, B)):
    timing = Timing(0.2, 3.3, 0.1)
    return FrameResult(number, number / 10, categories, (A,), decision, 33.1, 3.7, timing)


def test_a_line_of_json_has_the_decision_and_whether_it_is_an_event(capsys):
    show = JsonLines("-")
    show.opened(RunInfo())
    show.result(FRAME, result(0, Decision((A,), True)))
    show.result(FRAME, result(1, Decision((), False)))
    show.state(SourceState(STALE, 2.0, "unplugged", 0))
    show.shift(ShiftState("darker", 3.0, 20))
    show.shift(ShiftState(None, 9.0, 50))
    show.closed()
    assert show.counts() == {}
    first, second, state, begins, ends = map(json.loads, capsys.readouterr().out.splitlines())
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
    assert [begins["shift"], ends["shift"]] == ["darker", None]
    assert begins["text"].startswith("The pictures are darker")
    assert (begins["samples"], begins["source"], begins["device"]) == (20, "", "")


def test_a_file_of_lines_survives_a_full_disk(tmp_path, caplog):
    resource = pytest.importorskip("resource", reason="Windows has no limits on file sizes")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "new" / "o.jsonl"
    with closing(LineFile(path)) as file:
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
    assert told[1] == f"{path} is written again; 3 lines lost."


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_device_loses_lines_and_raises_nothing():
    with closing(LineFile(Path("/dev/full"))) as file:
        file.write("line\n")
        file.write("line\n")
        assert file.lost == 2


def test_a_place_where_nothing_can_be_is_an_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="Cannot write "):
        LineFile(tmp_path / "file" / "o.jsonl")
