"""The JSON of the commands keeps its form: names and types, as the files in tests/golden have them.

A change of form is a change for whoever reads it: raise the schema's version, say it in the
CHANGELOG, and write the golden file anew with POCKETLENS_WRITE_GOLDEN=1.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import write_info

from pocketlens.cli.main import run

GOLDEN = Path(__file__).parents[1] / "golden"


def form_of(value: Any) -> Any:
    """Return a JSON value with each number, text and truth value replaced by its type.

    Of a list, the forms that its items have, each once.
    """
    if isinstance(value, dict):
        return {
            key: value[key] if key == "schema_version" else form_of(value[key])
            for key in sorted(value)
            # By the names of operators, which are TensorFlow's.
            if not key.endswith("counts")
        }
    if isinstance(value, list):
        forms = []
        for item in map(form_of, value):
            if item not in forms:
                forms.append(item)
        return sorted(forms, key=json.dumps)
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "null" if value is None else "string"


def fits(form: Any, golden: Any) -> bool:
    """Tell whether a form is the golden one, but for what a machine or a moment may lack.

    A sensor that is not there leaves a null, a quiet machine an empty list of warnings.
    """
    if "null" in (form, golden):
        return True
    if isinstance(form, dict) and isinstance(golden, dict):
        return set(form) == set(golden) and all(fits(form[key], golden[key]) for key in form)
    if isinstance(form, list) and isinstance(golden, list):
        return not golden or all(any(fits(item, one) for one in golden) for item in form)
    return bool(form == golden)


def test_another_form_does_not_fit() -> None:
    golden = form_of({"schema_version": 1, "files": [{"name": "a", "ms": 1.0}], "heat": None})
    for value, expected in (
        ({"schema_version": 1, "files": [{"name": "b", "ms": 2}], "heat": 60}, True),
        ({"schema_version": 1, "files": [], "heat": None}, True),
        ({"schema_version": 2, "files": [{"name": "b", "ms": 2}], "heat": 60}, False),
        ({"schema_version": 1, "files": [{"name": "b"}], "heat": 60}, False),
        ({"schema_version": 1, "files": [{"name": "b", "ms": "2"}], "heat": 60}, False),
        ({"schema_version": 1, "files": [{"name": "b", "ms": 2}]}, False),
    ):
        assert fits(form_of(value), golden) is expected, value


def everything_to_compare(photos: Path, target: Path) -> Path:
    """Write photos with those of strangers, and some that are of the random sample of the field."""
    shutil.copytree(photos, target)
    shutil.copytree(photos / "cross", target / "unknown")
    for path in sorted(target.rglob("*.png")):
        write_info(path, "random")
    return target


@pytest.mark.parametrize(
    "command", ["benchmark", "classify", "compare", "convert", "evaluate", "live"]
)
def test_form(
    command: str,
    tiny_models: dict[str, Path],
    tiny_photos: Path,
    tiny_run: Path,
    unknown_models: dict[str, Path],
    with_card: Callable[..., Path],
    tmp_path: Path,
) -> None:
    model, photo = str(tiny_models["int8"]), str(tiny_photos / "circle" / "00.png")
    target = tmp_path / "result.json"
    arguments = {
        "benchmark": [str(tiny_models["float32"]), model, "--num-runs", "2"],
        "classify": [model, photo],
        "compare": [str(tmp_path / "old.tflite"), str(unknown_models["int8"]), "--num-runs", "25"],
        "convert": [str(tiny_run), "--out", str(tmp_path / "models"), "--samples", "20", "--force"],
        "evaluate": [model, str(tiny_photos)],
        "live": [model, "--source", photo, "--jsonl", str(tmp_path / "lines.jsonl")],
    }[command]
    if command == "benchmark":
        arguments += ["--photos", str(tiny_photos)]
    if command == "compare":
        arguments += ["--data", str(everything_to_compare(tiny_photos, tmp_path / "photos"))]
        # Which of the photos it has seen is not known but for a sample.
        other = {"labels": ("cross", "circle", "bird"), "data_hash": "another"}
        with_card(tiny_models["int8"], tmp_path / "old.tflite", **other)
    if command == "convert":
        pytest.importorskip("tensorflow", reason="converting needs the train extra")
    assert run([command, *arguments, "--json", str(target)]) == 0
    form: dict[str, Any] = {"json": form_of(json.loads(target.read_text("utf-8")))}
    if command == "live":
        lines = (tmp_path / "lines.jsonl").read_text("utf-8").splitlines()
        form["jsonl"] = form_of([json.loads(line) for line in lines])
    golden = GOLDEN / f"{command}.json"
    if os.environ.get("POCKETLENS_WRITE_GOLDEN"):
        golden.write_text(json.dumps(form, indent=1) + "\n", "utf-8")
    assert fits(form, json.loads(golden.read_text("utf-8"))), form
