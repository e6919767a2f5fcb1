"""The table of sinks: what is asked for is made, in one order, and a sink is one line in it."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pocketlens.errors import UsageError
from pocketlens.runtime.live import sinks
from pocketlens.runtime.live.frames import Sink
from pocketlens.runtime.live.sinks import SINKS, SinkRequest, make_sinks

# What several sinks have in common, or what is a part of one.
SHARED = {"__init__", "hooks", "keep_folder", "keep_push", "outbox", "overlay", "window_child"}


@pytest.fixture(autouse=True)
def _no_service(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)


def names(request):
    modules = [type(sink).__module__ for sink in make_sinks(request)]
    return [module.removeprefix("pocketlens.runtime.live.") for module in modules]


def test_each_sink_in_the_table_has_its_module_and_each_module_a_line():
    folder = Path(sinks.__file__).parent
    modules = {f"sinks.{path.stem}" for path in folder.glob("*.py") if path.stem not in SHARED}
    assert modules | {"web"} == set(SINKS)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, ["sinks.terminal"], id="nothing"),
        pytest.param({"quiet": True}, [], id="json-on-standard-output"),
        pytest.param({"jsonl": "-"}, ["sinks.jsonl"], id="jsonl-on-standard-output"),
        pytest.param({"jsonl": "o.jsonl"}, ["sinks.jsonl", "sinks.terminal"], id="jsonl"),
        pytest.param({"display": True, "quiet": True}, ["sinks.window"], id="window"),
    ],
)
def test_what_is_asked_for_is_made(options, expected):
    assert names(SinkRequest(**options)) == expected


def test_all_of_them_in_the_order_of_the_table(monkeypatch, tmp_path):
    for extra in ("uvicorn", "paho"):
        pytest.importorskip(extra, reason="the web and mqtt extras are not installed")
    monkeypatch.setenv("NOTIFY_SOCKET", "@nobody")
    request = SinkRequest(
        jsonl="o.jsonl",
        record=str(tmp_path / "r.mp4"),
        record_events=str(tmp_path / "seen"),
        keep=str(tmp_path / "keep"),
        display=True,
        web="0",
        mqtt="mqtt://broker/barn",
        webhook="http://host/",
    )
    expected = [name for name in SINKS if name != "sinks.panel"]
    assert names(request) == expected
    # Nothing is written or opened before the run.
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_wish_is_refused_before_anything_is_opened():
    with pytest.raises(UsageError, match="Expected --webhook"):
        make_sinks(SinkRequest(webhook="ftp://host/"))


def test_secrets_are_not_shown():
    request = SinkRequest(
        web_token="hunter2!", mqtt="mqtt://me:hunter2@x", webhook="http://hunter2"
    )
    assert "hunter2" not in repr(request)


def test_a_new_sink_is_a_module_and_a_line(monkeypatch):
    class Bell(Sink):
        pass

    module = SimpleNamespace(make_sink=lambda request: Bell())
    monkeypatch.setitem(sys.modules, "pocketlens.runtime.live.sinks.bell", module)
    monkeypatch.setitem(SINKS, "sinks.bell", lambda request: request.display)
    assert [type(sink) for sink in make_sinks(SinkRequest(display=True))][-1] is Bell
    assert not [sink for sink in make_sinks(SinkRequest()) if isinstance(sink, Bell)]
