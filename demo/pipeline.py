"""The full pipeline: cards, images, training, conversion, benchmark, video, and a page."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import cv2

from pocketlens.benchmarks import Benchmark, benchmark, find_verdict
from pocketlens.benchmarks import Settings as TimingSettings
from pocketlens.benchmarks.page import write_report
from pocketlens.benchmarks.page_charts import choice, write_plot
from pocketlens.choices import UNKNOWN_OFF
from pocketlens.convert import Demands, convert
from pocketlens.demo.video import UNSURE, write_video
from pocketlens.files import staged_folder, write_text
from pocketlens.report.html import render
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.live.capture.opening import open_capture
from pocketlens.runtime.live.frames import FrameResult
from pocketlens.runtime.live.loop import classify_source
from pocketlens.runtime.live.sinks.recording import Recorder
from pocketlens.runtime.live.sources import SourceRequest
from pocketlens.runtime.pictures import Pixels
from pocketlens.synthetic.cards import LABELS, write_cards
from pocketlens.synthetic.scenes import Images, render_many
from pocketlens.train import Settings, Training, train
from pocketlens.workers import map_ahead

LOGGER = logging.getLogger("pocketlens")

INDEX_NAME = "index.html"
NAME = "cards"
SIZE_WH = (96, 96)
# Every split has seeds of its own, so that no image is in two of them.
_VAL_SEED, _TEST_SEED, _VIDEO_SEED, _FIRST_TRAIN_SEED = 1, 2, 3, 1000
# How many frames of the video the page shows.
_FRAMES = 12


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
    comparison: Benchmark
    video_accuracy: float
    video_fps: float
    seconds: float


def demo(out: Path, *, seed: int = 0, overwrite: bool = False, scale: Scale | None = None) -> Demo:
    """Run the full pipeline on synthetic images.

    Args:
        out: the folder to make; it is there when everything in it is.
        seed: of the training; other seeds give other images.
        overwrite: replace an earlier demo.
        scale: how much of everything.

    Raises:
        OutputExistsError: the folder exists and is not to be, or must not be, replaced.
        OutputError: it cannot be written.
    """
    scale = scale or Scale()
    started = time.perf_counter()
    with staged_folder(out, overwrite=overwrite, marker=INDEX_NAME) as folder:
        LOGGER.info("1/6  Drawing the cards and rendering images of them …")
        write_cards(folder / "printables")
        photos = folder / "photos"
        _write_images(photos / "train", scale.train, _FIRST_TRAIN_SEED + seed)
        _write_images(photos / "val", scale.val, _VAL_SEED)
        _write_images(photos / "test", scale.test, _TEST_SEED)
        LOGGER.info("2/6  Training MobileNetV2 from scratch, new images in every epoch …")
        training = _train(folder, scale, seed)
        LOGGER.info("3/6  Converting to five formats …")
        # A demo ends with files to look at, and says what each loses.
        files = convert(folder / NAME, folder / "models", demands=Demands(force=True))
        LOGGER.info("4/6  Comparing them on %d test images …", scale.test)
        paths = [file.path for file in files]
        comparison = benchmark(paths, data=folder / NAME, settings=scale.timing)
        write_report(comparison, folder / "benchmark", overwrite=False)
        write_plot(comparison, folder / "benchmark.png")
        LOGGER.info("5/6  Classifying a video, frame by frame …")
        best = find_verdict(comparison).file
        model = next(file.path for file in comparison.files if file.name == best)
        accuracy, fps = _classify_video(folder, model, scale.video_seconds)
        LOGGER.info("6/6  Writing the page …")
        seconds = time.perf_counter() - started
        result = Demo(out, training, comparison, accuracy, fps, seconds)
        write_text(folder / INDEX_NAME, _index_page(result, folder))
    return result


def _write_images(folder: Path, number: int, seed: int) -> None:
    for label in LABELS:
        (folder / label).mkdir(parents=True)
    images, labels = render_many(number, seed, SIZE_WH)
    for index, (image, label_index) in enumerate(zip(images, labels, strict=True)):
        path = folder / LABELS[label_index] / f"{index:05}.png"
        # Little compression: writing and reading 3,000 files counts, 60 MB do not.
        png = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
        path.write_bytes(png.tobytes())


def _train(folder: Path, scale: Scale, seed: int) -> Training:
    settings = Settings(
        alpha=0.35,
        image_size=SIZE_WH[0],
        weights="none",
        seed=seed,
        fine_tune_epochs=scale.epochs,
        grid_epochs=scale.grid_epochs,
        dropout=0.1,
        # Scenes without a card are a class like the cards: as many are drawn as it needs.
        unknown=UNKNOWN_OFF,
    )
    with closing(_new_images(scale.train, _FIRST_TRAIN_SEED + seed + 1)) as sets:
        return train(folder / "photos", folder / NAME, settings, pictures=lambda _: next(sets))


def _new_images(number: int, first_seed: int) -> Generator[Images, None, None]:
    """Images for one epoch after the other, rendered while the ones before are trained on."""
    yield from map_ahead(lambda seed: render_many(number, seed, SIZE_WH), count(first_seed), 1, 1)


class _Recorder(Recorder):
    """Records the labelled video, keeps the results, and every `step`-th frame as a picture."""

    def __init__(self, folder: Path, step: int) -> None:
        # The folder has another name when the demo is done.
        super().__init__(folder / "video_labelled.mp4", told=False)
        self.results: list[FrameResult] = []
        self._folder, self._step = folder, step

    def result(self, frame_bgr: Pixels, result: FrameResult) -> None:
        super().result(frame_bgr, result)
        self.results.append(result)
        if result.number % self._step == self._step // 2:
            name = f"{result.time_s:04.1f}s.jpg"
            (self._folder / "frames" / name).write_bytes(
                cv2.imencode(".jpg", frame_bgr)[1].tobytes()
            )


def _classify_video(folder: Path, model: Path, seconds: float) -> tuple[float, float]:
    """Label the video and return the share of frames with the right label, and frames a second."""
    video = folder / "video.mp4"
    truth = write_video(video, _VIDEO_SEED, seconds)
    (folder / "frames").mkdir()
    recorder = _Recorder(folder, len(truth) // _FRAMES)
    with (
        Classifier(model, top_k=3) as classifier,
        closing(open_capture(SourceRequest(str(video)))) as capture,
    ):
        summary = classify_source(classifier, capture, sinks=[recorder])
    results = recorder.results
    lines = [json.dumps(result.to_dict()) + "\n" for result in results]
    write_text(folder / "video.jsonl", "".join(lines))
    right = [
        result.categories[0].label == label
        for result, label in zip(results, truth, strict=True)
        if label != UNSURE
    ]
    return sum(right) / len(right), summary.fps


def _index_page(result: Demo, folder: Path) -> str:
    """The page that shows everything in the folder; its links are relative to it."""
    verdict = find_verdict(result.comparison)
    return render(
        "demo.html",
        title="pocketlens: the demo",
        minutes=result.seconds / 60,
        accuracy=result.training.result.accuracy,
        count=result.training.result.count,
        run=result.training.card.name,
        out=result.folder,
        best=f"{result.folder}/models/{verdict.file}",
        verdict=verdict.sentence,
        choice=choice(result.comparison),
        fps=result.video_fps,
        video_accuracy=result.video_accuracy,
        cards=_pictures(folder, "printables/*.png"),
        photos=_pictures(folder, "photos/test/*/000[0-2]?.png"),
        frames=_pictures(folder, "frames/*.jpg"),
    )


def _pictures(folder: Path, pattern: str) -> list[tuple[str, str]]:
    """Return the names and captions of all pictures in the folder whose names match."""
    return [
        (
            path.relative_to(folder).as_posix(),
            path.parent.name if path.stem.isdigit() else path.stem.replace("_", " "),
        )
        for path in sorted(folder.glob(pattern))
    ]
