"""Shells complete commands and options."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pocketlens.cli.main import run


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("li", "live"),
        ("inspect --he", "--help"),
        ("export --target an", "android"),
        ("completion z", "zsh"),
    ],
)
def test_bash(typed: str, found: str, capfd: pytest.CaptureFixture[str]) -> None:
    bash = shutil.which("bash")
    assert bash
    assert run(["completion", "bash"]) == 0
    words = ["pocketlens", *typed.split()]
    script = (
        f"{capfd.readouterr().out}\n"
        f"COMP_WORDS=({' '.join(words)}) COMP_CWORD={len(words) - 1}\n"
        "_pocketlens_completion pocketlens\n"
        "echo ${COMPREPLY[@]}\n"
    )
    beside = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": os.pathsep.join((beside, os.environ["PATH"]))}
    done = subprocess.run([bash, "-c", script], env=environment, capture_output=True, text=True)
    assert found in done.stdout.split(), done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert f"_POCKETLENS_COMPLETE={shell}_complete" in capfd.readouterr().out


def test_another_shell_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "tcsh"]) == 2
    assert "Expected one of bash, zsh, fish. Received: tcsh." in capfd.readouterr().err
