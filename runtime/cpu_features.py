"""What a processor has that makes each format fast, by the flags that Linux lists."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
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
class CpuFeatures:
    """What matters of a processor; "" where it has none, None for all where it is not told.

    `vectors` is the widest arithmetic on several floats at a time, `dot_products` that on several
    bytes, `half_floats` arithmetic in 16-bit floats.
    """

    vectors: str
    dot_products: str
    half_floats: str


def read_cpu_features(cpuinfo: Path = _CPUINFO) -> CpuFeatures | None:
    """Return what the processor has, or None where the system does not say it."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        # x86 calls them flags, Arm features; all cores of a machine list the same.
        if key.strip() in ("flags", "Features"):
            flags = set(value.split())
            return CpuFeatures(
                *(_first(table, flags) for table in (_VECTORS, _DOT_PRODUCTS, _HALF_FLOATS))
            )
    return None


def format_notes(features: CpuFeatures | None, machine: str | None = None) -> dict[str, str]:
    """Return a sentence for each format: what this processor makes of it.

    The shares are those of the README's table, measured on x86-64 with AVX-512 VNNI; what XNNPACK
    uses is what its microkernels are named after.

    Args:
        features: what the processor has.
        machine: the architecture as `platform.machine` names it; None asks it.
    """
    if features is None:
        unknown = "This system does not tell what its processor has: pocketlens benchmark measures."
        return dict.fromkeys(("float32", "float16", "dynamic", "weights8", "int8"), unknown)
    vectors = features.vectors or "plain arithmetic"
    arm = (machine or platform.machine()) in _ARM
    return {
        "float32": f"Calculated with {vectors}.",
        "float16": "Half of float32's size, calculated as float32 and as fast"
        + (
            f"; {features.half_floats} is there, which pocketlens leaves unused for the sake of "
            "float32's answers."
            if features.half_floats
            else "."
        ),
        "dynamic": _bytes_note(features, arm, "two thirds"),
        "weights8": "A quarter of float32's size, calculated as float32 and as fast.",
        "int8": _bytes_note(features, arm, "half"),
    }


def _bytes_note(features: CpuFeatures, arm: bool, share: str) -> str:
    if features.dot_products in ("AVX-512 VNNI", "AVX-VNNI"):
        return (
            f"Calculated in bytes with {features.dot_products}: about {share} of float32's time, "
            "as measured with AVX-512 VNNI."
        )
    if features.dot_products:
        return f"Calculated in bytes with {features.dot_products}, which float32 has nothing like."
    lacking = "dotprod" if arm else "VNNI"
    return (
        f"Calculated in bytes, but without {lacking}, so that it gains less than the table of the "
        "README shows: pocketlens benchmark measures it."
    )


def _first(table: Mapping[str, set[str]], flags: set[str]) -> str:
    return next((name for name, needed in table.items() if needed <= flags), "")
