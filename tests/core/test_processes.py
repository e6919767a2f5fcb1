"""Knowing a process again that somebody else has started."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
from timing import wait_for

from pocketlens import processes
from pocketlens.processes import Process

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


@pytest.fixture
def child():
    with subprocess.Popen(SLEEP, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_a_process_is_known_again_until_it_ends(child):
    process = processes.known(child.pid)
    assert process is not None
    assert process.pid == child.pid
    assert processes.runs(process)
    assert processes.known(child.pid) == process
    child.kill()
    # Also while nobody has waited for it, so that its number is still taken.
    wait_for(lambda: not processes.runs(process))
    child.wait()
    assert not processes.runs(process)
    assert processes.known(child.pid) is None


def test_this_process_runs():
    process = processes.known(os.getpid())
    assert process is not None
    assert processes.runs(process)


def test_another_process_with_the_number_is_another_one(child):
    process = processes.known(child.pid)
    earlier = Process(process.pid, process.begun + "0")
    assert not processes.runs(earlier)
    assert not processes.send_signal(earlier, signal.SIGKILL)
    assert child.poll() is None


@pytest.mark.parametrize("by_number", [False, True], ids=["by descriptor", "by number"])
def test_a_signal_reaches_the_process(child, monkeypatch, by_number):
    if by_number:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    process = processes.known(child.pid)
    assert processes.send_signal(process, signal.SIGTERM)
    assert child.wait() == -signal.SIGTERM
    assert not processes.send_signal(process, signal.SIGTERM)


def test_numbers_that_nobody_has_are_nobody():
    assert processes.known(2**22 + 1) is None
    assert not processes.runs(Process(2**22 + 1, "then"))


def test_what_ps_says_is_another_way_to_know_a_process(child, monkeypatch):
    if shutil.which("ps") is None:
        pytest.skip("this system has no ps")
    monkeypatch.setattr(processes.sys, "platform", "darwin")
    process = processes.known(child.pid)
    assert processes.runs(process)
    child.kill()
    wait_for(lambda: not processes.runs(process))
