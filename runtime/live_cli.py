"""`pocketlens live`: a camera or a video, frame by frame."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from pocketlens.errors import UsageError
from pocketlens.files import STANDARD_OUTPUT, refuse_targets, write_json
from pocketlens.options import (
    json_option,
    labels_option,
    mean_option,
    overwrite_option,
    std_option,
    threads_option,
)

if TYPE_CHECKING:
    from pocketlens.runtime.classifier import Classifier
    from pocketlens.runtime.live import LiveSummary
    from pocketlens.runtime.sources import SourceRequest


@click.command(
    "live",
    short_help="Classify a camera or a video, frame by frame.",
    epilog="Example: pocketlens live flowers_int8.tflite --source 0 --record garden.mp4",
)
@click.argument("model", metavar="MODEL")
@click.option(
    "--source",
    default="0",
    show_default=True,
    metavar="N|FILE|URL",
    # Everybody sees a command line, and a URL may hold a password.
    envvar="POCKETLENS_SOURCE",
    show_envvar=True,
    help="Number of a camera, /dev/video*, a name in /dev/v4l/by-id, picamera2, an RTSP or HTTP "
    "MJPEG URL, a video file, or pictures: a file, a folder or a pattern like 'photos/*.jpg'.",
)
@click.option(
    "--size",
    "size_wh",
    metavar="WxH",
    callback=lambda _ctx, _option, text: _parse_size(text),
    help="Size of a camera's frames in pixels.",
)
@click.option(
    "--fps",
    type=click.FloatRange(min=0.01, max=1000),
    help="Frames per second: what a camera is asked for, what a stream that gives fewer than 1.5 "
    "is expected to give, what pictures count as.",
)
@click.option(
    "--fourcc",
    metavar="CODE",
    callback=lambda _ctx, _option, text: _check_fourcc(text),
    help="A camera's pixel format; MJPG reaches large sizes over USB.",
)
@click.option(
    "--jsonl",
    "jsonl_target",
    metavar="FILE|-",
    help="Write one JSON object per frame, a line each.",
)
@click.option("--record", metavar="OUT.mp4", help="Write the frames with their labels as a video.")
@click.option("--display", is_flag=True, help="Show the frames in a window; q or Esc ends.")
@click.option("--max-frames", type=click.IntRange(min=1), help="End after so many frames.")
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Labels per frame, with at least those that are the answer.",
)
@threads_option
@labels_option
@mean_option
@std_option
@json_option
@overwrite_option
def live_command(
    model: str,
    source: str,
    size_wh: tuple[int, int] | None,
    fps: float | None,
    fourcc: str | None,
    top_k: int,
    threads: int,
    labels_file: str | None,
    mean: float | None,
    std: float | None,
    json_target: str | None,
    **outputs: Any,
) -> None:
    """Classify a camera or a video, frame by frame.

    A camera or stream runs until Ctrl-C, which ends it cleanly: recordings are finished, logs
    complete. Whatever happens to it on the way, it is opened again until frames come again, and
    no answer is given for an old one.
    """
    with _stop_on_signals() as stop:
        _check_outputs(json_target, **outputs)
        from pocketlens.runtime.sources import SourceRequest, check_wishes

        request = SourceRequest(source, size_wh, fps, fourcc)
        check_wishes(request)
        from pocketlens.runtime.classifier import Classifier
        from pocketlens.runtime.model_files import read_model_file, with_labels

        model_file = with_labels(read_model_file(model), Path(labels_file) if labels_file else None)
        with Classifier(model_file, threads=threads, top_k=top_k, mean=mean, std=std) as classifier:
            summary = _run(classifier, request, stop, json_target=json_target, **outputs)
    from pocketlens.runtime.live_output import summary_line

    click.echo(summary_line(summary), err=True)
    if json_target:
        write_json(json_target, {"model": model, "source": request.name, **summary.to_dict()})


def _run(
    classifier: Classifier,
    request: SourceRequest,
    stop: threading.Event,
    *,
    json_target: str | None,
    jsonl_target: str | None,
    record: str | None,
    display: bool,
    max_frames: int | None,
    overwrite: bool,
) -> LiveSummary:
    from pocketlens.runtime.captures import open_capture
    from pocketlens.runtime.live import Observer, classify_source
    from pocketlens.runtime.live_output import open_outputs
    from pocketlens.runtime.notify import find_service
    from pocketlens.runtime.recording import Recording, labelled_recorder

    silent = STANDARD_OUTPUT in (json_target, jsonl_target)
    with contextlib.ExitStack() as stack:
        capture = stack.enter_context(closing(open_capture(request, stop)))
        recorder: Observer | None = None
        if record is not None:
            recording = Recording(Path(record), capture.fps, overwrite=overwrite)
            recorder = labelled_recorder(stack.enter_context(recording), live=capture.live)
        shown = stack.enter_context(
            open_outputs(jsonl_target=jsonl_target, display=display, silent=silent, stop=stop)
        )
        if (service := find_service()) is not None:
            # Entered last, so that systemd hears of the end at once.
            stack.enter_context(service)
            shown.observers.append(service)
            shown.watchers.append(service.watch)
        return classify_source(
            classifier,
            capture,
            observers=shown.observers,
            watchers=shown.watchers,
            recorder=recorder,
            max_frames=max_frames,
            stop=stop,
        )


def _parse_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,4})[xX]([1-9][0-9]{0,4})", text)
    if match is None:
        raise UsageError(
            f"Expected --size as width and height in pixels. Received: {text}. "
            "Write it like 1280x720."
        )
    return int(match[1]), int(match[2])


def _check_fourcc(text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"[ -~]{4}", text):
        raise UsageError(
            f"Expected --fourcc to be four characters. Received: {text}. Write it like MJPG."
        )
    return text


def _check_outputs(
    json_target: str | None,
    jsonl_target: str | None,
    record: str | None,
    overwrite: bool,
    **_: Any,
) -> None:
    """Refuse what cannot be before a model is loaded or a camera is opened."""
    targets = [target for target in (json_target, jsonl_target, record) if target is not None]
    places = [Path(target).absolute() for target in targets]
    if len(set(places)) < len(places):
        raise UsageError(
            "Expected different places for --json, --jsonl and --record. "
            f"Received: {', '.join(targets)}. Change one of them."
        )
    refuse_targets(*targets, overwrite=overwrite)


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """Give an event that the first Ctrl-C or SIGTERM sets; a second one ends at once."""
    stop = threading.Event()
    before: dict[int, Any] = {}

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[number])

    # Python allows handlers in the main thread only.
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            # nohup ignores SIGHUP and means it.
            if number is None or (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):
                continue
            before[number] = signal.getsignal(number) or signal.SIG_DFL
            signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
