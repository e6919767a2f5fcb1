"""Runs as what to export: converted first, into what a target takes best."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from pocketlens.card import pack, unpack
from pocketlens.cli.main import run
from pocketlens.errors import ConversionError, UsageError
from pocketlens.export import export
from pocketlens.export.models import as_files, converted_files


def test_run_is_converted(tiny_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="converting needs the train extra")
    out = tmp_path / "app"
    arguments = ["export", str(tiny_run), "--target", "ios", "--format", "float16"]
    assert run([*arguments, "--out", str(out)]) == 0
    (model,) = out.glob("*.tflite")
    assert model.name == "tiny_float16.tflite"
    assert unpack(model.read_bytes()).card.format == "float16"
    assert {path.name for path in tmp_path.iterdir()} == {"app"}


@pytest.fixture
def converted(
    monkeypatch: pytest.MonkeyPatch, tiny_models: dict[str, Path], tmp_path: Path
) -> list[list[str]]:
    """Replace converting by the tiny files, of which int8 loses 2.5 points; say what was asked."""
    pytest.importorskip("tensorflow", reason="converting needs the train extra")
    import pocketlens.convert

    asked: list[list[str]] = []

    def convert(_run: Path, out: Path, formats: list[str], **_: object) -> list[SimpleNamespace]:
        asked.append(list(formats))
        files = []
        for entry in reversed(formats):
            model = unpack(tiny_models[entry].read_bytes())
            lost = {"lost_to_original_points": 2.5 * (entry == "int8"), "compared_photos": 200}
            card = dataclasses.replace(model.card, metrics={**model.card.metrics, **lost})
            path = out / tiny_models[entry].name
            path.write_bytes(pack(model.flatbuffer, card))
            files.append(SimpleNamespace(path=path, format=entry))
        return files

    monkeypatch.setattr(pocketlens.convert, "convert", convert)
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))
    return asked


@pytest.mark.usefixtures("converted")
def test_format_that_loses_too_much_is_left_out(
    tiny_run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with as_files([tiny_run], ["int8", "weights8", "float16"]) as paths:
        assert [path.name for path in paths] == ["tiny_weights8.tflite", "tiny_float16.tflite"]
    assert "Left out, since it loses accuracy: int8 (2.5 points)" in caplog.text


@pytest.mark.usefixtures("converted")
def test_run_of_which_nothing_is_left(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"int8 \(2.5 points\)\. Convert it yourself"):
        export([tiny_run], tmp_path / "out", "c")
    assert not (tmp_path / "out").exists()


def test_what_was_converted_is_not_converted_again(
    tiny_run: Path, tmp_path: Path, converted: list[list[str]]
) -> None:
    for _ in range(2):
        with converted_files(tiny_run, ["int8", "float16"]) as files:
            assert list(files) == ["int8", "float16"]
    with converted_files(tiny_run, ["weights8", "int8"]) as files:
        assert list(files) == ["weights8", "int8"]
    assert converted == [["int8", "float16"], ["weights8"]]
    # One that is damaged is made again, and so is all of another run.
    files["int8"].write_bytes(files["int8"].read_bytes()[:-100])
    with converted_files(tiny_run, ["int8", "float16"]):
        pass
    assert converted[2:] == [["int8"]]
    other = tmp_path / "other"
    shutil.copytree(tiny_run, other)
    card = json.loads((other / "card.json").read_text())
    (other / "card.json").write_text(json.dumps({**card, "data_hash": "0"}))
    with converted_files(other, ["int8"]):
        pass
    assert converted[3:] == [["int8"]]


def test_without_a_cache_nothing_is_kept(
    tiny_run: Path, tmp_path: Path, converted: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        with converted_files(tiny_run, ["int8"]) as files:
            assert files["int8"].is_file()
        assert not files["int8"].exists()
    assert converted == [["int8"], ["int8"]]


def test_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Expected a run with model\.keras"):
        export([tmp_path], tmp_path / "out", "web")


def test_format_of_what_is_converted_already(tiny_tflite: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="which are converted already"):
        export([tiny_tflite], tmp_path / "out", "c", formats=["int8"])
