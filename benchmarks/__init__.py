"""What every file format costs on this machine: accuracy, latency, size and memory, side by side.

from pocketlens.benchmarks import benchmark, find_verdict

result = benchmark(["flowers_float32.tflite", "flowers_int8.tflite"], data="photos/")
print(find_verdict(result).sentence)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketlens.imports import lazy_names

if TYPE_CHECKING:
    from pocketlens.benchmarks.benchmarking import benchmark
    from pocketlens.benchmarks.costs import compare_with_costs
    from pocketlens.benchmarks.evaluations import measure_accuracy
    from pocketlens.benchmarks.latency import Settings
    from pocketlens.benchmarks.memory import Footprint
    from pocketlens.benchmarks.recommendation import (
        Limits,
        Option,
        Recommendation,
        Verdict,
        find_verdict,
        recommend,
    )
    from pocketlens.benchmarks.results import Benchmark, FileResult, Latency
    from pocketlens.benchmarks.spread import Spread
    from pocketlens.evaluation.agreement import Flips
    from pocketlens.evaluation.metrics import Accuracy

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
    "compare_with_costs",
    "find_verdict",
    "measure_accuracy",
    "recommend",
]

# The child process that measures memory imports this package too, so it has to weigh nothing.
__getattr__ = lazy_names(
    __name__,
    {
        "Accuracy": "pocketlens.evaluation.metrics",
        "measure_accuracy": "pocketlens.benchmarks.evaluations",
        "benchmark": "pocketlens.benchmarks.benchmarking",
        "compare_with_costs": "pocketlens.benchmarks.costs",
        "Flips": "pocketlens.evaluation.agreement",
        "Settings": "pocketlens.benchmarks.latency",
        "Spread": "pocketlens.benchmarks.spread",
        "Footprint": "pocketlens.benchmarks.memory",
        "Limits": "pocketlens.benchmarks.recommendation",
        "Option": "pocketlens.benchmarks.recommendation",
        "Recommendation": "pocketlens.benchmarks.recommendation",
        "recommend": "pocketlens.benchmarks.recommendation",
        "Benchmark": "pocketlens.benchmarks.results",
        "FileResult": "pocketlens.benchmarks.results",
        "Latency": "pocketlens.benchmarks.results",
        "Verdict": "pocketlens.benchmarks.recommendation",
        "find_verdict": "pocketlens.benchmarks.recommendation",
    },
)
