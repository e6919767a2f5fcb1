"""`demo`: cards and pictures, training, conversion, benchmark, video, and a page that shows it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pocketlens.benchmarks import Benchmark, benchmark
from pocketlens.benchmarks import Settings as TimingSettings
from pocketlens.benchmarks.page_charts import choice
from pocketlens.benchmarks.payload import to_payload
from pocketlens.benchmarks.recommendation import choose
from pocketlens.convert import ConvertedFile, Demands, convert
from pocketlens.demo.cards import LABELS, write_cards
from pocketlens.demo.scenes import render_many
from pocketlens.demo.showcase import write_page
from pocketlens.demo.video import UNSURE, write_video
from pocketlens.files import staged_folder, write_json, write_text
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.live.capture.opening import open_capture
from pocketlens.runtime.live.loop import FrameResult, classify_source
from pocketlens.runtime.live.sinks.recording import Recording, labelled_recorder
from pocketlens.runtime.live.sources import SourceRequest
from pocketlens.runtime.pictures import Pixels
from pocketlens.train import Settings, Training, train

LOGGER = logging.getLogger("pocketlens")

INDEX_NAME = "index.html"
NAME = "cards"
SIZE = 96
# Every part of the data has seeds of its own, so that no picture is in two of them.
_VAL_SEED, _TEST_SEED, _VIDEO_SEED, _FIRST_TRAIN_SEED = 1, 2, 3, 1000


@dataclass(frozen=True)
class Scale:
    """How much of everything the demo makes."""

    train: int = 2100
    val: int = 350
    test: int = 700
    epochs: int = 16
    grid_epochs: int = 3
    video_seconds: float = 10.0
    timing: TimingSettings = field(default_factory=TimingSettings)


@dataclass(frozen=True)
class Demo:
    """What the demo has made. `video_accuracy` is the share of frames with the right label."""

    folder: Path
    training: Training
    files: Sequence[ConvertedFile]
    comparison: Benchmark
    video_accuracy: float
    video_fps: float
    seconds: float


def demo(out: Path, *, seed: int = 0, overwrite: bool = False, scale: Scale | None = None) -> Demo:
    """Walk the whole road on rendered pictures.

    Args:
        out: the folder to make; it is there when everything in it is.
        seed: of the training; pictures of other seeds are other pictures.
        overwrite: replace an earlier demo.
        scale: how much of everything.

    Raises:
        OutputExistsError: the folder exists and is not to be, or must not be, replaced.
        OutputError: it cannot be written.
    """
    scale = scale or Scale()
    started = time.perf_counter()
    with staged_folder(out, overwrite=overwrite, marker=INDEX_NAME) as folder:
        LOGGER.info("1/6  Drawing the cards and rendering pictures of them …")
        write_cards(folder / "printables")
        photos = folder / "photos"
        for part, count, part_seed in (
            ("train", scale.train, _FIRST_TRAIN_SEED + seed),
            ("val", scale.val, _VAL_SEED),
            ("test", scale.test, _TEST_SEED),
        ):
            _write_pictures(photos / part, count, part_seed)
        LOGGER.info("2/6  Training MobileNetV2 from scratch, new pictures in every epoch …")
        settings = Settings(
            alpha=0.35,
            image_size=SIZE,
            weights="none",
            seed=seed,
            fine_tune_epochs=scale.epochs,
            grid_epochs=scale.grid_epochs,
            dropout=0.1,
        )
        with _fresh_pictures(scale.train, _FIRST_TRAIN_SEED + seed) as pictures:
            training = train(photos, folder / NAME, settings, pictures=pictures)
        LOGGER.info("3/6  Converting to five formats …")
        models = folder / "models"
        # A demo ends with files to look at, and says what each loses.
        files = convert(folder / NAME, models, demands=Demands(force=True))
        LOGGER.info("4/6  Comparing them on %d test pictures …", scale.test)
        comparison = benchmark(
            [file.path for file in files], data=folder / NAME, settings=scale.timing
        )
        write_json(folder / "benchmark.json", to_payload(comparison))
        choice(comparison).write(folder / "benchmark.png")
        LOGGER.info("5/6  Classifying a video, frame by frame …")
        best = choose(comparison)[0].path
        accuracy, fps = _classify_video(folder, best, scale.video_seconds)
        LOGGER.info("6/6  Writing the page …")
        result = Demo(
            out, training, files, comparison, accuracy, fps, time.perf_counter() - started
        )
        write_page(folder / INDEX_NAME, result, best.name)
    return result


def _write_pictures(folder: Path, count: int, seed: int) -> None:
    pixels, labels = render_many(count, seed, (SIZE, SIZE))
    for label in LABELS:
        (folder / label).mkdir(parents=True)
    for index, (picture, label_index) in enumerate(zip(pixels, labels, strict=True)):
        path = folder / LABELS[label_index] / f"{index:05}.png"
        # Little compression: writing and reading 3,000 files counts, 60 MB do not.
        cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])


@contextmanager
def _fresh_pictures(count: int, seed: int) -> Iterator[_FreshPictures]:
    with ThreadPoolExecutor(1) as worker:
        yield _FreshPictures(worker, count, seed)


class _FreshPictures:
    """New pictures for every epoch, each set rendered while the one before is trained on."""

    def __init__(self, worker: ThreadPoolExecutor, count: int, seed: int) -> None:
        self._worker = worker
        self._count = count
        self._seed = seed
        # The labels of a run are sorted by name, as its folders are.
        self._order = np.array([sorted(LABELS).index(label) for label in LABELS])
        self._next = self._start()

    def __call__(self, epoch: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the next pictures; the number of the epoch within its phase does not matter."""
        del epoch
        pixels, labels = self._next.result()
        self._next = self._start()
        return pixels, self._order[labels]

    def _start(self) -> Future[tuple[Pixels, NDArray[np.int64]]]:
        self._seed += 1
        return self._worker.submit(render_many, self._count, self._seed, (SIZE, SIZE))


def _classify_video(folder: Path, model: Path, seconds: float) -> tuple[float, float]:
    """Label the video and return the share of frames with the right label, and frames a second."""
    video = folder / "video.mp4"
    truth = write_video(video, _VIDEO_SEED, seconds)
    results: list[FrameResult] = []
    with (
        Classifier(model, top_k=3) as classifier,
        closing(open_capture(SourceRequest(str(video)))) as capture,
        Recording(folder / "video_labelled.mp4", capture.fps) as recording,
    ):
        summary = classify_source(
            classifier,
            capture,
            observers=[lambda _frame, result: results.append(result)],
            recorder=labelled_recorder(recording, live=False),
        )
    lines = [json.dumps(result.to_dict()) + "\n" for result in results]
    write_text(folder / "video.jsonl", "".join(lines))
    right = [
        result.categories[0].label == label
        for result, label in zip(results, truth, strict=True)
        if label != UNSURE
    ]
    return sum(right) / len(right), summary.fps
