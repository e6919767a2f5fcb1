"""What the operating system tells of the machine, and what that makes of each format."""

import os
import subprocess
import sys
import time

import pytest

from pocketlens.runtime.machine import (
    CpuFeatures,
    Governor,
    Memory,
    Throttling,
    cpu_name,
    find_emulator,
    format_notes,
    measure_busy_cores,
    read_busy_s,
    read_cpu_features,
    read_governor,
    read_memory,
    read_temperature_c,
    read_throttling,
)

X86 = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD  EPYC 9R14\nflags\t: a b\n"
PI = "processor\t: 0\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n"

# From the boards' own /proc/cpuinfo, shortened to what is looked at and its neighbours.
PI_3 = PI_4 = "Features\t: fp asimd evtstrm crc32 cpuid\n"
PI_5 = "Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid lrcpc asimddp\n"
GRAVITON = "Features\t: fp asimd fphp asimdhp asimddp sve asimdfhm i8mm bf16\n"
ZEN_5 = "flags\t\t: fpu sse2 avx fma avx2 avx512f avx512_vnni avx_vnni\n"
HASWELL = "flags\t\t: fpu sse2 avx fma avx2\n"
ATOM = "flags\t\t: fpu sse2 ssse3\n"
PI_2 = "Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4\n"


@pytest.mark.parametrize(
    ("text", "name"), [(X86, "AMD EPYC 9R14"), (PI, "Raspberry Pi 4 Model B Rev 1.4")]
)
def test_cpu_name(tmp_path, text, name):
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_name(tmp_path / "cpuinfo") == name


def test_cpu_name_without_the_file(tmp_path):
    assert cpu_name(tmp_path / "none")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc/stat is Linux's")
def test_a_busy_program_is_noticed():
    spin = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.3)
        # Two tests at once may share the cores, so half a core is what is sure to be seen.
        assert max(measure_busy_cores() for _ in range(5)) >= 0.5
    finally:
        spin.kill()
        spin.wait()


@pytest.mark.parametrize("text", ["", "cpu 1 2 3\n", "intr 1\n", "cpu a b c d e f g h\n"])
def test_unknown_statistics(tmp_path, text):
    (tmp_path / "stat").write_text(text)
    assert measure_busy_cores(tmp_path / "stat", 0) is None


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("name", "driver", "slow"),
    [
        ("ondemand", "cpufreq-dt", False),
        ("powersave", "cpufreq-dt", True),
        ("powersave", "intel_pstate", False),
        ("powersave", "amd-pstate-epp", False),
        ("performance", "", False),
    ],
)
def test_a_governor_that_keeps_the_clock_low(tmp_path, name, driver, slow):
    folder = tmp_path / "devices/system/cpu/cpu0/cpufreq"
    write(folder / "scaling_governor", f"{name}\n")
    if driver:
        write(folder / "scaling_driver", f"{driver}\n")
    assert read_governor(tmp_path) == Governor(name, driver)
    assert read_governor(tmp_path).is_slow is slow


def test_the_hottest_sensor_of_the_processor_counts(tmp_path):
    zones = {"cpu-thermal": "61234", "gpu-thermal": "99000", "x86_pkg_temp": "-5000"}
    for number, (kind, value) in enumerate(zones.items()):
        write(tmp_path / f"class/thermal/thermal_zone{number}/type", f"{kind}\n")
        write(tmp_path / f"class/thermal/thermal_zone{number}/temp", f"{value}\n")
    assert read_temperature_c(tmp_path) == pytest.approx(61.234)


def test_any_sensor_is_better_than_none(tmp_path):
    write(tmp_path / "class/thermal/thermal_zone0/type", "acpitz\n")
    write(tmp_path / "class/thermal/thermal_zone0/temp", "40000\n")
    write(tmp_path / "class/thermal/thermal_zone1/temp", "unknown\n")
    assert read_temperature_c(tmp_path) == 40.0


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ("0x0", Throttling((), ())),
        ("0x50000", Throttling((), ("under-voltage", "throttled"))),
        ("0x80008", Throttling(("near the temperature limit",), ("near the temperature limit",))),
        ("0x50005", Throttling(("under-voltage", "throttled"), ("under-voltage", "throttled"))),
        ("error", None),
    ],
)
def test_throttling_by_the_tool_and_by_the_kernel(tmp_path, bits, expected):
    tool = tmp_path / "vcgencmd"
    write(tool, f'#!/bin/sh\ntest "$1" = get_throttled && echo throttled={bits}\n')
    tool.chmod(0o755)
    assert read_throttling(tmp_path, str(tool)) == expected
    # The kernel's file has no prefix.
    file = tmp_path / "devices/platform/soc/soc:firmware/get_throttled"
    write(file, bits.removeprefix("0x") + "\n")
    assert read_throttling(tmp_path, str(tmp_path / "no-tool")) == expected


def test_memory(tmp_path):
    write(tmp_path / "meminfo", "MemTotal:  1024 kB\nMemFree: 1 kB\nMemAvailable:   512 kB\n")
    assert read_memory(tmp_path / "meminfo") == Memory(1 << 20, 1 << 19)


@pytest.mark.parametrize("text", ["", "MemTotal: 5 kB\n", "MemTotal:\nMemAvailable: x\n"])
def test_unknown_memory(tmp_path, text):
    write(tmp_path / "meminfo", text)
    assert read_memory(tmp_path / "meminfo") is None


def test_what_is_not_told_is_none(tmp_path):
    assert read_memory(tmp_path / "none") is None
    assert read_governor(tmp_path) is None
    assert read_temperature_c(tmp_path) is None
    assert read_throttling(tmp_path, str(tmp_path / "none")) is None


@pytest.mark.parametrize(
    ("maps", "cpuinfo", "name"),
    [
        pytest.param("7f00-7f01 r-xp 0 fe:00 9  /usr/bin/python3.11\n", X86, None, id="real"),
        pytest.param(
            "7f00-7f01 r-xp 0 fe:00 9  /usr/bin/qemu-aarch64-static\n",
            PI,
            "qemu-aarch64",
            id="qemu",
        ),
        pytest.param("1-2 r-xp 0 fe:00 9 /opt/qemu-arm\n3-4 rw-p 0\n", PI, "qemu-arm", id="moved"),
        pytest.param("", "model name : QEMU TCG CPU version 2.5+\n", "QEMU", id="whole machine"),
        pytest.param("", "model name : VirtualApple @ 2.50GHz\n", "Rosetta", id="Rosetta"),
        pytest.param("/home/qemu-images/python3\n", X86, None, id="a folder's name"),
    ],
)
def test_emulators(tmp_path, maps, cpuinfo, name):
    write(tmp_path / "maps", maps)
    write(tmp_path / "cpuinfo", cpuinfo)
    assert find_emulator(tmp_path / "maps", tmp_path / "cpuinfo") == name


@pytest.mark.parametrize(
    ("text", "busy_s"),
    [("cpu 100 0 50 400 30 0 0 50 0 0\n", 200), ("", None)],
    ids=["all but idle and waiting", "not told"],
)
def test_busy_time(tmp_path, text, busy_s):
    write(tmp_path / "stat", text)
    expected = None if busy_s is None else busy_s / os.sysconf("SC_CLK_TCK")
    assert read_busy_s(tmp_path / "stat") == expected


@pytest.mark.parametrize(
    ("text", "features"),
    [
        pytest.param(PI_4, CpuFeatures("NEON", "", ""), id="pi-4"),
        pytest.param(PI_5, CpuFeatures("NEON", "dotprod", "fp16"), id="pi-5"),
        pytest.param(GRAVITON, CpuFeatures("NEON", "i8mm", "fp16"), id="graviton"),
        pytest.param(ZEN_5, CpuFeatures("AVX-512", "AVX-512 VNNI", ""), id="zen-5"),
        pytest.param(HASWELL, CpuFeatures("AVX2 with FMA", "", ""), id="haswell"),
        pytest.param(ATOM, CpuFeatures("SSE", "", ""), id="atom"),
        pytest.param(PI_2, CpuFeatures("32-bit NEON", "", ""), id="pi-2"),
        pytest.param("processor : 0\n", None, id="no-flags"),
    ],
)
def test_features_are_read(tmp_path, text, features):
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\n" + text + "\nprocessor\t: 1\n" + text)
    assert read_cpu_features(path) == features
    assert read_cpu_features(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("features", "machine", "words"),
    [
        pytest.param(CpuFeatures("NEON", "", ""), "aarch64", "without dotprod", id="pi-4"),
        pytest.param(CpuFeatures("AVX", "", ""), "x86_64", "without VNNI", id="x86"),
        pytest.param(CpuFeatures("NEON", "dotprod", "fp16"), "aarch64", "with dotprod", id="pi-5"),
        pytest.param(
            CpuFeatures("AVX-512", "AVX-512 VNNI", ""),
            "x86_64",
            "half (AMD EPYC) to three quarters",
            id="vnni",
        ),
    ],
)
def test_every_format_has_a_sentence(features, machine, words):
    notes = format_notes(features, machine)
    assert list(notes) == ["float32", "float16", "dynamic", "weights8", "int8"]
    assert words in notes["int8"]
    assert features.vectors in notes["float32"]
    assert ("fp16" in notes["float16"]) == bool(features.half_floats)
    assert all(note.endswith(".") for note in notes.values())


def test_nothing_is_claimed_of_an_unknown_processor():
    assert set(format_notes(None).values()) == {
        "This system does not report its processor's features: pocketlens benchmark measures."
    }
