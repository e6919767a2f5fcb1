"""What every file format costs on this machine: accuracy, latency, size and memory, side by side.

from pocketlens.benchmarks import benchmark, find_verdict

result = benchmark(["flowers_float32.tflite", "flowers_int8.tflite"], data="photos/")
print(find_verdict(result).sentence)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketlens.lazy import lazy_names

if TYPE_CHECKING:
    from pocketlens.benchmarks.accuracy import Accuracy, measure_accuracy
    from pocketlens.benchmarks.comparison import benchmark
    from pocketlens.benchmarks.flips import Flips
    from pocketlens.benchmarks.latency import Settings
    from pocketlens.benchmarks.memory import Footprint
    from pocketlens.benchmarks.recommendation import Limits, Option, Recommendation, recommend
    from pocketlens.benchmarks.results import Benchmark, FileResult, Latency
    from pocketlens.benchmarks.spread import Spread
    from pocketlens.benchmarks.verdict import Verdict, find_verdict

__all__ = [
    "Accuracy",
    "Benchmark",
    "FileResult",
    "Flips",
    "Footprint",
    "Latency",
    "Limits",
    "Option",
    "Recommendation",
    "Settings",
    "Spread",
    "Verdict",
    "benchmark",
    "find_verdict",
    "measure_accuracy",
    "recommend",
]

# The child process that measures memory imports this package too, so it has to weigh nothing.
__getattr__ = lazy_names(
    __name__,
    {
        "Accuracy": "accuracy",
        "measure_accuracy": "accuracy",
        "benchmark": "comparison",
        "Flips": "flips",
        "Settings": "latency",
        "Spread": "spread",
        "Footprint": "memory",
        "Limits": "recommendation",
        "Option": "recommendation",
        "Recommendation": "recommendation",
        "recommend": "recommendation",
        "Benchmark": "results",
        "FileResult": "results",
        "Latency": "results",
        "Verdict": "verdict",
        "find_verdict": "verdict",
    },
)
