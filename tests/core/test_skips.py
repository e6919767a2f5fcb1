"""Where everything is installed that tests need, a skip for another reason is a failure."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ALLOWED = TESTS / "allowed_skips.txt"
SUITE = {
    "test_whole.py": "pytest.skip('ffmpeg is not installed', allow_module_level=True)",
    "test_inside.py": (
        "def test_listed():\n    pytest.skip('Windows has no such signals')\n"
        "def test_other():\n    pytest.skip('mosquitto is not installed')\n"
    ),
}


def test_other_skips_are_failures(tmp_path: Path) -> None:
    pytest.importorskip("xdist", reason="pytest-xdist is in the dev extra")
    # In a worker, since a module that a worker skips is told to nobody.
    output = run_suite(tmp_path, {"POCKETLENS_ALLOWED_SKIPS": str(ALLOWED)}, "-n", "1")
    assert "1 failed, 1 skipped, 1 error" in output
    for reason in ("mosquitto is not installed", "ffmpeg is not installed"):
        assert f"does not list: {reason}" in output


def test_without_the_list_every_skip_is_one(tmp_path: Path) -> None:
    assert "3 skipped" in run_suite(tmp_path, {})


def run_suite(folder: Path, environment: dict[str, str], *options: str) -> str:
    """Run the small suite with this repository's conftest; return what pytest printed."""
    shutil.copy(TESTS / "conftest.py", folder)
    for name, text in SUITE.items():
        (folder / name).write_text(f"import pytest\n{text}")
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTEST", "POCKETLENS"))
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        [*command, "--continue-on-collection-errors"],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
    )
    return done.stdout
