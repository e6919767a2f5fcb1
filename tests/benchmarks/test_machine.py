"""What is said about the machine."""

import dataclasses

import pytest

from pocketlens.benchmarks.machine import describe_machine


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
