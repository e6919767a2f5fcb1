"""The full pipeline: cards, images, training, conversion, benchmark, video, and a page."""

from __future__ import annotations

import html
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
from pocketlens.benchmarks.plot import write_plot
from pocketlens.convert import Demands, convert
from pocketlens.demo.cards import LABELS, write_cards
from pocketlens.demo.scenes import Images, render_many
from pocketlens.demo.video import UNSURE, write_video
from pocketlens.files import staged_folder, write_text
from pocketlens.lookahead import map_ahead
from pocketlens.page import page
from pocketlens.runtime.capture.captures import open_capture
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.live.loop import FrameResult, classify_source
from pocketlens.runtime.live.recording import Recording, labelled_recorder
from pocketlens.runtime.pictures import Pixels
from pocketlens.runtime.sources import SourceRequest
from pocketlens.train import Settings, Training, train

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
        cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])


def _train(folder: Path, scale: Scale, seed: int) -> Training:
    settings = Settings(
        alpha=0.35,
        image_size=SIZE_WH[0],
        weights="none",
        seed=seed,
        fine_tune_epochs=scale.epochs,
        grid_epochs=scale.grid_epochs,
        dropout=0.1,
    )
    with closing(_new_images(scale.train, _FIRST_TRAIN_SEED + seed + 1)) as sets:
        return train(folder / "photos", folder / NAME, settings, pictures=lambda _: next(sets))


def _new_images(number: int, first_seed: int) -> Generator[Images, None, None]:
    """Images for one epoch after the other, rendered while the ones before are trained on."""
    yield from map_ahead(lambda seed: render_many(number, seed, SIZE_WH), count(first_seed), 1, 1)


def _classify_video(folder: Path, model: Path, seconds: float) -> tuple[float, float]:
    """Label the video and return the share of frames with the right label, and frames a second."""
    video = folder / "video.mp4"
    truth = write_video(video, _VIDEO_SEED, seconds)
    results: list[FrameResult] = []
    (folder / "frames").mkdir()

    def keep_some(frame_bgr: Pixels, result: FrameResult) -> None:
        step = len(truth) // _FRAMES
        if result.number % step == step // 2:
            cv2.imwrite(str(folder / "frames" / f"{result.time_s:04.1f}s.jpg"), frame_bgr)

    with (
        Classifier(model, top_k=3) as classifier,
        closing(open_capture(SourceRequest(str(video)))) as capture,
        Recording(folder / "video_labelled.mp4", capture.fps) as recording,
    ):
        summary = classify_source(
            classifier,
            capture,
            observers=[lambda _frame, result: results.append(result)],
            recorder=labelled_recorder(recording, live=False, events=keep_some),
        )
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
    test = result.training.test
    verdict = find_verdict(result.comparison)
    run = result.training.card.name
    out = html.escape(str(result.folder))
    best = f"{out}/models/{html.escape(verdict.file)}"
    body = f"""
<p class="lead">A MobileNetV2 learned six cards in {result.seconds / 60:.1f} minutes on this
machine, all steps included. It classifies <strong>{test.accuracy:.1%}</strong> of {test.count}
test images correctly.</p>
<p>The images are <b>synthetic</b>: cards drawn by a program, in random perspective, light and
blur, over drawn backgrounds. They show that the full pipeline works, not how accurate a model is
on your own photos.</p>

<h2>Try it with your camera</h2>
<p>Print a card from <a href="printables/">printables/</a> in colour (or show it on a phone), hold
it up to the camera so that it fills about half of the picture, and run</p>
<pre>pocketlens live {best} --source 0 --record me.mp4</pre>
<div class="row">{_figures(folder, "printables/*.png")}</div>

<h2>Training images</h2>
<p>Every epoch has new ones; these are from the test split.</p>
<div class="row">{_figures(folder, "photos/test/*/000[0-2]?.png")}</div>

<h2>Training</h2>
<img src="{run}/report/accuracy.png" alt="Accuracy over the epochs">
<img src="{run}/report/confusion.png" alt="Confusion matrix on the test split">
<p>More in the <a href="{run}/report/index.html">training report</a>.</p>

<h2>Five formats</h2>
<p class="lead">{html.escape(verdict.sentence)}</p>
<img src="benchmark.png" alt="Accuracy against latency, circles as large as the files">
<p>All figures are in the <a href="benchmark/index.html">benchmark report</a>.</p>

<h2>Video</h2>
<p>Cards come and go, and every frame is labelled, at {result.video_fps:.0f} frames a second:
{result.video_accuracy:.1%} of the frames with a clear answer are right.
<a href="video_labelled.mp4">video_labelled.mp4</a> ·
<a href="video.mp4">without labels</a> · <a href="video.jsonl">every frame's scores</a></p>
<div class="row">{_figures(folder, "frames/*.jpg")}</div>

<h2>Next steps</h2>
<pre>pocketlens classify {best} photo.jpg
pocketlens live {best} --source 0
pocketlens benchmark {out}/models/*.tflite --data {out}/{run} --threads 1,2</pre>
"""
    return page("pocketlens: the demo", body)


def _figures(folder: Path, pattern: str) -> str:
    """HTML of all pictures in the folder whose names match."""
    figures = []
    for path in sorted(folder.glob(pattern)):
        name = path.relative_to(folder).as_posix()
        caption = path.parent.name if path.stem.isdigit() else path.stem.replace("_", " ")
        figures.append(
            f'<figure><img src="{name}" alt="{caption}" loading="lazy">'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    return "".join(figures)
