"""What is said about the machine."""

import dataclasses

import pytest

from pocketlens.benchmarks.machine import cpu_name, describe_machine

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
    ("load", "cores", "is_busy"),
    [(None, 4, False), (0.5, 1, False), (2.0, 4, True), (1.0, 4, False)],
)
def test_is_busy(load, cores, is_busy):
    machine = dataclasses.replace(describe_machine(), load_average=load, cores=cores)
    assert machine.is_busy is is_busy
