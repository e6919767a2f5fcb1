"""The cache: bounded, and nothing vanishes under who uses it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketlens.cache import cache_entry
from pocketlens.errors import OutputError

DAY_S = 24 * 3600
needs_locks = pytest.mark.skipif(
    sys.platform == "win32", reason="there are no such locks on Windows"
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fill(key: str, size: int = 10, days: float = 0, kind: str = "converted") -> Path:
    """Make an entry that was used last so many days ago."""
    with cache_entry(kind, key) as folder:
        (folder / "a").write_bytes(b"x" * size)
    used_s = time.time() - days * DAY_S
    os.utime(folder, (used_s, used_s))
    return folder


def test_what_nobody_used_for_a_month_goes_when_a_new_one_is_made(cache: Path) -> None:
    old, used, young = (fill(name, days=29) for name in ("old", "used", "young"))
    for folder in (old, used):
        os.utime(folder, (0, 0))
    other = fill("old", kind="pixels")
    os.utime(other, (0, 0))
    # Using it is enough, and makes none go.
    with cache_entry("converted", "used"):
        pass
    assert old.is_dir()
    new = fill("new")
    assert set((cache / "converted").iterdir()) == {used, young, new}
    assert other.is_dir()


def test_what_was_used_longest_ago_goes_where_there_is_too_much(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketlens.cache._MOST_BYTES", 100_000)
    fill("second", 40_000, days=2)
    first = fill("first", 40_000, days=1)
    new = fill("new", 40_000)
    assert set((cache / "converted").iterdir()) == {first, new}
    # The newest stays, however large.
    large = fill("large", 200_000)
    assert list((cache / "converted").iterdir()) == [large]


def test_what_earlier_versions_kept_goes_too(cache: Path) -> None:
    cache.mkdir()
    names = [f"{'a' * 32}.npy", f"{'b' * 32}.json", f"facts-{'c' * 32}.json", "mine.npy"]
    for name in names:
        (cache / name).touch()
        os.utime(cache / name, (0, 0))
    (cache / f"{'d' * 32}.npy").touch()
    fill("new")
    assert {path.name for path in cache.iterdir()} == {
        "converted",
        "mine.npy",
        f"{'d' * 32}.npy",
    }


HOLDS = """
import sys
from pocketlens.cache import cache_entry
with cache_entry("converted", "held") as folder:
    print("held", flush=True)
    sys.stdin.readline()
    print((folder / "a").read_text(), flush=True)
"""


@pytest.fixture
def holder(cache: Path) -> Iterator["subprocess.Popen[str]"]:
    fill("held", 5)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


@needs_locks
def test_what_another_process_uses_stays(cache: Path, holder: "subprocess.Popen[str]") -> None:
    held = cache / "converted" / "held"
    os.utime(held, (0, 0))
    fill("new")
    assert held.is_dir()
    said, _ = holder.communicate("\n")
    assert said == "xxxxx\n"
    # Its time was that of its use, so it may go now.
    fill("newer")
    assert not held.exists()


RACES = """
import sys
from pocketlens import cache
from pocketlens.cache import cache_entry
cache._MOST_BYTES = 0
for number in range(200):
    with cache_entry("converted", f"{number % 3}") as folder:
        (folder / sys.argv[1]).write_text("whole")
        assert (folder / sys.argv[1]).read_text() == "whole"
"""


@needs_locks
@pytest.mark.usefixtures("cache")
def test_many_processes_clean_at_once() -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", RACES, name], stderr=subprocess.PIPE, text=True)
        for name in "abc"
    ]
    for process in started:
        _, errors = process.communicate()
        assert process.returncode == 0, errors


def test_a_cache_that_cannot_be_made_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "file"))
    with (
        pytest.raises(OutputError, match="Cannot write "),
        cache_entry("converted", "a"),
    ):
        pass
