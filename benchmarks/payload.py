"""Benchmarks and recommendations as JSON, and back."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pocketlens.benchmarks.candidates import LeftOut
from pocketlens.benchmarks.latency import Settings
from pocketlens.benchmarks.machine import Machine
from pocketlens.benchmarks.recommendation import (
    ACCURACY_MARGIN,
    SAME_SPEED,
    Limits,
    Option,
    Recommendation,
    find_verdict,
    recommend,
)
from pocketlens.benchmarks.report import explain
from pocketlens.benchmarks.results import Benchmark, FileResult, Latency
from pocketlens.benchmarks.spread import Spread
from pocketlens.benchmarks.sustained import Sustained
from pocketlens.choices import BINARY, MULTICLASS, MULTILABEL
from pocketlens.errors import UsageError
from pocketlens.evaluation.intervals import Interval
from pocketlens.evaluation.metrics import Accuracy
from pocketlens.report.records import DamagedError, from_json, not_written, read_json

SCHEMA_VERSION = 6
RECOMMENDATION_SCHEMA_VERSION = 1

_SHARES = {MULTICLASS: "top1", BINARY: "accuracy", MULTILABEL: "exact_match"}


def to_payload(benchmark: Benchmark) -> dict[str, Any]:
    """Return what `benchmark --json` writes, as plain JSON values.

    Its fields are listed in docs/reference/benchmark-json.md.
    """
    sustained = benchmark.sustained
    return {
        "schema_version": SCHEMA_VERSION,
        "machine": dataclasses.asdict(benchmark.machine),
        "warnings": list(benchmark.warnings),
        "seen_photos": list(benchmark.seen_photos),
        "settings": dataclasses.asdict(benchmark.settings),
        "reference": benchmark.reference.name,
        "task": benchmark.task,
        "photos": benchmark.photos,
        "skipped_photos": benchmark.skipped,
        "rule": {"accuracy_margin": ACCURACY_MARGIN, "same_speed": SAME_SPEED},
        "left_out": [
            {"name": entry.name, "path": str(entry.path), "reason": entry.reason}
            for entry in benchmark.left_out
        ],
        "files": [_file(file, benchmark.task) for file in benchmark.files],
        "sustained": sustained
        and {
            **dataclasses.asdict(sustained),
            "first_ms": sustained.first_ms,
            "last_ms": sustained.last_ms,
            "slowdown": sustained.slowdown,
        },
        "verdict": dataclasses.asdict(find_verdict(benchmark)),
    }


def accuracy_payload(accuracy: Accuracy | None, task: str) -> dict[str, Any] | None:
    """Return what `--json` says of a file's accuracy: docs/reference/benchmark-json.md."""
    if accuracy is None:
        return None
    # Whatever the record has; only these have names of their own.
    values = dataclasses.asdict(accuracy)
    flips = accuracy.flips
    del values["in_top5"]
    if task != MULTILABEL:
        del values["micro_f1"]
    return {
        _SHARES[task]: accuracy.share,
        "interval_95": accuracy.interval,
        "top5": accuracy.top5,
        "top5_interval_95": accuracy.top5_interval,
        **{re.sub("_interval$", "_interval_95", name): value for name, value in values.items()},
        "flips": flips and {**values["flips"], "is_noise": flips.is_noise},
    }


def recommendation_payload(found: Recommendation) -> dict[str, Any]:
    """Return what `recommend --json` writes: docs/reference/recommend-json.md."""
    return {
        "schema_version": RECOMMENDATION_SCHEMA_VERSION,
        "limits": dataclasses.asdict(found.limits),
        "take": _option(found.take),
        "runner_up": _option(found.runner_up),
        "nearest": _option(found.nearest),
        "sentences": list(explain(found)),
        "options": [_option(option) for option in found.options],
        "benchmark": to_payload(found.benchmark),
    }


def read_benchmark(path: str | Path) -> Benchmark:
    """Read the JSON of an earlier benchmark.

    Raises:
        UsageError: it cannot be read, is something else, is damaged, or has another version.
    """
    return parse_benchmark(read_json(path, "pocketlens benchmark"), str(path))


def parse_benchmark(payload: Any, name: str = "a record") -> Benchmark:
    """Return the benchmark that `to_payload` made JSON of.

    Args:
        payload: the JSON values.
        name: what to call them in errors.

    Raises:
        UsageError: see `read_benchmark`.
    """
    if not isinstance(payload, dict) or not {"schema_version", "files", "machine"} <= set(payload):
        raise not_written("pocketlens benchmark", name, "other JSON")
    if payload["schema_version"] != SCHEMA_VERSION:
        raise UsageError(
            f"Expected a benchmark of schema_version {SCHEMA_VERSION}. Received: {name} of version "
            f"{payload['schema_version']!r}. Measure again with this pocketlens."
        )
    try:
        return _benchmark(payload)
    except DamagedError as error:
        raise UsageError(
            f"Expected a whole benchmark in {name}. Received: nothing usable at {error}. "
            "Measure again."
        ) from None


def parse_recommendation(payload: dict[str, Any], name: str) -> Recommendation:
    """Return the recommendation that `recommendation_payload` made JSON of.

    Raises:
        UsageError: see `read_benchmark`.
    """
    benchmark = parse_benchmark(payload.get("benchmark"), name)
    try:
        return recommend(benchmark, from_json(Limits, payload.get("limits"), "limits"))
    except DamagedError as error:
        raise not_written("pocketlens recommend", name, f"nothing usable at {error}") from None


def _file(file: FileResult, task: str) -> dict[str, Any]:
    memory = dataclasses.asdict(file.footprint)
    load_ms, first_ms = memory.pop("load_ms"), memory.pop("first_ms")
    return {
        "name": file.name,
        "path": str(file.path),
        "format": file.format,
        "size_bytes": file.size_bytes,
        "input_size_wh": list(file.input_size_wh),
        "partitions": file.partitions,
        "macs": file.macs,
        "parameters": file.parameters,
        "load_ms": load_ms,
        "first_ms": first_ms,
        "memory": memory,
        "accuracy": accuracy_payload(file.accuracy, task),
        "answer_pairs": file.answer_pairs
        and [dataclasses.asdict(pair) for pair in file.answer_pairs],
        "stages": file.stages and [dataclasses.asdict(stage) for stage in file.stages],
        "latencies": [
            {
                "threads": entry.threads,
                "invoke": _timing(entry.invoke, entry.invoke_ratio, entry.invoke_ratio_interval),
                "classify": _timing(
                    entry.classify, entry.classify_ratio, entry.classify_ratio_interval
                ),
                "histogram": entry.histogram and dataclasses.asdict(entry.histogram),
                "parts": entry.parts._asdict(),
                "yardstick": entry.yardstick and dataclasses.asdict(entry.yardstick),
            }
            for entry in file.latencies
        ],
    }


def _timing(spread: Spread, ratio: float, interval: Interval | None) -> dict[str, Any]:
    return {**dataclasses.asdict(spread), "ratio": ratio, "ratio_interval": interval}


def _option(option: Option | None) -> dict[str, Any] | None:
    if option is None:
        return None
    path = option.row[0].path
    return {
        "file": option.name,
        "path": str(path) if path.is_file() else None,
        "format": option.row[0].format,
        "threads": option.threads,
        "latency_ms": option.latency_ms,
        "size_bytes": option.row[0].size_bytes,
        "accuracy": option.accuracy,
        "drop": option.drop,
        "misses": list(option.misses),
        "on_front": option.on_front,
    }


def _benchmark(payload: dict[str, Any]) -> Benchmark:
    task = from_json(str, payload.get("task"), "task")
    if task not in _SHARES:
        raise DamagedError("task")
    files = tuple(_read_files(payload["files"], task))
    names = [file.name for file in files]
    if payload.get("reference") not in names:
        raise DamagedError("reference")
    counts = [entry.threads for entry in files[0].latencies]
    if any([entry.threads for entry in file.latencies] != counts for file in files):
        raise DamagedError("files[].latencies[].threads")
    machine = from_json(Machine, payload["machine"], "machine")
    if machine.cores < 1:
        raise DamagedError("machine.cores")
    return Benchmark(
        files=files,
        reference_index=names.index(payload["reference"]),
        machine=machine,
        settings=from_json(Settings, payload.get("settings"), "settings"),
        skipped=from_json(int, payload.get("skipped_photos"), "skipped_photos"),
        task=task,
        left_out=from_json(tuple[LeftOut, ...], payload.get("left_out"), "left_out"),
        sustained=from_json(Sustained, payload["sustained"], "sustained")
        if payload.get("sustained")
        else None,
        seen_photos=from_json(tuple[str, ...], payload.get("seen_photos", []), "seen_photos"),
    )


def _read_files(entries: Any, task: str) -> Iterator[FileResult]:
    if not isinstance(entries, list) or not entries:
        raise DamagedError("files")
    for number, entry in enumerate(entries):
        place = f"files[{number}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("memory"), dict):
            raise DamagedError(place)
        # As the records have it: what takes no time is no memory either.
        reshaped = {
            **entry,
            "footprint": {**entry, **entry["memory"]},
            "accuracy": _reshaped_accuracy(entry.get("accuracy"), task, f"{place}.accuracy"),
            "latencies": _reshaped_latencies(entry.get("latencies"), f"{place}.latencies"),
        }
        yield from_json(FileResult, reshaped, place)


def _reshaped_accuracy(values: Any, task: str, place: str) -> dict[str, Any] | None:
    if values is None:
        return None
    try:
        total, top5 = values["total"], values["top5"]
        if not 0 <= values["correct"] <= total or total == 0:
            raise DamagedError(place)
        return {
            "micro_f1": values["micro_f1"] if task == MULTILABEL else values[_SHARES[task]],
            **{name.removesuffix("_95"): value for name, value in values.items()},
            "in_top5": None if top5 is None else round(top5 * total),
        }
    except (KeyError, TypeError):
        raise DamagedError(place) from None


def _reshaped_latencies(entries: Any, place: str) -> list[dict[str, Any]]:
    if not isinstance(entries, list) or not entries:
        raise DamagedError(place)
    reshaped = []
    for number, entry in enumerate(entries):
        here = f"{place}[{number}]"
        if not isinstance(entry, dict):
            raise DamagedError(here)
        own = dict(entry)
        for call in ("invoke", "classify"):
            timing = entry.get(call)
            if not isinstance(timing, dict):
                raise DamagedError(f"{here}.{call}")
            own[f"{call}_ratio"] = timing.get("ratio")
            own[f"{call}_ratio_interval"] = timing.get("ratio_interval")
        _check(from_json(Latency, own, here), here)
        reshaped.append(own)
    return reshaped


def _check(latency: Latency, place: str) -> None:
    """Refuse times that nothing can be divided by, and intervals that are none."""
    yardstick = latency.yardstick
    factors = {
        "threads": latency.threads,
        "invoke.median_ms": latency.invoke.median_ms,
        "invoke.ratio": latency.invoke_ratio,
        "classify.median_ms": latency.classify.median_ms,
        "classify.ratio": latency.classify_ratio,
    }
    if yardstick:
        factors["yardstick.ratio"] = yardstick.ratio
        factors["yardstick.shortest_ratio"] = yardstick.shortest_ratio
        low, high = yardstick.interval or (1, 1)
        factors["yardstick.interval"] = low if low <= high else 0
    for name, value in factors.items():
        if value <= 0:
            raise DamagedError(f"{place}.{name}")
