"""Runs as what to export: converted first, into what a target takes best."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from pocketlens.card import unpack
from pocketlens.cli.main import run
from pocketlens.errors import ConversionError, MissingDependencyError, UsageError
from pocketlens.export import export
from pocketlens.export.models import as_files


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
def drop(monkeypatch: pytest.MonkeyPatch, tiny_models: dict[str, Path]) -> None:
    """Let converting hold back int8, as it does where that loses too much."""
    pytest.importorskip("tensorflow", reason="converting needs the train extra")
    import pocketlens.convert

    def convert(_run: Path, _out: Path, formats: list[str]) -> None:
        files = [
            SimpleNamespace(
                path=tiny_models[entry],
                format=entry,
                held_back=entry == "int8",
                comparison=SimpleNamespace(drop_points=2.5),
            )
            for entry in reversed(formats)
        ]
        raise pocketlens.convert.DropError("", files)

    monkeypatch.setattr(pocketlens.convert, "convert", convert)


@pytest.mark.usefixtures("drop")
def test_format_that_loses_too_much_is_left_out(
    tiny_run: Path, tiny_models: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    with as_files([tiny_run], ["int8", "weights8", "float16"]) as paths:
        assert paths == (tiny_models["weights8"], tiny_models["float16"])
    assert "Left out, since it loses accuracy: int8 (2.5 points)" in caplog.text


@pytest.mark.usefixtures("drop")
def test_run_of_which_nothing_is_left(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"int8 \(2.5 points\)\. Convert it yourself"):
        export([tiny_run], tmp_path / "out", "c")
    assert not (tmp_path / "out").exists()


def test_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Expected a run with model\.keras"):
        export([tmp_path], tmp_path / "out", "web")


def test_run_without_the_packages(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketlens.imports.find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"pocketlens\[train\]"):
        export([tiny_run], tmp_path / "out", "web")


def test_format_of_what_is_converted_already(tiny_tflite: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="which are converted already"):
        export([tiny_tflite], tmp_path / "out", "c", formats=["int8"])
