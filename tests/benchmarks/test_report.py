"""The tables and the JSON."""

import dataclasses
import io
import json

import pytest

from pocketlens.benchmarks.payload import to_payload
from pocketlens.benchmarks.report import (
    drift_sentences,
    files_table,
    latency_table,
    print_report,
)
from pocketlens.benchmarks.stages import Stage
from pocketlens.benchmarks.sustained import Moment, Sustained

FILES = [("float32", 14, 904, {1: 7.0, 2: 4.0}), ("int8", 4, 900, {1: 3.3, 2: 2.0})]


def _headers(table):
    return [" ".join(str(column.header).split()) for column in table.columns]


def _cells(table):
    return [list(column.cells) for column in table.columns]


def test_columns(made_up):
    result = made_up(*FILES)
    assert _headers(files_table(result)) == [
        *("File", "size MB", "load ms", "first ms", "RAM +MB", "peak +MB", "peak MB", "partitions")
    ]
    assert _headers(latency_table(result)) == [
        *("File", "threads", "invoke ms", "p95", "ratio", "classify ms", "p95", "ratio", "runs")
    ]


def test_rows(made_up):
    result = made_up(*FILES)
    table = dict(zip(_headers(files_table(result)), _cells(files_table(result)), strict=True))
    assert table["size MB"] == ["14.00", "4.00"]
    assert table["RAM +MB"] == ["9.0", "9.0"]
    rows = _cells(latency_table(result))
    assert rows[1] == ["1", "2", "1", "2"]
    assert rows[5] == ["7.00", "4.00", "3.30", "2.00"]
    assert rows[7] == ["1.00", "1.00", "0.47", "0.50"]


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(None, id="short"),
        pytest.param(["a" * 130 + ".tflite", "[bold]x[/] :smile:.tflite"], id="long, markup"),
    ],
)
def test_printed_piped(made_up, names):
    stream = io.StringIO()
    print_report(made_up(*FILES, names=names), stream)
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text
    assert "Test CPU, 4 cores, AVX2 with FMA, 45 → 61 °C, ai-edge-litert 2.0" in text
    assert "Use " in text.split("\n\n")[-1]
    if names:
        assert "[bold]x[/] :smile:" in text.replace("\n", "")


def test_reference_is_said_where_it_is_not_float32(made_up):
    stream = io.StringIO()
    print_report(made_up(("int8", 4, 900, {1: 3.0}), ("dynamic", 4, 900, {1: 4.0})), stream)
    assert "int80.tflite, the first: no card says float32" in " ".join(stream.getvalue().split())


def test_payload(made_up):
    payload = json.loads(json.dumps(to_payload(made_up(*FILES)), allow_nan=False))
    assert payload["schema_version"] == 6
    assert set(payload) == {
        *("schema_version", "machine", "settings", "reference", "photos", "skipped_photos"),
        *("rule", "files", "verdict", "task", "left_out", "warnings", "seen_photos", "sustained"),
    }
    assert {"cpu", "cores", "python", "numpy", "opencv", "interpreter"} <= set(payload["machine"])
    assert payload["machine"]["after"]["temperature_c"] == 61.4
    assert payload["warnings"] == []
    assert set(payload["settings"]) == {
        "num_runs",
        "min_secs",
        "max_secs",
        "warmup_runs",
        "run_delay",
        "seed",
        "sustained_mins",
    }
    first, second = payload["files"]
    assert set(first) == {
        *("name", "path", "format", "size_bytes", "input_size_wh", "partitions", "macs"),
        *("parameters", "load_ms", "first_ms", "memory", "accuracy", "answer_pairs"),
        "stages",
        "latencies",
    }
    assert set(first["memory"]) == {
        *("baseline_bytes", "loaded_bytes", "peak_growth_bytes", "peak_bytes")
    }
    assert second["accuracy"]["top1"] == 0.9
    assert second["accuracy"]["correct"] == 900
    assert second["accuracy"]["interval_95"] == pytest.approx([0.8798, 0.9171], abs=1e-4)
    assert [entry["threads"] for entry in second["latencies"]] == [1, 2]
    assert set(second["latencies"][0]["invoke"]) == {
        *("first_ms", "min_ms", "median_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms", "std_ms"),
        *("runs", "processes", "median_interval_ms", "drift", "ratio", "ratio_interval"),
    }
    assert set(second["latencies"][0]) == {
        *("threads", "invoke", "classify", "histogram", "parts", "yardstick")
    }
    assert payload["verdict"]["file"] == "int81.tflite"
    assert payload["verdict"]["sentence"].startswith("Use ")


def test_payload_without_accuracy(made_up):
    payload = to_payload(made_up(("int8", 4, None, {1: 3.0})))
    assert payload["files"][0]["accuracy"] is None
    assert payload["photos"] == 0


def test_what_spoils_the_times_is_said(made_up):
    result = made_up(*FILES)
    machine = dataclasses.replace(result.machine, emulator="qemu-aarch64")
    result = dataclasses.replace(result, machine=machine)
    stream = io.StringIO()
    print_report(result, stream)
    (warning,) = to_payload(result)["warnings"]
    assert warning in " ".join(stream.getvalue().split())


def test_operators_and_the_run_without_a_pause_are_said(made_up):
    result = made_up(*FILES)
    stages = tuple(
        Stage((kind,), time_ms, 1)
        for kind, time_ms in (("A", 0.1), ("B", 1.0), ("C", 2.0), ("B", 1.5), ("D", 0.3), ("E", 0))
    )
    files = tuple(dataclasses.replace(file, stages=stages) for file in result.files)
    sustained = Sustained("int81.tflite", 1, (Moment(60.0, 9, 3.0, 4.0, None),))
    stream = io.StringIO()
    print_report(dataclasses.replace(result, files=files, sustained=sustained), stream)
    text = " ".join(stream.getvalue().split())
    assert "Time of the operators of int81.tflite, in ms: B 2.50, C 2.00, D 0.30, A 0.10." in text
    assert sustained.sentence in text


def test_drift_is_said_in_one_sentence(made_up):
    result = made_up(*FILES)
    assert drift_sentences(result) == []
    file = result.files[1]
    latency = file.latencies[0]
    moved = dataclasses.replace(latency, invoke=dataclasses.replace(latency.invoke, drift=1.3))
    file = dataclasses.replace(file, latencies=(moved, *file.latencies[1:]))
    (sentence,) = drift_sentences(dataclasses.replace(result, files=(result.files[0], file)))
    assert "invoke of int81.tflite (threads: 1) took 1.30 times as long" in sentence
    assert sentence.count(". ") == 0


def test_a_name_steers_no_terminal(made_up):
    stream = io.StringIO()
    print_report(made_up(*FILES, names=["a\x1b[31m\n", "b\x1b[31m\n"]), stream)
    assert "\x1b" not in stream.getvalue()
    assert "\\x1b[31m\\n" in stream.getvalue().replace("\n", "")
