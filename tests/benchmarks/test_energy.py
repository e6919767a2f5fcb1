"""Energy per inference, by sensors that are files as the kernel's are."""

import pytest

from pocketlens.benchmarks.energy import InaMeter, find_meter, measure_energy

CALL_S = 0.01


class Machine:
    """A clock, and sensors in a folder that follow it: so many watts at rest, so many at work."""

    def __init__(self, sys, idle_watts, busy_watts):
        self.sys = sys
        self.now_s = 100.0
        self.watts = self.idle_watts = idle_watts
        self.busy_watts = busy_watts
        self.joules = 0.0

    def write(self, name, value):
        path = self.sys / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")

    def pass_time(self, seconds, watts):
        self.now_s += seconds
        self.joules += seconds * watts
        self.watts = watts
        self.show()

    def show(self):
        raise NotImplementedError

    def call(self):
        self.pass_time(CALL_S, self.busy_watts)

    def measure(self, meter):
        return measure_energy(
            {"int8": self.call},
            meter,
            clock_s=lambda: self.now_s,
            sleep=lambda seconds: self.pass_time(seconds, self.idle_watts),
        )["int8"]


class Rapl(Machine):
    """Two packages that share the work; their counters begin again at 50 J."""

    RANGE_UJ = 50_000_000

    def show(self):
        for number in range(2):
            folder = f"class/powercap/intel-rapl:{number}"
            self.write(f"{folder}/name", f"package-{number}")
            self.write(f"{folder}/max_energy_range_uj", self.RANGE_UJ)
            uj = round(self.joules / 2 * 1e6) + 49_000_000
            self.write(f"{folder}/energy_uj", uj % self.RANGE_UJ)
        # Of these a package's own has them in it already, and one is for the whole board.
        self.write("class/powercap/intel-rapl:0:0/name", "core")
        self.write("class/powercap/intel-rapl:0:0/energy_uj", 5)
        self.write("class/powercap/intel-rapl:2/name", "psys")
        self.write("class/powercap/intel-rapl:2/energy_uj", 5)


class Ina226(Machine):
    """Knows its power."""

    def show(self):
        self.write("class/hwmon/hwmon3/name", "ina226")
        self.write("class/hwmon/hwmon3/power1_input", round(self.watts * 1e6))


class Ina3221(Machine):
    """Knows voltage and current of three channels."""

    def show(self):
        self.write("class/hwmon/hwmon0/name", "cpu_thermal")
        self.write("class/hwmon/hwmon1/name", "ina3221")
        self.write("class/hwmon/hwmon1/in1_label", "VDD_IN")
        self.write("class/hwmon/hwmon1/in1_input", 5000)
        self.write("class/hwmon/hwmon1/curr1_input", round(self.watts / 5 * 1000))
        self.write("class/hwmon/hwmon1/in2_input", 1000)
        self.write("class/hwmon/hwmon1/curr2_input", 77)


@pytest.mark.parametrize(
    ("kind", "source"),
    [(Rapl, "RAPL"), (Ina226, "INA226"), (Ina3221, "INA3221 VDD_IN")],
    ids=["RAPL, around its end", "INA with power", "INA with volts and amperes"],
)
def test_energy_of_an_inference(tmp_path, kind, source):
    machine = kind(tmp_path, idle_watts=2.0, busy_watts=6.0)
    machine.show()
    meter = find_meter(tmp_path)
    if isinstance(meter, InaMeter):
        meter.clock_s = lambda: machine.now_s
    energy = machine.measure(meter)
    assert energy.source == source
    assert energy.idle_watts == pytest.approx(2.0, rel=0.01)
    assert energy.watts == pytest.approx(6.0, rel=0.01)
    assert energy.invoke_mj == pytest.approx(6.0 * CALL_S * 1000, rel=0.01)


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"class/powercap/intel-rapl:0/name": "package-0"}, id="not readable"),
        pytest.param({"class/hwmon/hwmon0/name": "ina219"}, id="says nothing"),
        pytest.param(
            {"class/hwmon/hwmon0/name": "nvme", "class/hwmon/hwmon0/power1_input": "5"},
            id="another sensor",
        ),
    ],
)
def test_no_sensor_is_none(tmp_path, files):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert find_meter(tmp_path) is None
