"""Threads that work ahead, child processes, and how many cores there are for them."""

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketlens.workers import (
    count_cores,
    describe_exit,
    map_ahead,
    run_child,
    start_child,
    start_command,
)


def test_results_come_in_the_order_of_the_items_whichever_is_done_first() -> None:
    second_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_done.wait(10), "the second item was not worked on beside the first"
        if item == 1:
            second_done.set()
        return item * item

    assert list(map_ahead(work, range(5), 2, 2)) == [0, 1, 4, 9, 16]


def test_no_more_is_taken_than_asked_for() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in itertools.count():
            taken.append(item)
            yield item

    results = map_ahead(lambda item: item, items(), 2, 3)
    assert next(results) == 0
    # Three ahead, and the one that took the place of the first.
    assert len(taken) == 4


def test_an_error_comes_out_in_its_turn() -> None:
    def work(item: int) -> int:
        if item == 1:
            raise ValueError("one")
        return item

    results = map_ahead(work, range(3), 2, 3)
    assert next(results) == 0
    with pytest.raises(ValueError, match="one"):
        next(results)


ECHO = """
import sys
def main(*arguments):
    print(*arguments, sys.stdin.read(), sep="|")
"""


@pytest.fixture
def own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that this process has put into its search path by itself, with an odd name."""
    folder = tmp_path / 'it\'s "Füße"\n'
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_a_child_imports_what_its_parent_would(own_modules: Path) -> None:
    (own_modules / "echoing.py").write_text(ECHO)
    done = run_child("echoing", "one", "-two", "", given=b"three")
    assert done.stdout.decode().strip() == "one|-two||three"
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_child_has_the_packages_of_its_parent(own_modules: Path) -> None:
    (own_modules / "where.py").write_text(
        "def main():\n    import pocketlens.runtime\n    print(pocketlens.runtime.__file__)"
    )
    import pocketlens.runtime

    assert run_child("where").stdout.decode().strip() == pocketlens.runtime.__file__


def test_modules_in_the_current_folder_are_not_imported(
    own_modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_modules / "echoing.py").write_text("import json, numpy\n" + ECHO)
    for name in ("sys", "json", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong one')")
    monkeypatch.chdir(tmp_path)
    assert run_child("echoing", "here").stdout.decode().strip() == "here|"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ValueError('a reason')", "ValueError: a reason"),
        ("import os; os._exit(3)", "exit code 3"),
        ("import os; os.abort()", "SIGABRT"),
    ],
    ids=["its last word", "its exit code", "its signal"],
)
def test_why_a_child_failed(own_modules: Path, code: str, reason: str) -> None:
    (own_modules / "failing.py").write_text(f"def main():\n    {code}")
    done = run_child("failing")
    assert describe_exit(done.returncode, done.stderr) == reason


def test_a_child_that_hangs_is_killed(own_modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own_modules / "hanging.py").write_text("import time\ndef main():\n    time.sleep(600)")
    started: list[subprocess.Popen[bytes]] = []

    def start(module: str, **options: int) -> "subprocess.Popen[bytes]":
        started.append(start_child(module, **options))
        return started[-1]

    monkeypatch.setattr("pocketlens.workers.start_child", start)
    with pytest.raises(subprocess.TimeoutExpired):
        run_child("hanging", limit_s=0.1)
    assert started[0].returncode == -signal.SIGKILL


@pytest.mark.parametrize("executable", ["", "/nowhere/python"])
def test_where_no_child_can_be_started(executable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(OSError, match=r"no Python of its own|/nowhere/python"):
        start_child("pocketlens")


NO_LIMIT = 64


@pytest.fixture
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(NO_LIMIT)), raising=False)


@pytest.mark.usefixtures("many_cores")
@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, NO_LIMIT),
        ({"proc/self/cgroup": "0::/\n"}, NO_LIMIT),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, NO_LIMIT),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "20000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "9900000 100000\n"}, NO_LIMIT),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "damaged\n"}, NO_LIMIT),
        (
            {
                "proc/self/cgroup": "0::/a.slice/b.service\n",
                "sys/fs/cgroup/a.slice/cpu.max": "300000 100000\n",
                "sys/fs/cgroup/a.slice/b.service/cpu.max": "max 100000\n",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/\n3:memory:/\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            NO_LIMIT,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/docker/0f3a\n0::/docker/0f3a\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
    ],
    ids=[
        "no files",
        "no limit's file",
        "no limit",
        "one and a half",
        "a fifth",
        "more than there are",
        "damaged",
        "of a group around",
        "v1, no limit",
        "v1, in a container",
    ],
)
def test_cores_within_a_limit(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert count_cores(str(tmp_path)) == cores


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs sched_getaffinity")
def test_cores_that_are_not_ours_do_not_count(tmp_path: Path) -> None:
    ours = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(ours)})
        assert count_cores() == count_cores(str(tmp_path)) == 1
    finally:
        os.sched_setaffinity(0, ours)
    assert count_cores(str(tmp_path)) == len(ours)
    assert 1 <= count_cores() <= len(ours)


def test_a_command_is_started_with_its_words_and_ends_with_its_exit_code(tmp_path: Path) -> None:
    # What is in the folder where it runs stands in for nothing.
    (tmp_path / "click.py").write_text("raise SystemExit(77)")
    for words, code in ((("--version",), 0), (("inspect", "-- nothing\n"), 2)):
        with start_command(*words, cwd=tmp_path, stderr=subprocess.PIPE) as child:
            _, said = child.communicate()
        assert child.returncode == code, said
