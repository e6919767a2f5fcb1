"""The command and the function behind it, on real files."""

import json
import shutil
from pathlib import Path

import pytest
from few_runs import few_runs

from pocketlens.cache import cache_folder
from pocketlens.cli.main import run


@pytest.fixture(autouse=True)
def _few_runs(monkeypatch):
    """Time no longer than an interval needs."""
    few_runs(monkeypatch, 25)


def test_files(tiny_models, tiny_photos, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="a page needs the report extra")
    target = tmp_path / "out.json"
    files = [str(tiny_models[key]) for key in ("float32", "int8")]
    arguments = [*files, "--photos", str(tiny_photos), "--threads", "1", "--max-drop", "100"]
    report = ["--report", str(tmp_path / "report")]
    assert run(["recommend", *arguments, "--json", str(target), *report]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    payload = json.loads(target.read_text("utf-8"))
    for sentence in payload["sentences"]:
        assert sentence in printed
    times = {option["file"]: option["latency_ms"] for option in payload["options"]}
    # The smaller one may be taken at up to 1.05 times the time of the faster one.
    assert times[payload["take"]["file"]] <= 1.05 * min(times.values())
    assert payload["runner_up"]["file"] != payload["take"]["file"]
    assert payload["take"]["path"] in files
    assert payload["benchmark"]["photos"] == 90
    page = (tmp_path / "report" / "index.html").read_text("utf-8")
    assert json.loads((tmp_path / "report" / "recommend.json").read_text("utf-8")) == payload
    assert payload["sentences"][0] in page.replace("<wbr>", "")
    assert run(["report", str(target), "--out", str(tmp_path / "again")]) == 0
    # Where the files lie is looked up anew.
    assert (tmp_path / "again" / "index.html").read_text("utf-8") == page


def test_nothing_fits(tiny_models, tiny_photos, capsys):
    arguments = [str(tiny_models["int8"]), "--photos", str(tiny_photos), "--threads", "1"]
    limits = ["--max-latency", "0.0001", "--max-size", "0.0001"]
    assert run(["recommend", *arguments, *limits, "--json", "-"]) == 1
    captured = capsys.readouterr()
    payload = json.loads(captured.out)
    assert payload["take"] is None
    assert payload["nearest"]["misses"] == ["time", "size"]
    last = captured.err.strip().splitlines()[-1]
    assert last.startswith("Error: Expected a file within 0.0001 ms and 0.0001 MB. Received: none;")
    assert payload["sentences"] == [last.removeprefix("Error: ")]


def test_that_no_file_is_small_enough_is_said_before_measuring(
    tiny_models, tiny_photos, capsys, monkeypatch
):
    monkeypatch.setattr("pocketlens.benchmarks.benchmarking.benchmark", lambda *_, **__: 1 / 0)
    files = [str(tiny_models[name]) for name in ("float32", "int8")]
    assert run(["recommend", *files, "--photos", str(tiny_photos), "--max-size", "0.001"]) == 1
    name, size_mb = tiny_models["int8"].name, tiny_models["int8"].stat().st_size / 1e6
    assert f"or smaller; the smallest is {name} with {size_mb:.2f} MB." in capsys.readouterr().err


def test_a_run_is_converted_and_judged_by_its_held_back_photos(tiny_run, tmp_path, capsys):
    pytest.importorskip("tensorflow", reason="converting needs the train extra")
    assert run(["recommend", str(tiny_run), "--threads", "1", "--json", str(tmp_path / "o")]) == 0
    printed = capsys.readouterr().out
    payload = json.loads((tmp_path / "o").read_text("utf-8"))
    assert len(payload["options"]) == 5
    take = payload["take"]
    assert Path(take["path"]).is_file()
    assert cache_folder() in Path(take["path"]).parents
    assert f"pocketlens convert {tiny_run} --format {take['format']} --out models" in printed
    assert payload["benchmark"]["photos"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([], "MODEL", id="no models"),
        pytest.param(["{model}"], "Expected --photos PHOTOS", id="no photos"),
        pytest.param(["{other}"], "Expected a run with", id="a folder that is no run"),
        pytest.param(["{run}", "{model}"], "Name the run alone", id="a run and a file"),
        pytest.param(["{model}", "--photos", "{tmp}/none"], "nothing there", id="missing photos"),
        pytest.param(["{model}", "--photos", "{other}"], "Received: ants", id="other classes"),
        pytest.param(["{model}", "--max-latency", "-1"], "above 0 ms", id="negative time"),
        pytest.param(["{model}", "--max-size", "0"], "above 0 MB", id="no size"),
        pytest.param(["{model}", "--max-drop", "nan"], "0 to 100 points", id="no number"),
        pytest.param(["{model}", "--threads", "0"], "--threads '0'", id="no threads"),
        pytest.param(["{model}", "--backend", "onnx"], "ai-edge-litert", id="other backend"),
        pytest.param(["{model}", "--json", "{taken}"], "--overwrite", id="json exists"),
        pytest.param(["{model}", "--report", "{tmp}"], "not replaced", id="report's folder"),
    ],
)
def test_wrong_calls(elsewhere_model, tiny_run, tmp_path, capsys, monkeypatch, arguments, said):
    if {"--plot", "--report"} & set(arguments):
        pytest.importorskip("matplotlib", reason="pages and plots need the report extra")

    def measured(*_, **__):
        pytest.fail("measured before it complained")

    monkeypatch.setattr("pocketlens.benchmarks.benchmarking.time_in_processes", measured)
    taken = tmp_path / "taken.json"
    taken.write_text("precious")
    (tmp_path / "other" / "ants").mkdir(parents=True)
    shutil.copy(elsewhere_model, tmp_path / "other" / "ants" / "1.png")
    names = {
        "model": elsewhere_model,
        "run": tiny_run,
        "tmp": tmp_path,
        "other": tmp_path / "other",
        "taken": taken,
    }
    code = run(["recommend", *(argument.format(**names) for argument in arguments)])
    captured = capsys.readouterr()
    assert code == 2
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert taken.read_text() == "precious"
