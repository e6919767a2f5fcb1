"""What a benchmark found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pocketlens.benchmarks.candidates import LeftOut
from pocketlens.benchmarks.latency import Settings
from pocketlens.benchmarks.machine import Machine
from pocketlens.benchmarks.memory import Footprint
from pocketlens.benchmarks.spread import Histogram, Spread
from pocketlens.benchmarks.stages import Stage
from pocketlens.benchmarks.sustained import Sustained
from pocketlens.choices import BINARY, MULTICLASS, MULTILABEL
from pocketlens.evaluation.agreement import AnswerPair
from pocketlens.evaluation.intervals import Interval
from pocketlens.evaluation.metrics import Accuracy
from pocketlens.runtime.classifier import Timing

BYTES_PER_MB = 1_000_000


@dataclass(frozen=True)
class Yardstick:
    """The bare `invoke` in multiples of a fixed calculation's time, to compare runs by.

    `ratio` is found like a latency's, with its 95 % interval, None where the processes were too few
    for one; `shortest_ratio` is of the shortest runs of all.
    """

    ratio: float
    interval: Interval | None
    shortest_ratio: float


@dataclass(frozen=True)
class Latency:
    """How fast one file is with one number of threads.

    `invoke` is the interpreter alone, `classify` the whole way from a 1280x720 frame to labels,
    `parts` the medians of what that consists of. The ratios are to the
    reference with as many threads: of each process the median of its rounds' ratios, of these the
    geometric mean, each with the interval that holds it for another run with 95 %, None where the
    processes were too few for one.
    `histogram` is of the durations behind `classify`.
    """

    threads: int
    invoke: Spread
    classify: Spread
    parts: Timing
    invoke_ratio: float
    classify_ratio: float
    invoke_ratio_interval: Interval | None = None
    classify_ratio_interval: Interval | None = None
    yardstick: Yardstick | None = None
    histogram: Histogram | None = None


@dataclass(frozen=True)
class FileResult:
    """All figures of one file.

    `name` tells it from the other files. `format` is what its card says, None for a third-party
    file. `accuracy` is None where no pictures were given. `partitions` is how many XNNPACK runs it
    in; one is best. `macs` are its multiply-adds for a picture, `parameters` the
    numbers of its kernels and biases, as `runtime.operators` counts them. `answer_pairs` are its
    answers beside the reference's, None without pictures and for the reference itself; `stages` are
    what its operators take, None where that was not asked for.
    """

    name: str
    path: Path
    format: str | None
    size_bytes: int
    input_size_wh: tuple[int, int]
    partitions: int
    macs: int
    parameters: int
    footprint: Footprint
    accuracy: Accuracy | None
    latencies: tuple[Latency, ...]
    answer_pairs: tuple[AnswerPair, ...] | None = None
    stages: tuple[Stage, ...] | None = None

    @property
    def size_mb(self) -> float:
        """The file's size in MB, of 1,000,000 bytes."""
        return self.size_bytes / BYTES_PER_MB


@dataclass(frozen=True)
class Benchmark:
    """The figures of all files, in the order in which they were given.

    `reference_index` is the file that the others are compared with. `skipped` counts photos that
    could not be read. `task` is the reference's. `left_out` are files that could not be measured.
    `sustained` is None where it was not asked for. `seen_photos` says which files were trained or
    chosen on some of the photos, a sentence each.
    """

    files: tuple[FileResult, ...]
    reference_index: int
    machine: Machine
    settings: Settings
    skipped: int = 0
    task: str = MULTICLASS
    left_out: tuple[LeftOut, ...] = ()
    sustained: Sustained | None = None
    seen_photos: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the figures less certain, a sentence each."""
        return (*self.seen_photos, *self.machine.warnings)

    @property
    def reference(self) -> FileResult:
        """The file that the others are compared with."""
        return self.files[self.reference_index]

    @property
    def reference_name(self) -> str:
        """What to call the reference: "float32", or the file's name where it is something else."""
        return "float32" if self.reference.format == "float32" else self.reference.name

    @property
    def measure(self) -> str:
        """What the share of right answers is called for the task."""
        return {MULTICLASS: "top-1", BINARY: "accuracy", MULTILABEL: "exact match"}[self.task]

    @property
    def short_names(self) -> list[str]:
        """What charts call the files: their formats where these tell them apart."""
        formats = [file.format for file in self.files]
        if len(set(formats)) == len(formats) and all(formats):
            return [str(entry) for entry in formats]
        return [file.name.removesuffix(".tflite") for file in self.files]

    @property
    def photos(self) -> int:
        """How many pictures the accuracy was measured on."""
        return self.reference.accuracy.total if self.reference.accuracy else 0
