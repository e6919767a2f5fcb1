"""Every command whose extra is not installed says in one line what to install."""

import json
import sys
from pathlib import Path

import pytest

from pocketlens.cli.main import run

PACKAGES = (
    "tensorflow",
    "keras",
    "ai_edge_quantizer",
    "imagehash",
    "jinja2",
    "matplotlib",
    "starlette",
    "uvicorn",
    "paho",
)
# Words in braces are paths.
COMMANDS = {
    "train": [
        "check {photos}",
        "train {photos} --out {out}",
        "train --dataset cifar10 --out {out}",
        "convert {run} --out {out}",
        "convert {file} --out {out}",
        "evaluate {run} {photos}",
        "recommend {run} --photos {photos}",
        "export {run} --target android --out {out}",
        "export {run} --target ios --out {out}",
        "export {run} --target web --out {out}",
        "export {run} --target c --out {out}",
        "demo --out {out}",
        "classify {file} {photo} --backend tf.lite",
    ],
    "report": [
        "evaluate {file} {photos} --report {out}",
        "benchmark {file} --report {out}",
        "benchmark {file} --plot {out}.png",
        "recommend {file} --photos {photos} --report {out}",
        "report {benchmark}",
        "report {evaluation}",
    ],
    "web": [
        "live {file} --source {photos} --web",
        "service install {file} --source 0 --web --print",
    ],
    "studio": ["collect --source {photos} --out {out}"],
    "mqtt": [
        "live {file} --source {photos} --mqtt mqtt://broker/barn",
        "service install {file} --source 0 --mqtt mqtt://broker/barn --print",
    ],
    "tflite": ["classify {file} {photo} --backend tflite-runtime"],
}
FIELDS = {
    "benchmark": ("files", "machine", "verdict"),
    "evaluation": ("model", "skipped_photos", "reliability", "mistakes"),
}


@pytest.mark.parametrize(
    ("extra", "command"), [(extra, line) for extra, lines in COMMANDS.items() for line in lines]
)
def test_a_missing_extra_is_one_line_with_what_to_install(
    extra: str,
    command: str,
    tiny_run: Path,
    tiny_tflite: Path,
    tiny_photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for package in (*PACKAGES, "tflite_runtime", "tensorflow.lite.python.interpreter"):
        monkeypatch.setitem(sys.modules, package, None)
    # What an earlier test converted needs no packages.
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))
    for name, fields in FIELDS.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(dict.fromkeys(fields)))
    paths = {
        "run": tiny_run,
        "file": tiny_tflite,
        "photos": tiny_photos,
        "photo": next((tiny_photos / "circle").iterdir()),
        "out": tmp_path / "out",
        **{name: tmp_path / f"{name}.json" for name in FIELDS},
    }
    assert run([word.format(**paths) for word in command.split()]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("Error: Expected ")
    assert printed.err.endswith(f"pip install 'pocketlens[{extra}]'\n")
    assert printed.err.count("\n") == 1
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("out")]
