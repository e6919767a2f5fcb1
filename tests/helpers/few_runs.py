"""Commands that time models, for tests that do not look at the times."""

from functools import partial

import pytest

from pocketlens.benchmarks.latency import Settings


def few_runs(monkeypatch: pytest.MonkeyPatch, num_runs: int) -> None:
    """Let commands in this process run each model `num_runs` times, and for no least time."""
    few = partial(Settings, num_runs=num_runs, min_secs=0)
    monkeypatch.setattr("pocketlens.benchmarks.benchmarking.Settings", few)
