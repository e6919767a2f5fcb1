"""The command line as a whole: help, exit codes, names."""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import click
import pytest

from pocketlens import __version__
from pocketlens.cli.main import COMMANDS, group, run
from pocketlens.errors import ModelFileError, OutputError, PocketlensError, UsageError


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_what_the_list_says(name: str) -> None:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    assert command.name == name
    assert f"Example: pocketlens {name} " in str(command.epilog)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert f"Usage: pocketlens {name}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("Expected a. Received: b. Do c."), 2),
        (ModelFileError("Expected a. Received: b. Do c."), 1),
        (OutputError("Expected a. Received: b. Do c."), 1),
        (click.UsageError("no such option"), 2),
        (PermissionError(13, "Permission denied", "/x"), 1),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_errors_become_exit_codes(
    error: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(group, "main", fail)
    assert run([]) == code
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "Traceback" not in streams.err
    assert streams.err.strip()


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "no\x1b[31m\n.tflite"],
        ["classify", "m.tflite", "p.png", "--json", "a\x1b[31m\n.json"],
        ["export", "m.tflite", "--target", "a\x1b[31m\n", "--out", "o"],
        ["a\x1b[31m\n"],
        ["inspect", "--a\x1b[31m\n"],
    ],
    ids=["path", "target", "choice", "command", "option"],
)
def test_names_in_errors_steer_no_terminal(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("m.tflite", "p.png", "a\x1b[31m\n.json"):
        Path(name).touch()
    assert run(words) == 2
    error = capsys.readouterr().err
    # What a pipe gets would lack the sequence if it was not escaped.
    assert "\\x1b[31m\\n" in error
    assert "\x1b" not in error


def test_every_error_has_a_second_parent() -> None:
    leaves = PocketlensError.__subclasses__()
    assert len(leaves) >= 8
    for leaf in leaves:
        builtin = [base for base in leaf.__bases__ if base.__module__ == "builtins"]
        assert builtin, leaf


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["fly"], "No such command 'fly'."),
        (["trian"], "No such command 'trian'. Did you mean 'train'?"),
        (["service", "instal"], "No such command 'instal'. Did you mean 'install'?"),
        (["classify", "--treads", "2", "m", "p"], "--threads"),
        (["service", "install", "m", "--sorce", "0"], "--sorce"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistyped_names(words: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    assert error in capsys.readouterr().err


def test_help_answers_within_three_times_the_import_of_click() -> None:
    help_s, click_s = [], []
    for _ in range(7):
        click_s.append(seconds("import click"))
        help_s.append(seconds("from pocketlens.cli.main import main; main(['--help'])"))
    assert median(help_s) <= 3 * median(click_s)


def seconds(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return time.perf_counter() - started


def test_module_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pocketlens", "--version"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert __version__ in done.stdout
