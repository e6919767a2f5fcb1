"""`pocketlens export` as it is called, and what it does not overwrite."""

import hashlib
import json
from pathlib import Path

import pytest

from pocketlens.cli import run
from pocketlens.export.folders import CHECKSUMS_NAME


def arguments(model: Path, out: Path, *more: str) -> list[str]:
    return ["export", str(model), "--target", "c", "--out", str(out), *more]


def test_checksums_and_json(
    tiny_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(arguments(tiny_tflite, out, "--json", "-")) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["target"] == "c"
    assert report["folder"] == str(out)
    lines = (out / CHECKSUMS_NAME).read_text("utf-8").splitlines()
    assert dict(reversed(line.split("  ", 1)) for line in lines) == report["sha256"]
    assert {path.name for path in out.iterdir()} == {*report["sha256"], CHECKSUMS_NAME}
    for name, digest in report["sha256"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest


def test_replaces_only_what_it_wrote_and_when_asked(
    tiny_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    assert run(arguments(tiny_tflite, out)) == 0
    (out / "mine.txt").write_text("added")
    assert run(arguments(tiny_tflite, out)) == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert (out / "mine.txt").exists()
    assert run(arguments(tiny_tflite, out, "--overwrite")) == 0
    assert not (out / "mine.txt").exists()
    assert run(arguments(tiny_tflite, other, "--overwrite")) == 2
    assert [path.name for path in other.iterdir()] == ["letter.txt"]
    assert {path.name for path in tmp_path.iterdir()} == {"out", "other"}


def test_no_such_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments(tmp_path / "no.tflite", tmp_path / "out")) == 2
    assert "Received: nothing there" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_file_from_elsewhere(
    elsewhere_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(elsewhere_model, tmp_path / "out")) == 1
    assert "which has none. Convert the original model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
