"""The JSON has the documented fields, and other files are refused."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from pocketlens.benchmarks.answer_pairs import AnswerPair
from pocketlens.benchmarks.records import read_record
from pocketlens.benchmarks.report import to_payload
from pocketlens.benchmarks.stages import Stage
from pocketlens.benchmarks.sustained import Moment, Sustained
from pocketlens.errors import UsageError

DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmark-json.md"
FILES = [("float32", 14, 904, {1: 7.0}), ("int8", 4, 900, {1: 3.3})]


def _fields(value, path=""):
    if isinstance(value, dict):
        return {name for key, entry in value.items() for name in _fields(entry, f"{path}.{key}")}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {name for entry in value for name in _fields(entry, f"{path}[]")}
    return {path.removeprefix(".")}


def test_every_field_is_documented_and_every_documented_field_is_there(made_up):
    if not DOCUMENT.is_file():
        pytest.skip("not run from a checkout")
    results = [
        dataclasses.replace(made_up(*FILES), task=task)
        for task in ("multiclass", "binary", "multilabel")
    ]
    results.append(made_up(("int8", 4, None, {1: 3.0})))
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
    written = set().union(
        *(_fields(json.loads(json.dumps(to_payload(result)))) for result in results)
    )
    documented = re.findall(r"^\| `([^`]+)` \|", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert written == set(documented)


def test_reads_what_was_written(made_up, tmp_path):
    path = tmp_path / "old.json"
    payload = json.loads(json.dumps(to_payload(made_up(*FILES))))
    path.write_text(json.dumps(payload))
    assert read_record(path) == payload


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(None, "No such file", id="missing"),
        pytest.param("{", "no JSON", id="cut off"),
        pytest.param("[]", "other JSON", id="a list"),
        pytest.param('{"schema_version": 3}', "other JSON", id="another program's"),
        *(
            pytest.param(
                json.dumps({"schema_version": version, "files": [], "machine": {}}),
                f"of version {version}. Measure again",
                id=f"version {version}",
            )
            for version in (1, 2, 4)
        ),
    ],
)
def test_others_are_refused_in_one_sentence(tmp_path, text, said):
    path = tmp_path / "old.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=r"Expected .* Received: ") as caught:
        read_record(path)
    assert said in str(caught.value)
