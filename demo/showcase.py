"""The demo's `index.html`: everything that was made, to be looked at in a browser."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from pocketlens.benchmarks import find_verdict
from pocketlens.demo.cards import LABELS, NOTHING
from pocketlens.files import write_text
from pocketlens.report.html import page

if TYPE_CHECKING:
    from pocketlens.demo.road import Demo

_FRAMES = 12
_PICTURES_A_CLASS = 4


def write_page(path: Path, result: Demo, best_name: str) -> None:
    """Write the page into the folder that holds everything else.

    Args:
        path: the page; the links on it are relative to its folder.
        result: what the demo has made.
        best_name: name of the model file to go on with.
    """
    folder = path.parent
    frames = _write_frames(folder)
    test = result.training.test
    verdict = find_verdict(result.comparison).sentence
    best = html.escape(f"{result.folder}/models/{best_name}")
    run = html.escape(f"{result.folder}/{result.training.card.name}")
    cards = [(f"printables/{label}.png", label) for label in LABELS if label != NOTHING]
    models = html.escape(f"{result.folder}/models/*.tflite")
    body = f"""
<p class="lead">A MobileNetV2 learned six cards in {result.seconds / 60:.1f} minutes on this
machine, all steps included, and recognises <strong>{test.accuracy:.1%}</strong> of {test.count}
pictures that no training saw.</p>
<p>The pictures are <b>rendered</b>, not photographed: cards drawn by a program, seen in random
perspective, light and blur, over drawn backgrounds. They show that the road works, not how good
a model is on your own photos.</p>

<h2>Try it with your camera</h2>
<p>Print a card from <a href="printables/">printables/</a> in colour (or show it on a phone), hold
it up to the camera so that it fills about half of the picture, and run</p>
<pre>pocketlens live {best} --source 0 --record me.mp4</pre>
<div class="row">{_figures(cards)}</div>

<h2>What it learned from</h2>
<p>New pictures in every epoch; these are some of the test part.</p>
<div class="row">{_figures(_pictures(folder))}</div>

<h2>How training went</h2>
<img src="{result.training.card.name}/report/accuracy.png" alt="Accuracy over the epochs">
<h2>What it confuses</h2>
<img src="{result.training.card.name}/report/confusion.png" alt="Confusion matrix on the test part">
<p>More in the <a href="{result.training.card.name}/report/index.html">training report</a>.</p>

<h2>The five files</h2>
<p class="lead">{html.escape(verdict)}</p>
<div class="wide"><table><thead><tr><th>file</th><th>MB</th><th>accuracy</th>
<th>same answer as float32</th><th>invoke, ms</th><th>÷ float32</th><th>classify 720p, ms</th>
<th>load, ms</th><th>peak, MB</th></tr></thead><tbody>{_rows(result)}</tbody></table></div>
<p>Medians on this machine with one thread, all files measured in turn in one run.</p>
<img src="benchmark.png" alt="Accuracy against latency, circles as large as the files">

<h2>The video</h2>
<p>Ten seconds in which cards come and go, labelled frame by frame at {result.video_fps:.0f} frames
a second: {result.video_accuracy:.1%} of the frames with a clear answer got it.
<a href="video_labelled.mp4">video_labelled.mp4</a> ·
<a href="video.mp4">without labels</a> · <a href="video.jsonl">every frame's scores</a></p>
<div class="row">{_figures(frames)}</div>

<h2>Go on</h2>
<pre>pocketlens classify {best} photo.jpg
pocketlens live {best} --source 0
pocketlens benchmark {models} --photos {run} --threads 1,2</pre>
<p>With your own photos, in a folder per class:</p>
<pre>pocketlens train photos/ --out runs/mine
pocketlens convert runs/mine --out models
pocketlens benchmark models/mine_*.tflite --photos runs/mine --plot choice.png
pocketlens live models/mine_int8.tflite --source 0</pre>
"""
    write_text(path, page("pocketlens: the demo", body))


def _rows(result: Demo) -> str:
    rows = []
    for file in result.comparison.files:
        latency = file.latencies[0]
        accuracy = file.accuracy
        peak = file.footprint.peak_growth_bytes
        cells = (
            f"{file.size_mb:.2f}",
            f"{accuracy.share:.1%}" if accuracy else "",
            f"{accuracy.agreement:.1%}" if accuracy else "",
            f"{latency.invoke.median_ms:.2f}",
            f"{latency.invoke_ratio:.2f}",
            f"{latency.classify.median_ms:.2f}",
            f"{file.footprint.load_ms + file.footprint.first_ms:.0f}",
            f"{peak / 1e6:.0f}" if peak is not None else "",
        )
        name = html.escape(file.format or file.name)
        rows.append(f"<tr><th>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return "".join(rows)


def _pictures(folder: Path) -> list[tuple[str, str]]:
    return [
        (str(path.relative_to(folder)), label)
        for label in LABELS
        for path in sorted((folder / "photos" / "test" / label).iterdir())[:_PICTURES_A_CLASS]
    ]


def _write_frames(folder: Path) -> list[tuple[str, str]]:
    """Take frames out of the labelled video, evenly spaced."""
    video = cv2.VideoCapture(str(folder / "video_labelled.mp4"))
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    fps = video.get(cv2.CAP_PROP_FPS)
    wanted = {round((index + 0.5) * count / _FRAMES) for index in range(_FRAMES)}
    frames = []
    (folder / "frames").mkdir()
    for number in range(count):
        found, frame_bgr = video.read()
        if found and number in wanted:
            name = f"frames/{number:04}.jpg"
            cv2.imwrite(str(folder / name), frame_bgr)
            frames.append((name, f"{number / fps:.1f} s"))
    video.release()
    return frames


def _figures(pictures: list[tuple[str, str]]) -> str:
    return "".join(
        f'<figure><img src="{html.escape(name)}" alt="{html.escape(caption)}" loading="lazy">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        for name, caption in pictures
    )
