"""What the operating system tells of the machine: processor, clock, heat, memory.

A processor's features, by the flags that Linux lists, say how fast it makes each format.

Whatever is not told is None. The files that are read are parameters, so that tests have their own.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pocketlens.choices import FORMATS

_CPUINFO = Path("/proc/cpuinfo")
_STAT = Path("/proc/stat")
_MEMINFO = Path("/proc/meminfo")
# The kernel's own list: of /proc/self/maps, qemu gives a made-up one.
_MAPS = Path("/proc/thread-self/maps")
_SYS = Path("/sys")
_WATCHED_S = 0.3
# x86 has a "model name" for each core; Arm boards have one "Model" for the whole board.
_CPU_KEYS = ("model name", "Model", "Hardware")
# How drivers call the sensor that is nearest to the cores.
_SENSORS = ("cpu", "x86_pkg_temp", "soc", "package")

# Raspberry Pi documentation, vcgencmd get_throttled: what the bits say of now; 16 higher, they say
# it of the time since the start.
_THROTTLE_BITS = {
    0: "under-voltage",
    1: "clock limited",
    2: "throttled",
    3: "near the temperature limit",
}
_SINCE_START = 16

HOT_C = 80.0
"""From here on a Raspberry Pi slows down (its documentation, "Frequency management")."""

# Processors that there are only in programs, by what their model's name has in it.
_EMULATED = {"QEMU TCG": "QEMU", "VirtualApple": "Rosetta"}

_ARM = ("aarch64", "arm64", "armv7l", "armv8l")

# By the names under which people know them, those of the kernel: arch/x86/include/asm/cpufeatures.h
# and arch/arm64/include/asm/hwcap.h. The fastest first.
_VECTORS = {
    "AVX-512": {"avx512f"},
    "AVX2 with FMA": {"avx2", "fma"},
    "AVX": {"avx"},
    "SSE": {"sse2"},
    "NEON": {"asimd"},
    "32-bit NEON": {"neon"},
}
_DOT_PRODUCTS = {
    "AVX-512 VNNI": {"avx512_vnni"},
    "AVX-VNNI": {"avx_vnni"},
    "i8mm": {"i8mm"},
    "dotprod": {"asimddp"},
}
_HALF_FLOATS = {"AVX-512 FP16": {"avx512_fp16"}, "fp16": {"asimdhp"}}


@dataclass(frozen=True)
class Throttling:
    """What a Raspberry Pi says of being slowed down: `now`, and `before`, since its start."""

    now: tuple[str, ...]
    before: tuple[str, ...]


@dataclass(frozen=True)
class Governor:
    """Who chooses the processor's clock: the kernel's policy and the driver that carries it out."""

    name: str
    driver: str

    @property
    def is_slow(self) -> bool:
        """Whether it keeps the clock low; the P-state drivers' "powersave" does not."""
        return self.name == "powersave" and "pstate" not in self.driver


@dataclass(frozen=True)
class Memory:
    """The memory in bytes: all there is, and what programs can still have."""

    total_bytes: int
    available_bytes: int


@dataclass(frozen=True)
class CpuFeatures:
    """What matters of a processor; "" where it has none, None for all where it is not told.

    `vectors` is the widest arithmetic on several floats at a time, `dot_products` that on several
    bytes, `half_floats` arithmetic in 16-bit floats.
    """

    vectors: str
    dot_products: str
    half_floats: str


def cpu_name(cpuinfo: Path = _CPUINFO) -> str:
    """Return the processor's or the board's name, or its architecture where no name is known."""
    entries = _entries(cpuinfo)
    for key in _CPU_KEYS:
        if entries.get(key):
            return " ".join(entries[key].split())
    brand = _sysctl("machdep.cpu.brand_string")
    return brand or platform.processor() or platform.machine() or "unknown processor"


def find_emulator(maps: Path = _MAPS, cpuinfo: Path = _CPUINFO) -> str | None:
    """Return the name of the program that plays the processor, or None where none is seen."""
    inside = re.search(r"/(qemu-\w+?)(?:-static)?$", _read(maps) or "", re.MULTILINE)
    if inside:
        return inside[1]
    model = _entries(cpuinfo).get("model name", "")
    for part, name in _EMULATED.items():
        if part in model:
            return name
    return "Rosetta" if _sysctl("sysctl.proc_translated") == "1" else None


def measure_busy_cores(stat: Path = _STAT, seconds: float = _WATCHED_S) -> float | None:
    """Return how many cores were busy while this process slept, or None where that is not told.

    The load average would not do: for a minute it still counts what this process itself did.
    """
    before = _cpu_ticks(stat)
    time.sleep(seconds)
    after = _cpu_ticks(stat)
    if before is None or after is None or after[1] <= before[1]:
        return None
    idle, total = after[0] - before[0], after[1] - before[1]
    return round((1 - idle / total) * (os.cpu_count() or 1), 2)


def read_busy_s(stat: Path = _STAT) -> float | None:
    """Return the seconds that all cores together were busy since the start, or None."""
    ticks = _cpu_ticks(stat)
    return None if ticks is None else (ticks[1] - ticks[0]) / os.sysconf("SC_CLK_TCK")


def read_governor(sys: Path = _SYS) -> Governor | None:
    """Return who chooses the clock of the first core."""
    folder = sys / "devices/system/cpu/cpu0/cpufreq"
    name = _read(folder / "scaling_governor")
    return Governor(name, _read(folder / "scaling_driver") or "") if name else None


def read_temperature_c(sys: Path = _SYS) -> float | None:
    """Return the highest temperature of the processor's sensors in degrees Celsius."""
    zones = sorted((sys / "class/thermal").glob("thermal_zone*"))
    near = [zone for zone in zones if (_read(zone / "type") or "").lower().startswith(_SENSORS)]
    # In thousandths of a degree.
    texts = [_read(zone / "temp") or "" for zone in near or zones]
    values = [int(text) / 1000 for text in texts if text.lstrip("-").isdecimal()]
    return max(values, default=None)


def read_throttling(sys: Path = _SYS, vcgencmd: str = "vcgencmd") -> Throttling | None:
    """Return whether a Raspberry Pi is or was slowed down, by its tool or by the kernel's file."""
    try:
        done = subprocess.run(
            [vcgencmd, "get_throttled"], capture_output=True, text=True, timeout=5
        )
        text = done.stdout.strip().removeprefix("throttled=")
    except (OSError, subprocess.TimeoutExpired):
        text = ""
    text = text or _read(sys / "devices/platform/soc/soc:firmware/get_throttled") or ""
    try:
        bits = int(text, 16)
    except ValueError:
        return None
    now, before = (
        tuple(name for bit, name in _THROTTLE_BITS.items() if bits >> (bit + shift) & 1)
        for shift in (0, _SINCE_START)
    )
    return Throttling(now, before)


def read_memory(meminfo: Path = _MEMINFO) -> Memory | None:
    """Return how much memory there is (proc(5), /proc/meminfo)."""
    entries = _entries(meminfo)
    try:
        total, available = (
            1024 * int(entries[key].split()[0]) for key in ("MemTotal", "MemAvailable")
        )
    except (KeyError, IndexError, ValueError):
        return None
    return Memory(total, available)


def read_cpu_features(cpuinfo: Path = _CPUINFO) -> CpuFeatures | None:
    """Return what the processor has, or None where the system does not say it."""
    entries = _entries(cpuinfo)
    # x86 calls them flags, Arm features; all cores of a machine list the same.
    text = entries.get("flags", entries.get("Features"))
    if text is None:
        return None
    flags = set(text.split())
    return CpuFeatures(*(_first(table, flags) for table in (_VECTORS, _DOT_PRODUCTS, _HALF_FLOATS)))


def format_notes(features: CpuFeatures | None, machine: str | None = None) -> dict[str, str]:
    """Return a sentence for each format: what this processor makes of it.

    The shares are those of the README's table, measured on x86-64 with AVX-512 VNNI; what XNNPACK
    uses is what its microkernels are named after.

    Args:
        features: what the processor has.
        machine: the architecture as `platform.machine` names it; None asks it.
    """
    if features is None:
        unknown = (
            "This system does not report its processor's features: pocketlens benchmark measures."
        )
        return dict.fromkeys(FORMATS, unknown)
    vectors = features.vectors or "plain arithmetic"
    arm = (machine or platform.machine()) in _ARM
    return {
        "float32": f"Computed with {vectors}.",
        "float16": "Half of float32's size; computed in float32, as fast"
        + (
            f"; {features.half_floats} is there, which pocketlens leaves unused for the sake of "
            "float32's answers."
            if features.half_floats
            else "."
        ),
        "dynamic": _bytes_note(features, arm, "about two thirds"),
        "weights8": "A quarter of float32's size; computed in float32, as fast.",
        "int8": _bytes_note(features, arm, "half (AMD EPYC) to three quarters (Intel Xeon)"),
    }


def _sysctl(name: str) -> str:
    """Return what macOS says of itself, "" elsewhere and where it says nothing."""
    if platform.system() != "Darwin":
        return ""
    try:
        done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def _entries(path: Path) -> dict[str, str]:
    """Return lines like "key : value" of a file; of a key that stands twice the last."""
    pairs = (line.partition(":") for line in (_read(path) or "").splitlines())
    return {key.strip(): value.strip() for key, colon, value in pairs if colon}


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def _cpu_ticks(stat: Path) -> tuple[int, int] | None:
    """Return idle and all ticks of all cores since the start (proc(5), /proc/stat)."""
    try:
        name, *ticks = stat.read_text().splitlines()[0].split()
        # user nice system idle iowait irq softirq steal; guest times are counted in user.
        counts = [int(tick) for tick in ticks[:8]]
    except (OSError, ValueError, IndexError):
        return None
    return (counts[3] + counts[4], sum(counts)) if name == "cpu" and len(counts) == 8 else None


def _bytes_note(features: CpuFeatures, arm: bool, share: str) -> str:
    if features.dot_products in ("AVX-512 VNNI", "AVX-VNNI"):
        return (
            f"Computed in 8 bits with {features.dot_products}: {share} of float32's time where it "
            "was measured; pocketlens recommend measures it here."
        )
    if features.dot_products:
        return f"Computed in 8 bits with {features.dot_products}, which has no float32 equivalent."
    lacking = "dotprod" if arm else "VNNI"
    return (
        f"Computed in 8 bits, but without {lacking}, so it gains less than the table of the "
        "README shows: pocketlens benchmark measures it."
    )


def _first(table: Mapping[str, set[str]], flags: set[str]) -> str:
    return next((name for name, needed in table.items() if needed <= flags), "")
