"""The JSON has the documented fields, and other files are refused."""

import dataclasses
import functools
import json
import math
import re
from pathlib import Path

import pytest

from pocketlens.benchmarks.candidates import LeftOut
from pocketlens.benchmarks.machine import Condition
from pocketlens.benchmarks.payload import parse_benchmark, read_benchmark, to_payload
from pocketlens.benchmarks.regressions import find_changes
from pocketlens.benchmarks.stages import Stage
from pocketlens.benchmarks.sustained import Moment, Sustained
from pocketlens.errors import UsageError
from pocketlens.evaluation.agreement import AnswerPair, ClassFlips, Flips
from pocketlens.runtime.machine import Governor, Throttling

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "benchmark-json.md"
FILES = [("float32", 14, 904, {1: 7.0}), ("int8", 4, 900, {1: 3.3})]

FLIPS = Flips(6, 2, 0.29, (ClassFlips("rose", 200, 6, 2),))


def _fields(value, path=""):
    if isinstance(value, dict):
        return {name for key, entry in value.items() for name in _fields(entry, f"{path}.{key}")}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {name for entry in value for name in _fields(entry, f"{path}[]")}
    return {path.removeprefix(".")}


@pytest.fixture
def results(made_up):
    """Return benchmarks that have every field among them."""
    results = [
        dataclasses.replace(made_up(*FILES, flips=FLIPS), task=task)
        for task in ("multiclass", "binary", "multilabel")
    ]
    results.append(made_up(("int8", 4, None, {1: 3.0})))
    left_out = LeftOut("spoilt.tflite", Path("spoilt.tflite"), "Expected a model.")
    throttling = Throttling(("throttled",), ("under-voltage",))
    condition = Condition(0.0, 60.0, throttling)
    machine = dataclasses.replace(
        results[0].machine,
        governor=Governor("ondemand", "cpufreq-dt"),
        before=condition,
        after=condition,
    )
    results.append(dataclasses.replace(results[0], machine=machine, left_out=(left_out,)))
    with_all = made_up(*FILES)
    int8 = dataclasses.replace(
        with_all.files[1],
        answer_pairs=(AnswerPair("a", "b", 3),),
        stages=(Stage(("CONV_2D",), 1.0, 2_000_000),),
    )
    sustained = Sustained("int8", 1, (Moment(1.0, 9, 3.0, 4.0, 50.0),))
    results.append(
        dataclasses.replace(with_all, files=(with_all.files[0], int8), sustained=sustained)
    )
    return results


def test_json_is_read_back_as_it_was(results):
    for result in results:
        assert parse_benchmark(json.loads(json.dumps(to_payload(result)))) == result


def test_every_field_is_documented_and_every_documented_field_is_there(results):
    if not DOCUMENT.is_file():
        pytest.skip("not run from a checkout")
    written = set().union(
        *(_fields(json.loads(json.dumps(to_payload(result)))) - {"left_out"} for result in results)
    )
    documented = re.findall(r"^\| `([^`]+)` \|", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert written == set(documented)


@pytest.fixture
def payload(made_up):
    return json.loads(json.dumps(to_payload(made_up(*FILES))))


def test_reads_what_was_written(payload, tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps(payload))
    assert read_benchmark(path) == parse_benchmark(payload)


def test_what_had_too_few_runs_is_not_compared(payload):
    payload["files"][0]["latencies"][0]["yardstick"]["interval"] = None
    payload["files"][1]["latencies"][0]["yardstick"] = None
    earlier = parse_benchmark(payload)
    assert find_changes(earlier, earlier) == []


MISSING = object()
YARDSTICK = "files[0].latencies[0].yardstick"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((place, MISSING) for place in ("machine.cpu", "machine.cores", "machine.interpreter")),
        *((place, MISSING) for place in ("files[1].name", "files[0].latencies", YARDSTICK)),
        *((f"{YARDSTICK}.{key}", MISSING) for key in ("ratio", "interval", "shortest_ratio")),
        ("files[0].latencies[0].threads", MISSING),
        ("files", {}),
        ("files[0]", "int8.tflite"),
        ("machine", []),
        ("machine.cores", 0),
        ("machine.cores", True),
        ("machine.cpu", 5),
        (f"{YARDSTICK}.ratio", 0),
        (f"{YARDSTICK}.ratio", -1.0),
        (f"{YARDSTICK}.ratio", math.nan),
        (f"{YARDSTICK}.shortest_ratio", "2"),
        (f"{YARDSTICK}.interval", [2.0]),
        (f"{YARDSTICK}.interval", [3.0, 2.0]),
        (f"{YARDSTICK}.interval[1]", math.inf),
    ],
)
def test_damage_is_named_in_one_sentence(payload, place, value):
    *way, last = [int(key) if key.isdecimal() else key for key in re.findall(r"\w+", place)]
    holder = functools.reduce(lambda entry, key: entry[key], way, payload)
    if value is MISSING:
        del holder[last]
    else:
        holder[last] = value
    with pytest.raises(UsageError, match="Expected a whole benchmark in old") as caught:
        parse_benchmark(payload, "old.json")
    came = str(caught.value).split("nothing usable at ")[1]
    assert came.startswith(place), came
    assert came.endswith(". Measure again.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(None, "No such file", id="missing"),
        pytest.param("{", "not JSON", id="cut off"),
        pytest.param("[" * 100_000, "not JSON", id="without end"),
        pytest.param("\x00\xff", "not JSON", id="bytes"),
        pytest.param("[]", "other JSON", id="a list"),
        pytest.param('{"schema_version": 6}', "other JSON", id="another program's"),
        *(
            pytest.param(
                json.dumps({"schema_version": version, "files": [], "machine": {}}),
                f"of version {version}. Measure again",
                id=f"version {version}",
            )
            for version in (1, 2, 3, 4, 5, 7)
        ),
    ],
)
def test_others_are_refused_in_one_sentence(tmp_path, text, said):
    path = tmp_path / "old.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=r"Expected .* Received: ") as caught:
        read_benchmark(path)
    assert said in str(caught.value)
