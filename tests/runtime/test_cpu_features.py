"""What a processor has, and what that makes of each format."""

import pytest

from pocketlens.runtime.cpu_features import CpuFeatures, format_notes, read_cpu_features

# From the boards' own /proc/cpuinfo, shortened to what is looked at and its neighbours.
PI_3 = PI_4 = "Features\t: fp asimd evtstrm crc32 cpuid\n"
PI_5 = "Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid lrcpc asimddp\n"
GRAVITON = "Features\t: fp asimd fphp asimdhp asimddp sve asimdfhm i8mm bf16\n"
ZEN_5 = "flags\t\t: fpu sse2 avx fma avx2 avx512f avx512_vnni avx_vnni\n"
HASWELL = "flags\t\t: fpu sse2 avx fma avx2\n"
ATOM = "flags\t\t: fpu sse2 ssse3\n"
PI_2 = "Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4\n"


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
        pytest.param(CpuFeatures("AVX-512", "AVX-512 VNNI", ""), "x86_64", "about half", id="vnni"),
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
        "This system does not tell what its processor has: pocketlens benchmark measures."
    }
