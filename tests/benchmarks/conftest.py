"""Hand-made figures for the tests of what is said about them."""

from pathlib import Path

import pytest

from pocketlens.benchmarks import (
    Accuracy,
    Benchmark,
    FileResult,
    Footprint,
    Latency,
    Settings,
    Spread,
)
from pocketlens.benchmarks.machine import Condition, Machine
from pocketlens.benchmarks.results import Yardstick
from pocketlens.benchmarks.spread import Histogram
from pocketlens.runtime.classifier import Timing

MACHINE = Machine(
    cpu="Test CPU",
    architecture="x86_64",
    system="Linux 6",
    cores=4,
    features=("AVX2 with FMA",),
    memory_bytes=4_000_000_000,
    governor=None,
    emulator=None,
    python="3.11.0",
    numpy="2.0.0",
    opencv="4.10.0",
    interpreter="ai-edge-litert 2.0",
    pocketlens="0.1.0",
    before=Condition(0.1, 45.0),
    after=Condition(0.0, 61.4),
)


def _spread(median_ms):
    return Spread(
        first_ms=median_ms * 3,
        min_ms=median_ms * 0.9,
        median_ms=median_ms,
        p90_ms=median_ms * 1.1,
        p95_ms=median_ms * 1.2,
        p99_ms=median_ms * 1.3,
        mean_ms=median_ms,
        std_ms=median_ms * 0.1,
        runs=50,
        processes=10,
        median_interval_ms=(median_ms * 0.99, median_ms * 1.01),
    )


@pytest.fixture
def made_up():
    """Return a function that makes a Benchmark of (format, MB, correct of 1000, {threads: ms})."""

    def make(*files, reference=0, photos=1000, names=None, flips=None):
        reference_ms = files[reference][3]
        results = []
        for position, (kind, size_mb, correct, times_ms) in enumerate(files):
            latencies = tuple(
                Latency(
                    threads,
                    _spread(ms * 0.9),
                    _spread(ms),
                    Timing(ms * 0.08, ms * 0.9, ms * 0.02),
                    ms / reference_ms[threads],
                    ms / reference_ms[threads],
                    yardstick=Yardstick(ms, (ms * 0.99, ms * 1.01), ms * 0.9),
                    histogram=Histogram(
                        ms * 0.94, ms * 1.14, tuple(5 * (bin_ % 3 == 1) for bin_ in range(30))
                    ),
                )
                for threads, ms in times_ms.items()
            )
            name = names[position] if names else f"{kind or 'file'}{position}.tflite"
            results.append(
                FileResult(
                    name=name,
                    path=Path("models") / name,
                    format=kind,
                    size_bytes=round(size_mb * 1e6),
                    input_size_wh=(224, 224),
                    partitions=1,
                    macs=300_000_000,
                    parameters=3_500_000,
                    footprint=Footprint(30.0, 5.0, 60_000_000, 9_000_000, 12_000_000, 72_000_000),
                    accuracy=None
                    if correct is None
                    else Accuracy(
                        correct,
                        photos,
                        agreement=0.99,
                        micro_f1=correct / photos,
                        macro_f1=correct / photos,
                        macro_f1_interval=(correct / photos - 0.02, correct / photos + 0.02),
                        flips=None if position == reference else flips,
                    ),
                    latencies=latencies,
                )
            )
        return Benchmark(tuple(results), reference, MACHINE, Settings())

    return make
