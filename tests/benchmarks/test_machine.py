"""What is said about the machine."""

import dataclasses
import subprocess
import sys
import time

import pytest

from pocketlens.benchmarks.machine import cpu_name, describe_machine, measure_busy_cores

X86 = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD  EPYC 9R14\nflags\t: a b\n"
PI = "processor\t: 0\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n"


@pytest.mark.parametrize(
    ("text", "name"), [(X86, "AMD EPYC 9R14"), (PI, "Raspberry Pi 4 Model B Rev 1.4")]
)
def test_cpu_name(tmp_path, text, name):
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_name(tmp_path / "cpuinfo") == name


def test_cpu_name_without_the_file(tmp_path):
    assert cpu_name(tmp_path / "none")


def test_this_machine():
    machine = describe_machine()
    assert machine.cores >= 1
    assert machine.interpreter.split()[1][0].isdigit()


@pytest.mark.parametrize(
    ("busy", "cores", "is_busy"),
    [(None, 4, False), (0.1, 1, False), (0.5, 2, True), (1.0, 4, True), (0.5, 4, False)],
)
def test_is_busy(busy, cores, is_busy):
    machine = dataclasses.replace(describe_machine(), busy_cores=busy, cores=cores)
    assert machine.is_busy is is_busy


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc/stat is Linux's")
def test_a_busy_program_is_noticed():
    spin = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.3)
        # Two tests at once may share the cores, so half a core is what is sure to be seen.
        assert measure_busy_cores() >= 0.5
    finally:
        spin.kill()
        spin.wait()


@pytest.mark.parametrize("text", ["", "cpu 1 2 3\n", "intr 1\n", "cpu a b c d e f g h\n"])
def test_unknown_statistics(tmp_path, text):
    (tmp_path / "stat").write_text(text)
    assert measure_busy_cores(tmp_path / "stat", 0) is None
